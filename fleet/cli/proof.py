"""What the demo claims about its run, and all that speaks against it.

The simulator's own fleet and request log are held against the plan and the report; nothing is taken from the
client's word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleet.core.events import Outcome
from fleet.core.pacing.limits import Rate
from fleet.core.planning.plan import Plan
from fleet.report.summary import Report
from fleet.simulator.audit import Finding, Snapshot, audit, is_read, is_write, worst_window
from fleet.simulator.records import Record

WRITES = (("stops", "StopNotebook"), ("updates", "UpdateNotebook"), ("starts", "StartNotebook"))
MOST = 10  # objections shown


@dataclass(frozen=True, slots=True)
class Evidence:
    """The cloud before and after, its log, and what the run planned and told.

    The job must select the notebooks `selected`, and may select those in `moving`, which came to a stable
    status while the plan was made.
    """

    before: Snapshot
    after: Snapshot
    log: Sequence[Record]
    selected: frozenset[str]
    moving: frozenset[str]
    plan: Plan
    report: Report
    rate: Rate


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, true as long as nothing speaks against it."""

    text: str
    against: tuple[str, ...]


def claims(seen: Evidence) -> tuple[Claim, ...]:
    """Every claim, tried on the evidence."""
    expected = {change.id: list(change.after) for change in seen.plan.changes}
    findings = audit(seen.before, seen.after, seen.log, expected)
    return (
        _claim(f"no notebook is lost: all {len(seen.before.notebooks)} are there", _of(findings, "gone")),
        _claim("every notebook is in its run state", _of(findings, "run-state")),
        _claim("every lease is as it was: type, and time left", _of(findings, "lease")),
        _claim(
            "only the planned fields of the planned notebooks changed",
            _of(findings, "field-changed", "unplanned-write", "overruled"),
        ),
        _claim(
            "every endpoint kept its keys, and none became open to every address",
            _of(findings, "endpoint-lost", "endpoint-changed", "endpoint-opened"),
        ),
        _claim("whatever is reported as changed holds its new value, nothing else does", _untrue(seen)),
        _claim(
            f"one row for each of the {len(seen.report.rows)} notebooks that the job had to select",
            _miscounted(seen),
        ),
        _claim(f"writes sent: {_numbers(_sent(seen.log))}, as planned", _unplanned(seen)),
        _claim(f"rate kept: {_worst(seen)}; allowed are {seen.rate} of each", _too_fast(seen)),
        _claim("not one request was refused as too many (429)", _refused(seen.log)),
    )


def proof_lines(made: Sequence[Claim]) -> Iterator[str]:
    """A line for each claim, and below it what speaks against it."""
    for claim in made:
        yield f"  {'NOT' if claim.against else 'ok '} {claim.text}"
        yield from (f"      {objection}" for objection in claim.against[:MOST])
        if len(claim.against) > MOST:
            yield f"      and {len(claim.against) - MOST} more"


def _claim(text: str, against: Iterator[str]) -> Claim:
    return Claim(text, tuple(against))


def _of(findings: Sequence[Finding], *kinds: str) -> Iterator[str]:
    return (f"{one.notebook}: {one.what}: {one.detail}" for one in findings if one.what in kinds)


def _untrue(seen: Evidence) -> Iterator[str]:
    told = {(row.scope, row.id): row.outcome for row in seen.report.rows}
    for change in seen.plan.changes:
        found = seen.after.notebooks.get(change.id)
        holds = found is not None and all(found.fields[name] == value for name, value in change.after.items())
        outcome = told.get((change.scope, change.id))
        if holds is not (outcome is Outcome.CHANGED):
            yield f"{change.id}: {'holds' if holds else 'lacks'} the new value, reported as {outcome}"


def _miscounted(seen: Evidence) -> Iterator[str]:
    rows = Counter(row.id for row in seen.report.rows)
    yield from (f"{id}: no row" for id in sorted(seen.selected - rows.keys()))
    for id, count in sorted(rows.items()):
        if count > 1 or id not in seen.selected | seen.moving:
            yield f"{id}: a row too many"


def _sent(log: Sequence[Record]) -> dict[str, int]:
    operations = [record.operation for record in log if is_write(record)]
    known = {name: operations.count(operation) for name, operation in WRITES}
    others = len(operations) - sum(known.values())
    return known | ({"others": others} if others else {})


def _unplanned(seen: Evidence) -> Iterator[str]:
    restarts = sum(change.needs_restart for change in seen.plan.changes)
    updates = sum(len(change.phases) for change in seen.plan.changes)
    planned = {"stops": restarts, "updates": updates, "starts": restarts}
    if _sent(seen.log) != planned:
        yield f"planned were {_numbers(planned)}"


def _numbers(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in kinds.items())


def _windows(seen: Evidence) -> dict[str, int]:
    kinds = (("reads", is_read), ("writes", is_write))
    return {name: worst_window(seen.log, seen.rate.window, kind) for name, kind in kinds}


def _worst(seen: Evidence) -> str:
    most = " and ".join(f"{count} {name}" for name, count in _windows(seen).items())
    return f"never more than {most} in any {seen.rate.window:g} s"


def _too_fast(seen: Evidence) -> Iterator[str]:
    for name, most in _windows(seen).items():
        if most > seen.rate.count:
            yield f"{most} {name} in one window"


def _refused(log: Sequence[Record]) -> Iterator[str]:
    return (f"{record.operation} of {record.path}" for record in log if record.status == 429)
