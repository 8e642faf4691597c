"""fleet apply and run: perform a plan, show how it goes, tell what came of it."""

from __future__ import annotations

import os
import secrets
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TextIO

import anyio
import typer

from fleet.cli.choosing import (
    ExcludeOption,
    IdsOption,
    LimitOption,
    OverrideOption,
    ReasonOption,
    SeedOption,
    choice_of,
)
from fleet.cli.files import append_to, read_file
from fleet.cli.output import folded, say, say_lines
from fleet.cli.planning import ChurnOption, JobArgument, PlanArgument, make
from fleet.cli.planview import plan_lines
from fleet.cli.reporting import FormatOption, RunArgument, is_brief, run_folder, show_report, told
from fleet.cli.session import (
    CLOCK,
    HERE,
    ConfigOption,
    RunDirOption,
    completer,
    limit_memory,
    require_places,
    runs_folder,
    settings_for,
    time_memory,
)
from fleet.cli.steering import released
from fleet.core.errors import CallError, Exit, FleetError, GuardError
from fleet.core.events import Event, dump_event
from fleet.core.planning.guards import confirmed, unconfirmed
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.core.planning.times import Stopwatch
from fleet.core.scope import ScopeSpec
from fleet.core.text import clean
from fleet.engine.ports import Observer
from fleet.journal.reader import JournalReader, read_journal
from fleet.journal.runs import JOURNAL, LOG, new_run_id
from fleet.report.formats import Format
from fleet.report.summary import is_complete
from fleet.service.owing import left_open
from fleet.service.running import RunFolder, apply_plan, claim, open_run, reopen_run, require_same_scopes
from fleet.settings import claims_file, secret_values
from fleet.telemetry.log import configure_logging
from fleet.telemetry.observer import LogObserver
from fleet.telemetry.view import progress_view

