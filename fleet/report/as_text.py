"""The summary for people: a block of lines whose numbers add up, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fleet.core.duration import duration
from fleet.core.rows import Row, stages_words
from fleet.core.text import clean
from fleet.report.makespan import took
from fleet.report.summary import Report, next_steps

MOST_DEBTS = 50  # shown; all of them are rows of the report
LONGEST = 400  # characters of what may hold a command


def summary_text(report: Report) -> str:
    """The block, one fact a line, ending with a line break."""
    return "".join(f"{report.whole(line)}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    reason = f": {clean(report.reason, LONGEST)}" if report.reason else ""
    took_all = duration(report.duration_s)
    yield f"run {report.run}, job {clean(report.job)}: {report.state} after {took_all}{reason}"
    yield tally(report.counts, report.between_stages)
    for name, why in report.overrides.items():
        yield f"guards.{name} is lifted: {clean(why, LONGEST)}"
    if (makespan := report.makespan) is not None:
        least = f"at least {duration(makespan.bound_s)}: {clean(makespan.by)}"
        yield f"took {duration(makespan.took_s)}, {least}"
    yield from _effort(report)
    for key, named in report.limits.items():
        yield f"limits learned for {clean(key)}: {clean(', '.join(named))}"
    for key, text in report.throttled.items():
        yield f"throttled without a limit named, {clean(key)}: {clean(text)}"
    but = "; not counted: what a killed process sent" if report.broke_off else ""
    for key, peaks in report.peaks.items():
        for limit, most in peaks.items():
            yield f"largest count of {clean(key)} in any {limit.window:g} s: {most} of {limit.count}{but}"
    yield from _debts(report)
    for damage in report.damage:
        yield f"journal damaged: {damage}"
    yield from next_steps(report)


def tally(counts: Mapping[str, int], between_stages: Mapping[int, int] = MappingProxyType({})) -> str:
    """`214 selected: 61 changed, 3 unchanged`; the parts add up to the whole.

    Behind it stands what those did that are `between_stages`: `stage 1 done: 6 notebooks`.
    """
    parts = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    stages = (
        f"{stages_words(done)}: {number} notebook{'s' * (number > 1)}"
        for done, number in between_stages.items()
    )
    return "; ".join((f"{sum(counts.values())} selected: {parts}", *stages)) if parts else "0 selected"


def _effort(report: Report) -> Iterator[str]:
    total = sum(report.requests.values())
    if total:
        kinds = ", ".join(f"{number} {kind}" for kind, number in report.requests.items() if number)
        yield f"{'' if report.requests_known else 'at least '}{total} requests: {kinds}"
    for state, cost in report.costs.items():
        kinds = ", ".join(f"{number:g} {kind}" for kind, number in cost.by_kind.items() if number)
        yield f"  for each of {cost.notebooks} changed {state}: {cost.calls:g} ({kinds})"
    if report.longest_away is not None:
        yield f"longest away: {_who(report.longest_away)}, {duration(report.longest_away.away_s)}"
    if report.slowest is not None:
        yield f"slowest: {_who(report.slowest)}, {duration(took(report.slowest))}"


def _debts(report: Report) -> Iterator[str]:
    owed = report.owed
    if under_way := len(report.debts) - len(owed):
        yield f"{under_way} away, under way: nothing to do"
    if not owed:
        return
    yield f"{len(owed)} stopped by us and not back; {_way_back(report)}each is brought back by its command:"
    for debt in owed[:MOST_DEBTS]:
        yield f"  {clean(debt.name)}: {clean(debt.fix, LONGEST)}"
    if (more := len(owed) - MOST_DEBTS) > 0:
        yield f"  and {more} more: fleet report {report.run} -o jsonl"


def _way_back(report: Report) -> str:
    """What comes before the single commands: the run's own end, or its resume."""
    if report.live:
        return "once the run is over, "
    resumable = report.counts.get("open") and not report.damage
    return f"all are brought back by: fleet resume {report.run}; or " if resumable else ""


def _who(row: Row) -> str:
    return f"{clean(row.name)} ({clean(row.scope)} {row.id})"
