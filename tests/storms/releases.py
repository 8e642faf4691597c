"""No change begins before its time: soaks, gates, persons who approve, windows, by the cloud's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fleet.core.events import Answered, Fate, Intended
from fleet.core.planning.plan import Change
from fleet.simulator.audit import is_write
from fleet.simulator.records import Record
from tests.storms.brew import EPOCH, OPEN, PERIOD, Storm

SLACK = 0.1  # s that a request may take to the cloud


def untimely(storm: Storm) -> Iterator[str]:
    """Changes whose first write came too early."""
    assert storm.plan is not None
    changes = {change.id: change for change in storm.plan.changes}
    for notebook, record in _first_writes(storm, changes).items():
        for what in (*_unsoaked(storm, changes, record), *_unapproved(storm, changes[notebook], record)):
            yield f"{notebook}: begins at {record.at - EPOCH:.1f} {what}"
        begun = _intended_before(storm, record) or _lost_before(storm, record)
        if storm.plan.rollout.calendar and not _is_open(record.at) and not begun:
            yield f"{notebook}: begins at {record.at - EPOCH:.1f}, outside of every window"


def _first_writes(storm: Storm, changes: Mapping[str, Change]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in storm.cloud.log:
        ours = is_write(record) and record.request_id not in storm.by_hand and record.status != 429
        if ours and record.notebook in changes:
            found.setdefault(record.notebook, record)
    return found


def _unsoaked(storm: Storm, changes: Mapping[str, Change], first: Record) -> Iterator[str]:
    assert storm.plan is not None
    wave, soak = changes[first.notebook].wave, storm.plan.rollout.soak
    for record in storm.cloud.log:
        earlier = changes.get(record.notebook)
        if earlier is None or earlier.wave >= wave or record.request_id in storm.by_hand:
            continue
        if is_write(record) and record.applied and first.at - soak + SLACK < record.at <= first.at:
            yield f"of wave {wave}, {first.at - record.at:.1f} s after a write of wave {earlier.wave}"


def _unapproved(storm: Storm, change: Change, first: Record) -> Iterator[str]:
    """The last word on each wave before must have been "go"."""
    assert storm.plan is not None
    rollout, waves = storm.plan.rollout, {one.wave for one in storm.plan.changes if one.wave < change.wave}
    asked = [("gate", wave) for wave in waves if rollout.gate is not None]
    asked += [("person", wave) for wave in waves if wave in rollout.approve]
    for who, wave in asked:
        told = (said for said in storm.said if (said.who, said.wave) == (who, wave))
        words = [said.go for said in told if said.at <= first.at]
        if not words or not words[-1]:
            yield f"of wave {change.wave}, and the {who} had not let wave {wave} pass"


def _is_open(at: float) -> bool:
    return (at - EPOCH) % PERIOD < OPEN + SLACK


def _item(storm: Storm, record: Record) -> int:
    assert storm.plan is not None
    return next(change.item for change in storm.plan.changes if change.id == record.notebook)


def _lost_before(storm: Storm, record: Record) -> bool:
    """Whether a write left inside a window and never arrived: what was begun then is not kept waiting."""
    item = _item(storm, record)
    told = (one for one in storm.events if isinstance(one, Answered) and one.item == item)
    return any(one.fate is Fate.IN_DOUBT and one.at < record.at and _is_open(one.at) for one in told)


def _intended_before(storm: Storm, record: Record) -> bool:
    """Whether an earlier process may have sent that write already: what it began is not kept waiting."""
    item = _item(storm, record)
    process = max(number for number in storm.began if number <= storm.cloud.log.index(record))
    since = storm.cloud.log[process].at if process < len(storm.cloud.log) else record.at
    return any(isinstance(one, Intended) and one.item == item and one.at < since for one in storm.events)