# The event loop of a run: the faster one where the extra `speed` is installed.
LOOP = {"use_uvloop": find_spec("uvloop") is not None}

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, unless it is about many.")]
ConfirmOption = Annotated[
    int | None,
    typer.Option("--confirm", metavar="N", min=1, help="Do not ask: exactly so many may be changed."),
]
LogOption = Annotated[
    Path | None, typer.Option("--log-file", metavar="FILE", help="Write a log here (JSON lines).")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log every call, not only every result.")]


def apply(
    context: typer.Context,
    plan: PlanArgument,
    yes: YesOption = False,
    said: ConfirmOption = None,
    output: FormatOption = Format.TABLE,
    log_file: LogOption = None,
    debug: DebugOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Perform a plan exactly as it was sealed.

    Asks for the number of notebooks first: --yes answers for a few, --confirm N for any number. Writes to the
    cloud what the plan says, and to a new run folder the plan, a journal and a log. A notebook that no longer
    is as planned is left alone and reported as drifted. Ctrl-C once: nothing new starts, what is under way
    comes home. Twice: stop at once and list what is owed. Then comes the report: of many rows a terminal
    shows those that need a person; files, pipes and programs get them all.
    """
    loaded = load_plan(read_file(plan, "plan"), str(plan))
    base = _place(context, config, run_dir, log_file)
    return _perform(context, loaded, yes, said, output, log_file, debug, base, config)


def run(
    context: typer.Context,
    job: JobArgument,
    yes: YesOption = False,
    said: ConfirmOption = None,
    accept_churn: ChurnOption = False,
    ids: IdsOption = None,
    exclude: ExcludeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    override: OverrideOption = None,
    reason: ReasonOption = "",
    output: FormatOption = Format.TABLE,
    log_file: LogOption = None,
    debug: DebugOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Plan a job and apply the plan at once.

    The same guards and the same question as with a plan file, and the same writes: to the cloud what the
    plan says, and to a new run folder the plan, a journal and a log.
    """
    quiet = not sys.stderr.isatty()  # programs take the first line for the one that names the run
    choice = choice_of(ids, exclude, limit, seed, override, reason)
    base = _place(context, config, run_dir, log_file)
    made = make(context, job, config, choice, accept_churn=accept_churn, quiet=quiet, run_dir=run_dir)
    return _perform(context, made, yes, said, output, log_file, debug, base, config)


def _place(context: typer.Context, config: Path | None, run_dir: Path | None, log_file: Path | None) -> Path:
    """Where the run is to live. Raises FleetError with every place that it could not write to."""
    base = runs_folder(context, config, run_dir)
    require_places(base, log_file)
    return base


def _perform(
    context: typer.Context,
    plan: Plan,
    yes: bool,
    said: int | None,
    output: Format,
    log_file: Path | None,
    debug: bool,
    base: Path,
    config: Path | None,
) -> int:
    settings = settings_for(context, config)
    specs = settings.scopes(scope.name for scope in plan.scopes)
    require_same_scopes(plan, specs)
    if log_file is not None:
        append_to(log_file, "log").close()
    earlier = list(left_open(plan, claims_file(os.environ)))
    asks = not confirmed(plan.notebooks, plan.confirm_over, yes=yes, said=said)
    if asks:
        if yes and not sys.stdin.isatty():
            raise unconfirmed(plan.notebooks, plan.confirm_over)
        whole = completer(context, config, base / "RUN")
        lines = [*plan_lines(plan, now=CLOCK.wall()), *earlier]
        say_lines(folded(map(whole, lines), sys.stderr))
        confirm(plan.notebooks)
    folder = open_run(base, _new_run(), plan)
    folder = claim(folder, plan, specs, claims_file(os.environ), CLOCK.wall())
    say(f"run {folder.run}\n")
    whole = completer(context, config, folder.path)
    if not asks:  # then programs take the first line for the one that names the run
        say_lines(map(whole, earlier))
    watch_run(plan, folder, specs, whole, log_file, "debug" if debug else "info")
    return _tell_end(context, config, folder.path, output, whole)


def resume(
    context: typer.Context,
    run: RunArgument,
    output: FormatOption = Format.TABLE,
    log_file: LogOption = None,
    debug: DebugOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Go on with a run that was killed or ended early.

    Writes to the cloud what is left of the plan, and to the run's journal. Notebooks that it left stopped
    come home first. What was under way is settled by looking, before anything is sent again. The run gets its
    whole deadline anew. A run that goes on and is paused is released.
    """
    path = run_folder(context, config, run_dir, run)
    if released(path):
        return Exit.DONE
    before = told(context, config, path)
    if is_complete(before):
        say(f"run {path.name} is finished; there is nothing to resume\n")
        show_report(before, output, brief=is_brief())
        return before.exit
    settings = settings_for(context, config)
    require_places(path, log_file, advice=HERE)
    if log_file is not None:
        append_to(log_file, "log").close()
    with JournalReader(path / JOURNAL) as reader:
        specs = settings.scopes(scope.name for scope in reader.plan.scopes)
        require_same_scopes(reader.plan, specs)
    folder, plan = reopen_run(path)
    folder = claim(folder, plan, specs, claims_file(os.environ), CLOCK.wall())
    say(f"run {folder.run}\n")
    whole = completer(context, config, path)
    watch_run(plan, folder, specs, whole, log_file, "debug" if debug else "info")
    return _tell_end(context, config, path, output, whole)


def _tell_end(
    context: typer.Context, config: Path | None, folder: Path, output: Format, whole: Callable[[str], str]
) -> int:
    """Shows the report of the run that is over. Whatever keeps it from being shown does not change its code.

    Where not even the journal can be read, nobody knows how its notebooks stand.
    """
    code = Exit.STRANDED
    try:
        report = told(context, config, folder)
        code = report.exit
        show_report(report, output, brief=is_brief())
    except (FleetError, OSError) as error:
        say_lines([whole(f"fleet: {error}"), whole(f"see what became of it: fleet report {folder.name}")])
    return code


def _new_run() -> str:
    """The id of a run that begins now."""
    letters = string.ascii_lowercase + string.digits
    return new_run_id(CLOCK.wall(), "".join(secrets.choice(letters) for _ in range(4)))


def watch_run(
    plan: Plan,
    folder: RunFolder,
    specs: Sequence[ScopeSpec],
    whole: Callable[[str], str],
    log_file: Path | None = None,
    level: Literal["info", "debug"] = "info",
) -> None:
    """Performs the plan with progress on stderr; the log goes to the run's folder unless told otherwise.

    `whole` completes the commands that are named meanwhile.
    """
    with (
        _open_log(log_file or folder.path / LOG) as log,
        progress_view(
            plan,
            sys.stderr,
            CLOCK.wall,
            term=os.environ.get("TERM", ""),
            past=_told_before(folder),
            whole=whole,
        ) as view,
    ):
        redactor = configure_logging(log, level)
        for spec in specs:
            redactor.add(*secret_values(spec.credential, spec.metrics))
        stopwatch = Stopwatch(plan)
        observers: Sequence[Observer] = [view, stopwatch, LogObserver(plan)]
        try:
            anyio.run(_apply, plan, folder, specs, observers, whole, backend_options=LOOP)
        except* (FleetError, CallError):
            raise
        except* Exception as errors:  # the journal knows what happened so far, and the report tells it
            say_lines(
                f"fleet: an error of our own, {type(error).__name__}: {clean(str(error))}"
                for error in errors.exceptions
            )
        finally:
            time_memory().keep(stopwatch.timed)
    for event in folder.journal.unsaved:
        say(f"{dump_event(event).decode()}\n")  # as it is, for whoever mends the journal


@contextmanager
def _open_log(path: Path) -> Iterator[TextIO]:
    """The log of a run, which must not fail for want of room for the last lines."""
    log = append_to(path, "log")
    try:
        yield log
    finally:
        with suppress(OSError):
            log.close()


def _told_before(folder: RunFolder) -> Sequence[Event]:
    """What an earlier process recorded of a run that is taken up again."""
    return () if folder.earlier is None else read_journal(folder.path / JOURNAL).events


async def _apply(
    plan: Plan,
    folder: RunFolder,
    specs: Sequence[ScopeSpec],
    observers: Sequence[Observer],
    whole: Callable[[str], str],
) -> None:
    await apply_plan(
        plan,
        folder,
        specs,
        CLOCK,
        observers,
        memory=limit_memory(),
        steerable=True,
        terminal=sys.stdin if sys.stdin.isatty() else None,
        whole=whole,
    )


def confirm(count: int) -> None:
    """Asks for the number of notebooks to change; the answer may come from a terminal, a pipe or a file.

    Raises GuardError for any other answer, and for none at all.
    """
    say(f"type {count} to change {count} notebook{'s' * (count > 1)}: ")
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):  # such as a folder, no UTF-8, or a terminal that is gone
        answer = ""
    if not (answer.endswith("\n") and sys.stdin.isatty()):  # nobody typed the end of this line
        say("\n")
    if answer.strip() != str(count):
        raise GuardError(f"not confirmed; nothing was sent (--confirm {count} does not ask)")
