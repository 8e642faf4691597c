"""Every write follows from what was seen, and none is sent once too often: judged on the cloud's own log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from fleet.simulator.audit import is_write
from fleet.simulator.records import Record
from tests.storms.brew import Storm
from tests.storms.request_log import by_notebook, repeats

# What a look shows after which this write is one too many.
IN_VAIN: Mapping[str, tuple[str, ...]] = {
    "CreateImage": ("SNAPSHOTTING", "STOPPING", "STOPPED"),
    "StopNotebook": ("STOPPING", "STOPPED"),
    "StartNotebook": ("STARTING", "RUNNING"),
}


def wrong_sends(storm: Storm) -> Iterator[str]:
    """Writes outside the plan, sent again before or after a look, or by a process that had not looked."""
    log = ours(storm)
    yield from _unplanned(storm, log)
    yield from repeats(log)
    yield from _in_vain(storm, log)
    yield from _unseen(storm)


def ours(storm: Storm, since: int = 0, until: int | None = None) -> list[Record]:
    """That part of the cloud's log without what others sent, and without looks whose answer came too late."""
    return [
        record
        for record in storm.cloud.log[since:until]
        if record.request_id not in storm.by_hand
        and (record.operation != "ShowNotebook" or record.request_id in storm.shown)
    ]


def _unplanned(storm: Storm, log: Sequence[Record]) -> Iterator[str]:
    assert storm.plan is not None
    written = {record.notebook for record in log if is_write(record)}
    for notebook in written - {change.id for change in storm.plan.changes}:
        yield f"{notebook}: written to, but not in the plan"


def _in_vain(storm: Storm, log: Sequence[Record]) -> Iterator[str]:
    """Stops and starts of notebooks that the last look showed on that way already."""
    status: dict[str, str] = {}
    for record in log:
        if record.request_id in storm.shown:
            status[record.notebook] = storm.shown[record.request_id]
        elif is_write(record):
            seen = status.pop(record.notebook, "")
            if seen in IN_VAIN.get(record.operation, ()):
                yield f"{record.notebook}: {record.operation} although it was seen {seen}"


def _unseen(storm: Storm) -> Iterator[str]:
    """No process writes to a notebook that it has not seen."""
    for number, (since, until) in enumerate(pairwise([*storm.began, len(storm.cloud.log)]), start=1):
        for notebook, records in by_notebook(ours(storm, since, until)).items():
            if records and is_write(records[0]):
                yield f"{notebook}: {records[0].operation} by process {number} without a look"
