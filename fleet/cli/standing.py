"""How a run stands, for `fleet status`: a screen of facts, or one object of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fleet.core.changing.under_way import UnderWay
from fleet.core.duration import duration
from fleet.core.fold import Debt
from fleet.core.text import clean
from fleet.report.aligned import aligned
from fleet.report.as_json import instant
from fleet.report.as_text import tally
from fleet.report.summary import Report, next_steps
from fleet.service.asking import Answer
from fleet.service.following import Standing
from fleet.telemetry import wording

MOST_UNDER_WAY = 50  # changes shown; JSON has them all
MOST_DEBTS = 10  # shown; the report has them all


def screen(standing: Standing, answer: Answer | None, now: float) -> Iterator[str]:
    """One fact a line, and a row for each change under way. `answer` is what the run says of itself."""
    report, snapshot = standing.report, standing.snapshot
    yield f"run {report.run}, job {report.job}: {_state(report, answer)} after {duration(snapshot.elapsed)}"
    yield tally(report.counts, report.between_stages)
    if report.live:
        yield f"{wording.place(snapshot)}, {wording.activity(snapshot)}, {wording.remaining(snapshot)}"
    elif report.reason:
        yield f"because: {report.reason}"
    if answer is not None:
        yield f"up to {answer.concurrency} changes at once"
        if answer.paused:
            yield f"the next change waits for the end of the pause: fleet resume {report.run}"
        elif answer.binding:
            yield f"the next change waits for: {'; '.join(answer.binding)}"
        yield from (f"rate of {key}: {', '.join(limits)}" for key, limits in answer.limits.items())
        yield from (f"requests of {key} wait: {what}" for key, what in answer.waits.items())
    elif report.live:
        yield "goes on, but does not answer"
    yield from (f"no answer: {clean(trouble)}" for trouble in snapshot.out_of_reach)
    if report.live:  # nobody is held by a run that is over
        yield from (f"held: {held}" for held in snapshot.held)
    if snapshot.slowed:
        yield f"throttled: {clean(snapshot.slowed)}"
    if snapshot.steered:
        yield f"last steered: {snapshot.steered}"
    for trouble in snapshot.troubles:
        yield f"{trouble.outcome}: {trouble.scope} {trouble.name}: {clean(trouble.reason)}"
    yield from _under_way(standing, now)
    yield from _owed(standing)
    yield from next_steps(report)


def as_object(standing: Standing, answer: Answer | None) -> dict[str, object]:
    """Everything for scripts. `changes` are those under way, `owed` what is stopped by us and not back."""
    report, snapshot = standing.report, standing.snapshot
    wave = snapshot.wave
    return {
        "run": report.run,
        "job": report.job,
        "state": report.state,
        "live": report.live,
        "reachable": answer is not None,
        "paused": answer is not None and answer.paused,
        "ending": report.whole(answer.ending) if answer is not None else "",
        "reason": report.whole(report.reason),
        "started_at": instant(report.started_at),
        "finished_at": instant(report.finished_at),
        "elapsed_s": round(snapshot.elapsed, 3),
        "left_s": None if snapshot.left is None else round(snapshot.left, 3),
        "work_left_s": None if snapshot.work is None else round(snapshot.work, 3),
        "waits_until": instant(snapshot.waits_until),
        "waits_later_s": round(snapshot.waits_later, 3),
        "wave": None if wave is None else wave.number,
        "waves": len(snapshot.waves),
        "counts": dict(report.counts),
        "between_stages": {str(done): number for done, number in report.between_stages.items()},
        "under_way": snapshot.under_way,
        "away": snapshot.away,
        "debts": len(report.debts),
        "calls_per_second": snapshot.calls_per_second,
        "concurrency": None if answer is None else answer.concurrency,
        "limits": {} if answer is None else {key: list(limits) for key, limits in answer.limits.items()},
        "waits": {} if answer is None else dict(answer.waits),
        "binding": [] if answer is None else list(answer.binding),
        "steered": snapshot.steered,
        "slowed": snapshot.slowed,
        "held": [report.whole(held) for held in snapshot.held],
        "out_of_reach": list(snapshot.out_of_reach),
        "changes": [_change(one) for one in standing.under_way],
        "owed": [_debt(report, debt) for debt in report.debts],
    }


def _state(report: Report, answer: Answer | None) -> str:
    if answer is None or not report.live:
        return report.state
    return f"ending ({answer.ending})" if answer.ending else "paused" if answer.paused else "running"


def _under_way(standing: Standing, now: float) -> Iterator[str]:
    changes = standing.under_way
    if not changes:
        return
    yield "under way:" if standing.report.live else "left unfinished:"
    shown = changes[:MOST_UNDER_WAY]
    yield from aligned(
        ("  notebook", "scope", "wave", "step", "since", "deadline", "debt"),
        [_row(one, now) for one in shown],
    )
    if len(shown) < len(changes):
        yield f"  and {len(changes) - len(shown)} more: fleet status {standing.report.run} -o json"


def _row(one: UnderWay, now: float) -> tuple[str, ...]:
    change = one.change
    return (
        f"  {change.name or change.id}",
        change.scope,
        str(change.wave),
        one.step,
        f"{_clock(one.since)} ({duration(max(0.0, now - one.since))} ago)",
        "" if one.deadline is None else f"{_clock(one.deadline)} ({_until(one.deadline - now)})",
        "stopped by us" if one.debt else "",
    )


def _owed(standing: Standing) -> Iterator[str]:
    """What is owed: a live run pays by itself and lets nobody else, for a dead one there are commands."""
    report = standing.report
    paying = {one.change.item for one in standing.under_way} if report.live else set()
    left = [debt for debt in report.debts if debt.item not in paying]
    if left and not report.live:
        everything = "" if report.damage else f", all brought back by: fleet resume {report.run}; or"
        yield f"{len(left)} owed{everything} each by its command:"
    for debt in left[:MOST_DEBTS]:
        itself = "the run itself brings it back; if it cannot, its report names the command"
        yield f"owed: {clean(debt.name)}: {itself if report.live else debt.fix}"
    if len(left) > MOST_DEBTS:
        yield f"owed: {len(left) - MOST_DEBTS} more: fleet status {report.run} -o json"


def _change(one: UnderWay) -> dict[str, object]:
    return {
        "scope": one.change.scope,
        "id": one.change.id,
        "name": one.change.name,
        "wave": one.change.wave,
        "step": one.step,
        "since": instant(one.since),
        "deadline": instant(one.deadline),
        "debt": one.debt,
    }


def _debt(report: Report, debt: Debt) -> dict[str, object]:
    return {
        "scope": debt.scope,
        "id": debt.id,
        "name": debt.name,
        "since": instant(debt.at),
        "fix": report.whole(debt.fix),
    }


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M:%SZ}"


def _until(seconds: float) -> str:
    return f"in {duration(seconds)}" if seconds > 0 else "passed"
