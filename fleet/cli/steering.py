"""fleet status, watch, pause, approve, cancel and set: look at a run, and steer it, from another terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import say, say_lines, write, write_lines
from fleet.cli.reporting import FormatOption, RunArgument, run_folder, show_report, told
from fleet.cli.session import CLOCK, ConfigOption, RunDirOption, ScopesOption
from fleet.core.duration import duration
from fleet.core.errors import FleetError, UsageError
from fleet.core.text import clean
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.as_json import instant
from fleet.report.as_text import tally
from fleet.report.formats import Format
from fleet.report.summary import Report, next_steps
from fleet.service.following import follow, look_at
from fleet.service.helm import MOST_UNDER_WAY, Answer, Ask, Verb
from fleet.service.steering import ask
from fleet.telemetry import Snapshot, progress_view, wording

LOOK_EVERY = 0.5  # s between two looks at the journal of a run that is watched
MOST_DEBTS = 10  # shown; the report has them all


def status(
    context: typer.Context,
    run: RunArgument,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell where a run stands.

    Reads its journal and asks the run itself, if it goes on; sends nothing to the cloud, writes nothing.
    """
    if output not in ("table", "json"):
        raise UsageError(f"--output: {output!r} is neither table nor json")
    path = run_folder(context, config, run_dir, run)
    answer = _standing(path)
    report, snapshot = look_at(path, CLOCK.wall())
    if output == "json":
        write(json.dumps(_object(report, snapshot, answer), indent=1) + "\n")
    else:
        write_lines(_screen(report, snapshot, answer))


def watch(
    context: typer.Context,
    run: RunArgument,
    output: FormatOption = Format.TABLE,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> int:
    """Show a run as it goes on, and its report at its end.

    Reads the run's journal only: sends nothing, writes nothing but the report to stdout. The exit code is
    that of the run. Ctrl-C ends the watching, not the run.
    """
    path = run_folder(context, config, run_dir, run)
    say(f"run {path.name}\n")
    try:
        _show(path)
    except KeyboardInterrupt:
        raise FleetError(f"no longer watched; the run goes on, see: fleet status {path.name}") from None
    report = told(context, config, run_dir, path)
    show_report(report, output)
    return report.exit


def pause(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """Let no further change of a run start.

    What is under way comes home, so some more writes are sent. "fleet resume" lets the run go on. The pause
    ends with the process: a run that is killed and resumed is not paused.
    """
    _steer(run_folder(context, config, run_dir, run), Ask(do=Verb.PAUSE))


def approve(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """Let a run that waits for approval release the next wave.

    The run then sends what the changes of that wave need. "fleet status" tells what it waits for.
    """
    _steer(run_folder(context, config, run_dir, run), Ask(do=Verb.APPROVE))


def cancel(
    context: typer.Context, run: RunArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> None:
    """End a run early.

    As Ctrl-C where it runs: no further change starts, what is under way comes home, so some more writes are
    sent. The run ends as interrupted (exit 6) and can be resumed.
    """
    _steer(run_folder(context, config, run_dir, run), Ask(do=Verb.CANCEL))


def set(
    context: typer.Context,
    run: RunArgument,
    rate: Annotated[str, typer.Option(help="Reads and writes each, such as 60/min.")] = "",
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=MOST_UNDER_WAY, help="Changes under way at once.")
    ] = None,
    scope: ScopesOption = None,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a run another rate or concurrency.

    Takes effect at once on what the run sends, and lasts as long as its process. Limits that the cloud named
    are kept whatever the rate. With --scope it is the rate of that scope only, and of those that share its
    throttle key.
    """
    asked = Ask(do=Verb.SET, rate=rate[:40], concurrency=concurrency, scopes=tuple(scope or ()))
    _steer(run_folder(context, config, run_dir, run), asked)


def released(folder: Path) -> bool:
    """Ends the pause of the run in `folder` and says so; False when no process works on the run."""
    if not is_locked(folder):
        return False
    say_lines([f"{folder.name}: {ask(folder, Ask(do=Verb.RESUME)).text}"])
    return True


def _steer(folder: Path, asked: Ask) -> None:
    write_lines([f"{folder.name}: {ask(folder, asked).text}"])


def _standing(folder: Path) -> Answer | None:
    """What the run says of itself; None when it is over or does not answer."""
    try:
        return ask(folder, Ask(do=Verb.STATUS))
    except FleetError:
        return None


def _show(folder: Path) -> None:
    """Shows progress until the run is over. What happened before is counted, not told."""
    with JournalReader(folder / JOURNAL) as reader:
        plan = reader.plan
    batches = follow(folder, lambda: time.sleep(LOOK_EVERY))
    term = os.environ.get("TERM", "")
    with progress_view(plan, sys.stderr, CLOCK.wall, term=term, past=next(batches)) as view:
        for events in batches:
            for event in events:
                view(event)


def _state(report: Report, answer: Answer | None) -> str:
    if answer is None or not report.live:
        return report.state
    return f"ending ({answer.ending})" if answer.ending else "paused" if answer.paused else "running"


def _screen(report: Report, snapshot: Snapshot, answer: Answer | None) -> Iterator[str]:
    """One fact a line."""
    yield f"run {report.run}, job {report.job}: {_state(report, answer)} after {duration(snapshot.elapsed)}"
    yield tally(report.counts)
    if report.live:
        yield f"{wording.place(snapshot)}, {wording.activity(snapshot)}, {wording.remaining(snapshot)}"
    elif report.reason:
        yield f"because: {report.reason}"
    if answer is not None:
        yield f"up to {answer.concurrency} changes at once"
        yield from (f"rate of {key}: {', '.join(limits)}" for key, limits in answer.limits.items())
    elif report.live:
        yield "goes on, but does not answer"
    yield from (f"held: {held}" for held in snapshot.held)
    if snapshot.slowed:
        yield f"slowed down: {snapshot.slowed}"
    if snapshot.steered:
        yield f"last steered: {snapshot.steered}"
    for trouble in snapshot.troubles:
        yield f"{trouble.outcome}: {trouble.scope} {trouble.name}: {clean(trouble.reason)}"
    if not report.live:
        yield from (f"owed: {debt.name}: {debt.fix}" for debt in report.debts[:MOST_DEBTS])
        yield from next_steps(report)


def _object(report: Report, snapshot: Snapshot, answer: Answer | None) -> dict[str, object]:
    wave = snapshot.wave
    return {
        "run": report.run,
        "job": report.job,
        "state": report.state,
        "live": report.live,
        "reachable": answer is not None,
        "paused": answer is not None and answer.paused,
        "ending": answer.ending if answer is not None else "",
        "reason": report.reason,
        "started_at": instant(report.started_at),
        "finished_at": instant(report.finished_at),
        "elapsed_s": round(snapshot.elapsed, 3),
        "left_s": None if snapshot.left is None else round(snapshot.left, 3),
        "wave": None if wave is None else wave.number,
        "waves": len(snapshot.waves),
        "counts": dict(report.counts),
        "under_way": snapshot.under_way,
        "away": snapshot.away,
        "debts": snapshot.debts if report.live else len(report.debts),
        "calls_per_second": snapshot.calls_per_second,
        "concurrency": None if answer is None else answer.concurrency,
        "limits": {} if answer is None else {key: list(limits) for key, limits in answer.limits.items()},
        "steered": snapshot.steered,
        "slowed": snapshot.slowed,
        "held": list(snapshot.held),
    }
