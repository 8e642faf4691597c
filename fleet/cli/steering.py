"""fleet status, watch, pause, approve, cancel and set: look at a run, and steer it, from another terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import folded, say, say_lines, write, write_lines
from fleet.cli.reporting import (
    EveryOption,
    FormatOption,
    RunArgument,
    is_brief,
    run_folder,
    show_report,
    told,
    with_options,
)
from fleet.cli.session import CLOCK, ConfigOption, RunDirOption, ScopesOption, completer
from fleet.cli.standing import as_object, screen
from fleet.core.errors import FleetError, UsageError
from fleet.core.pacing.pace import parse_rate
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.formats import Format
from fleet.report.summary import Report
from fleet.service.asking import MOST_UNDER_WAY, Answer, Ask, Verb, ask, clear_away
from fleet.service.following import follow, look_at
from fleet.telemetry.view import progress_view

LOOK_EVERY = 0.5  # s between two looks at the journal of a run that is watched


def status(
    context: typer.Context,
    run: RunArgument,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell where a run stands.

    Each change under way with its step, since when, and the deadline at which it gives up and goes home; what
    is owed; the pace. Reads the journal, so it works for a run that was killed as well, and asks the run
    itself if it goes on. Sends nothing to the cloud, writes nothing, and removes the socket of a killed run.
    """
    if output not in ("table", "json"):
        raise UsageError(f"--output: {output!r} is neither table nor json")
    path = run_folder(context, config, run_dir, run)
    answer, now = _answer(path), CLOCK.wall()
    standing = look_at(path, now)
    standing = replace(standing, report=with_options(standing.report, context, config, path))
    if output == "json":
        write(json.dumps(as_object(standing, answer), indent=1) + "\n")
    else:
        write_lines(folded(map(standing.report.whole, screen(standing, answer, now)), sys.stdout))


def watch(
    context: typer.Context,
    run: RunArgument,
    output: FormatOption = Format.TABLE,
    every: EveryOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Show a run as it goes on, and its report at its end.

    Reads the run's journal only: sends nothing, writes nothing but the report to stdout, which shows as much
    as that of "fleet report". The exit code is that of the run. Ctrl-C ends the watching, not the run.
    """
    path = run_folder(context, config, run_dir, run)
    say(f"run {path.name}\n")
    try:
        _show(path, completer(context, config, path))
    except KeyboardInterrupt:
        raise FleetError(f"no longer watched; the run goes on, see: fleet status {path.name}") from None
    report = told(context, config, path)
    show_report(report, output, brief=is_brief(every=every))
    return report.exit


def pause(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """Let no further change of a run start.

    What is under way comes home, so some more writes are sent. "fleet resume" lets the run go on. The pause
    ends with the process: a run that is killed and resumed is not paused.
    """
    _steer(context, config, run_folder(context, config, run_dir, run), Ask(do=Verb.PAUSE))


def approve(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """Let a run that waits for approval release the next wave.

    The run then sends what the changes of that wave need. "fleet status" tells what it waits for.
    """
    _steer(context, config, run_folder(context, config, run_dir, run), Ask(do=Verb.APPROVE))


def cancel(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """End a run early.

    As Ctrl-C where it runs: no further change starts, what is under way comes home, so some more writes are
    sent. The run ends as interrupted (exit 6) and can be resumed.
    """
    _steer(context, config, run_folder(context, config, run_dir, run), Ask(do=Verb.CANCEL))


def set(
    context: typer.Context,
    run: RunArgument,
    rate: Annotated[str, typer.Option(metavar="RATE", help="Reads and writes each, such as 60/min.")] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=MOST_UNDER_WAY, help="Changes under way at once.")
    ] = None,
    scope: ScopesOption = None,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a run another rate or concurrency.

    Takes effect at once on what the run sends, and lasts as long as its process. A rate above that of a scope
    in fleet.toml is refused (exit 64): it is a ceiling; a scope without one takes any. Limits that the cloud
    named are kept whatever the rate. With --scope it is the rate of that scope only, and of those that share
    its throttle key.
    """
    if not rate and (scope or concurrency is None):
        raise UsageError("nothing to set; give --rate or --concurrency, --scope goes with a rate")
    wanted = str(parse_rate(rate)) if rate else ""
    asked = Ask(do=Verb.SET, rate=wanted, concurrency=concurrency, scopes=tuple(scope or ()))
    _steer(context, config, run_folder(context, config, run_dir, run), asked)


def released(folder: Path) -> bool:
    """Ends the pause of the run in `folder` and says so; False when no process works on the run."""
    if not is_locked(folder):
        clear_away(folder)
        return False
    say_lines([f"{folder.name}: {ask(folder, Ask(do=Verb.RESUME)).text}"])
    return True


def _steer(context: typer.Context, config: Path | None, folder: Path, asked: Ask) -> None:
    if not is_locked(folder):
        clear_away(folder)
        raise FleetError(_over(told(context, config, folder)))
    write_lines([f"{folder.name}: {ask(folder, asked).text}"])


def _over(report: Report) -> str:
    """Why nobody can steer the run any more, and what to do instead."""
    if report.debts and report.state != "finished" and not report.damage:
        owed = f"{len(report.debts)} notebook{'s' * (len(report.debts) > 1)}"
        return f"{report.run}: is not going on and owes {owed}; go on with: fleet resume {report.run}"
    return f"{report.run}: is not going on; see: fleet report {report.run}"


def _answer(folder: Path) -> Answer | None:
    """What the run says of itself; None when it is over or does not answer."""
    try:
        return ask(folder, Ask(do=Verb.STATUS))
    except FleetError:
        return None


def _show(folder: Path, whole: Callable[[str], str]) -> None:
    """Shows progress until the run is over. What happened before is counted, not told."""
    with JournalReader(folder / JOURNAL) as reader:
        plan = reader.plan
    batches = follow(folder, lambda: time.sleep(LOOK_EVERY))
    term = os.environ.get("TERM", "")
    with progress_view(plan, sys.stderr, CLOCK.wall, term=term, past=next(batches), whole=whole) as view:
        for events in batches:
            for event in events:
                view(event)
