"""The command tree, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from fleet import __version__
from fleet.cli import (
    again,
    applying,
    bring,
    demo,
    listing,
    planning,
    recovering,
    reporting,
    schedule,
    simulating,
    steering,
)
from fleet.cli.output import say_lines, write
from fleet.cli.session import completer
from fleet.core.errors import CallError, Exit, FleetError
from fleet.core.spelling import nearest

CTRL_C = 130  # what typer makes of it
WORDS = {"Value error, ": "", "Input should be": "must be", ". Did you mean": "; did you mean"}

HELP = """\
Change many ModelArts notebooks safely: select, plan, apply, report.

A job file says what to change on which notebooks; fleet.toml says where they are and as whom to come. A first
try needs neither and no account: fleet demo. Then the road is:

\b
  fleet ls -s 'status == "RUNNING"'    whom does a selector pick?
  fleet validate job.yaml              is the job file right?
  fleet plan job.yaml -o plan.json     what would change, on whom?
  fleet apply plan.json                change it; the first line names the RUN
  fleet status RUN                     what is under way? see pause, set, cancel
  fleet resume RUN                     it was killed or ended early: go on
  fleet report RUN                     what became of every notebook?
  fleet undo RUN -o back.json          plan the way back

Only apply, run, resume, start and stop change anything in the cloud. Every command explains itself, with an
example: fleet COMMAND --help.
"""
RUN = "20261130-0815"
NOTEBOOK = "f9937afa-4451-42db-a76b-72d624749f66"

app = typer.Typer(
    name="fleet",
    help=HELP,
    epilog="Exit codes: 0 done, 1 failed before any write, 2 changes pending, 3 some failed, "
    "4 stopped by a guard, 5 some drifted or gone, 6 interrupted, 7 some stranded or unknown, 64 usage.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        write(f"notebook-fleet {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Configuration; default: fleet.toml here, else the user's."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = config


def _explaining(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command; where it is refused, it says why, with commands that can be typed as they are."""

    @wraps(command)
    def call(**given: Any) -> Any:
        try:
            return command(**given)
        except (FleetError, CallError, ExceptionGroup) as error:
            return _explained(error, _completer(**given))

    return call


def _completer(
    context: typer.Context | None = None,
    config: Path | None = None,
    run_dir: Path | None = None,
    run: str = "",
    **_: Any,
) -> Callable[[str], str]:
    """Makes commands whole for who typed such a command. RUN may be a run's folder."""
    if context is None:
        return str
    named = Path(run) if os.path.isdir(run) else run_dir and run_dir / "RUN"
    return completer(context, config, named)


for command, example in (
    (demo.demo, "fleet demo --folder try-it"),
    (listing.ls, """fleet ls -s 'image.name.startsWith("pytorch1.8")' -c name,owner,lease.left"""),
    (planning.validate, "fleet validate job.yaml"),
    (planning.plan, "fleet plan job.yaml -o plan.json"),
    (planning.show, "fleet show plan.json --all"),
    (applying.apply, "fleet apply plan.json"),
    (applying.run, "fleet run job.yaml --yes -o jsonl > report.jsonl"),
    (applying.resume, f"fleet resume {RUN}"),
    (again.retry, f"fleet retry {RUN} --failed -o again.json"),
    (again.undo, f"fleet undo {RUN} -o back.json"),
    (reporting.report, f"fleet report {RUN} -o csv > report.csv"),
    (reporting.runs, "fleet runs"),
    (recovering.recover, f"fleet recover {RUN}"),
    (steering.status, f"fleet status {RUN}"),
    (steering.watch, f"fleet watch {RUN}"),
    (steering.pause, f"fleet pause {RUN}"),
    (steering.approve, f"fleet approve {RUN}"),
    (steering.cancel, f"fleet cancel {RUN}"),
    (steering.set, f"fleet set {RUN} --rate 30/min --concurrency 5"),
    (planning.schema, "fleet schema > job.schema.json"),
    (simulating.simulate, "fleet simulate --notebooks 300 --time-scale 60 --port 9000"),
    (bring.start, f"fleet start --scope lab-a {NOTEBOOK} --duration 14400000"),
    (bring.stop, f"fleet stop --scope lab-a {NOTEBOOK}"),
):
    app.command(epilog=f"\b\nExample: {example}")(_explaining(command))

times = typer.Typer(name="schedule", help=schedule.HELP, rich_markup_mode=None)
for word, verb, sample in (
    ("run", schedule.run, "fleet schedule run rightsizing.yaml rotation.yaml"),
    ("once", schedule.once, "fleet schedule once rightsizing.yaml"),
    ("next", schedule.next_times, "fleet schedule next rightsizing.yaml -n 3"),
    ("history", schedule.history, "fleet schedule history rightsizing.yaml"),
):
    times.command(word, epilog=f"\b\nExample: {sample}")(_explaining(verb))
app.add_typer(times)

TREE = get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; no traceback for what a person can mend."""
    try:
        code = TREE(args=list(arguments) or ["--help"], prog_name="fleet", standalone_mode=False)
    except TyperException as error:
        return _misused(error)
    if code == CTRL_C:
        return _refused("interrupted", Exit.FAILED_BEFORE_WRITE)
    if not arguments:
        return Exit.USAGE
    return code if isinstance(code, int) else Exit.DONE


def _misused(error: TyperException) -> int:
    """The words on the command line were wrong: what, the nearest right word, where to read on."""
    context: typer.Context | None = getattr(error, "ctx", None)
    advice, path = "", "fleet"
    if context is not None:
        path = context.command_path
        advice = nearest(getattr(error, "option_name", ""), _options(context))
    what = (str(error) if advice else error.format_message()).rstrip(".")
    for theirs, ours in WORDS.items():
        what = what.replace(theirs, ours)
    return _refused(f"{what[:1].lower()}{what[1:]}{advice}; see: {path} --help", Exit.USAGE)


def _options(context: typer.Context) -> Iterator[str]:
    """The long options of the command that was called."""
    for parameter in context.command.params:
        yield from (option for option in parameter.opts if option.startswith("--"))


def _explained(error: BaseException, whole: Callable[[str], str]) -> int:
    cause = _first(error)
    if isinstance(cause, FleetError):
        return _refused(whole(str(cause)), cause.exit)
    if isinstance(cause, CallError):
        return _refused(whole(str(cause)), Exit.FAILED_BEFORE_WRITE)
    raise error


def _first(error: BaseException) -> BaseException:
    """The one error behind a group of them."""
    while isinstance(error, BaseExceptionGroup):
        known = [one for one in error.exceptions if isinstance(_first(one), FleetError | CallError)]
        error = (known or error.exceptions)[0]
    return error


def _refused(text: str, code: Exit) -> int:
    say_lines(f"fleet: {text}".splitlines())
    return code
