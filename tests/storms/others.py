"""What others did to a notebook is not undone, and no write stands on an old look: by the cloud's log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fleet.core.notebook import Status
from fleet.core.planning.plan import Change
from fleet.core.scheduling.timing import Moment
from fleet.simulator.audit import is_write
from fleet.simulator.records import Record
from tests.storms.brew import Storm

# A look may be five seconds old when its write's turn has come, and the write then has five to leave.
OLDEST = 10.1  # s
OVERTURNING = frozenset({"StopNotebook", "UpdateNotebook", "CreateImage"})
SETTLED = (Status.RUNNING, Status.STOPPED)


def overruled(storm: Storm) -> Iterator[str]:
    """Writes of ours that somebody's act forbade which our last look had shown, or that had no fresh look."""
    assert storm.plan is not None
    for change in storm.plan.changes:
        if change.id not in storm.befallen:
            yield from (f"{change.id}: {what}" for what in _Follower(storm, change).complaints())


def home(storm: Storm, change: Change) -> Status:
    """The run state to come back to: the one that our last look before the first write showed.

    Where persons are left alone, one who has stopped his notebook since the plan finds it stopped.
    """
    seen = change.run_state.value
    for record in storm.cloud.log:
        if record.notebook != change.id or record.request_id in storm.by_hand:
            continue
        seen = storm.shown.get(record.request_id, seen)
        if _counts(record):
            break
    return Status(seen) if seen in SETTLED else change.run_state


def _counts(record: Record) -> bool:
    """Whether this write may have done anything, or taught us anything: all but what the gateway kept out."""
    return is_write(record) and record.status != 429


@dataclass
class _Look:
    """What our last look at a notebook showed, and which acts of others it came after."""

    at: float = 0.0
    status: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    switched: str = ""


class _Follower:
    """Follows the records of one notebook through the log."""

    def __init__(self, storm: Storm, change: Change) -> None:
        self._storm = storm
        self._change = change
        self._fields: dict[str, Any] = {}  # planned ones that hold what somebody else has set
        self._switched = ""  # the last start or stop, and whose it was
        self._look: _Look | None = None
        self._sent = False
        self._begun = False
        self._stopped = False  # by us, at some time

    def complaints(self) -> Iterator[str]:
        began = set(self._storm.began)
        for number, record in enumerate(self._storm.cloud.log):
            if number in began:  # a refusal may have died with the process that heard it
                self._look, self._begun = None, self._begun or self._sent
            if record.notebook != self._change.id:
                continue
            if record.request_id in self._storm.by_hand:
                self._theirs(record)
            elif record.request_id in self._storm.shown:
                arrived = self._storm.arrived[record.request_id]
                status = self._storm.shown[record.request_id]
                self._look = _Look(arrived, status, dict(self._fields), self._switched)
            elif is_write(record):
                yield from (f"{record.operation} at {record.at:.1f} {what}" for what in self._wrong(record))
                self._ours(record)

    def _theirs(self, record: Record) -> None:
        if not record.applied:
            return
        if record.operation in ("StopNotebook", "StartNotebook"):
            self._switched = f"their {record.operation}"
        for name, value in (record.body or {}).items() if record.operation == "UpdateNotebook" else ():
            self._fields.pop(name, None)
            change = self._change
            if name in change.after and value not in (change.before.get(name), change.after[name]):
                self._fields[name] = value

    def _ours(self, record: Record) -> None:
        self._sent = True
        self._begun |= _counts(record)
        if not record.applied:
            return
        if record.operation in ("StopNotebook", "StartNotebook"):
            self._switched = f"our {record.operation}"
            self._stopped |= record.operation == "StopNotebook"
        for name in (record.body or {}) if record.operation == "UpdateNotebook" else ():
            self._fields.pop(name, None)

    def _wrong(self, record: Record) -> Iterator[str]:
        look, operation = self._look, record.operation
        if look is None:  # by a process that has not looked: told elsewhere
            return
        if operation in OVERTURNING and record.at - look.at > OLDEST:
            yield f"stands on a look that is {record.at - look.at:.1f} s old"
        lost = [name for name in look.fields if operation == "UpdateNotebook" and name in (record.body or {})]
        if lost:
            yield f"overwrites {', '.join(lost)}, which somebody had set before our look"
        if not self._begun:
            yield from self._wrongly_begun(look, operation)
        restarted = self._stopped and look.switched == "their StartNotebook" == self._switched
        if operation == "StopNotebook" and restarted and self._change.run_state is Status.RUNNING:
            yield "undoes somebody's start after our stop"

    def _wrongly_begun(self, look: _Look, operation: str) -> Iterator[str]:
        """What speaks against this as the first write."""
        if look.fields:
            yield f"begins although somebody had set {', '.join(look.fields)}"
        planned = self._change.run_state
        if look.status in SETTLED and look.status != planned:
            assert self._storm.plan is not None
            rollout = self._storm.plan.rollout
            left_alone = rollout.when is not Moment.NOW or bool(rollout.calendar)
            if not (left_alone and planned is Status.RUNNING and operation == "UpdateNotebook"):
                yield f"begins although it was {look.status}, not {planned} as planned"
