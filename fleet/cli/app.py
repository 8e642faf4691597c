"""The command tree, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command, get_group

from fleet import __version__
from fleet.cli.commands import COMMANDS, HELP, SCHEDULE, SCHEDULE_HELP
from fleet.cli.lazy import LazyGroup, Loading
from fleet.cli.output import say_lines, write
from fleet.core.errors import CallError, Exit, FleetError
from fleet.core.spelling import nearest

CTRL_C = 130  # what typer makes of it
WORDS = {"Value error, ": "", "Input should be": "must be", ". Did you mean": "; did you mean"}

app = typer.Typer(
    name="fleet",
    help=HELP,
    cls=LazyGroup,
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
    from fleet.cli.session import completer  # with the settings, which not every command reads

    named = Path(run) if os.path.isdir(run) else run_dir and run_dir / "RUN"
    return completer(context, config, named)


TIMES = get_group(typer.Typer(name="schedule", help=SCHEDULE_HELP, cls=LazyGroup, rich_markup_mode=None))
TIMES.commands = Loading(SCHEDULE, _explaining)
TREE = cast(TyperGroup, get_command(app))
TREE.commands = Loading({**COMMANDS, "schedule": TIMES}, _explaining)


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
