"""Proof, from the cloud's side, of what a run did to a fleet.

Take a ``snapshot`` before and after, and give both with the request log to ``audit``: it returns a
finding for everything that is not as it was and was not allowed to change. ``worst_window`` tells
the largest number of requests that ever fell into one window.

A run may stop a notebook only to start it again, and gives the lease back as it was when stopped:
same type, and the time that was left then, raised to the shortest one that a start can ask for.

The log tells people (``SOMEBODY``) from the run. What they did is nobody's fault: a notebook that
they wrote to is judged by the run's own writes only, which must not undo theirs.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.simulator.cloud import Cloud
from fleet.simulator.messages import SOMEBODY
from fleet.simulator.notebooks import SHORTEST_LEASE_MS
from fleet.simulator.records import Record
from fleet.simulator.routing import Operation, call_class
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

LEASE_TOLERANCE_MS = 120_000

_HEADS_FOR = {
    Status.INIT: Status.RUNNING,
    Status.CREATING: Status.RUNNING,
    Status.STARTING: Status.RUNNING,
    Status.SNAPSHOTTING: Status.RUNNING,
    Status.STOPPING: Status.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Mirror:
    """One notebook at one instant. ``fields`` are the PUT's, and ``tags``."""

    name: str
    status: Status
    fields: Mapping[str, Any]
    lease_type: str
    lease_enabled: bool
    lease_end: float | None
    running_since: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    at: float
    notebooks: Mapping[str, Mirror]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    notebook: str
    what: str
    detail: str


def snapshot(cloud: Cloud, now: float) -> Snapshot:
    """The fleet at ``now``, independent of whatever happens to it later."""
    cloud.settle(now)
    rows = cloud.world.notebooks
    return Snapshot(now, {row_id: _mirror(row) for row_id, row in rows.items()})


def _mirror(row: Notebook) -> Mirror:
    fields = {
        "name": row.name,
        "description": row.description,
        "image_id": row.image.id,
        "flavor": row.flavor if row.custom_spec is None else row.custom_spec,
        "affinity": row.affinity,
        "hooks": row.hooks,
        "endpoints": row.endpoints,
        "storage_new_size": row.growing_to or row.volume.get("capacity"),
        "dew_secret_name": row.volume.get("dew_secret_name"),
        "tags": row.tags,
    }
    return Mirror(
        name=row.name,
        status=row.status,
        fields=copy.deepcopy(fields),
        lease_type=row.lease.type,
        lease_enabled=row.lease.enable,
        lease_end=row.lease.end(),
        running_since=row.running_since,
    )


def audit(
    before: Snapshot,
    after: Snapshot,
    log: Iterable[Record],
    expected: Mapping[str, Collection[str]],
) -> list[Finding]:
    """What is wrong with the way from ``before`` to ``after``; an empty list is the proof.

    ``expected``: notebook id -> names of the PUT fields (and ``tags``) that were planned to change.
    A planned change of ``endpoints`` is one of addresses: keys and services must stay, and no
    endpoint may have become open. ``log`` is the part between the snapshots, or the whole log.
    """
    writes: dict[str, list[Record]] = {}
    for record in log:
        if record.applied and record.notebook and before.at <= record.at <= after.at:
            writes.setdefault(record.notebook, []).append(record)
    findings: list[Finding] = []
    for notebook_id, was in before.notebooks.items():
        problems = _problems(
            was,
            after.notebooks.get(notebook_id),
            writes.get(notebook_id, []),
            expected.get(notebook_id),
            after.at,
        )
        findings += [Finding(notebook_id, what, detail) for what, detail in problems]
    return findings


Problem = tuple[str, str]


def _problems(
    was: Mirror, found: Mirror | None, writes: Sequence[Record], planned: Collection[str] | None, now: float
) -> Iterable[Problem]:
    ours = [record for record in writes if not is_of_people(record)]
    yield from _unplanned_writes(ours, planned)
    if len(ours) < len(writes):
        yield from _overruled(writes)
    elif found is None:
        if was.status is not Status.DELETING:
            yield "gone", f"{was.name} was deleted"
    else:
        yield from _changed_fields(was, found, planned or ())
        yield from _endpoint_harm(was, found)
        yield from _run_state(was, found, ours, now)
        yield from _lease(was, found, ours, now)


def _unplanned_writes(writes: Sequence[Record], planned: Collection[str] | None) -> Iterable[Problem]:
    if planned is None and writes:
        operations = ", ".join(sorted({record.operation for record in writes}))
        yield "unplanned-write", f"{operations} on a notebook that is not in the plan"


def _overruled(writes: Sequence[Record]) -> Iterable[Problem]:
    """A write of the run after one of people's that it undoes."""
    opposite = {
        Operation.START_NOTEBOOK.value: Operation.STOP_NOTEBOOK,
        Operation.STOP_NOTEBOOK.value: Operation.START_NOTEBOOK,
    }
    theirs: set[str] = set()
    for record in writes:
        fields = set(record.body or ()) if record.operation == Operation.UPDATE_NOTEBOOK else set()
        if is_of_people(record):
            theirs |= {record.operation, *fields}
            theirs.discard(opposite.get(record.operation, ""))
        elif opposite.get(record.operation) in theirs:
            yield "overruled", f"{record.operation} after somebody's {opposite[record.operation]}"
        elif fields & theirs:
            yield "overruled", f"{', '.join(sorted(fields & theirs))}: set by somebody before"


def _changed_fields(was: Mirror, found: Mirror, planned: Collection[str]) -> Iterable[Problem]:
    for field, value in was.fields.items():
        if found.fields[field] != value and field not in planned:
            yield "field-changed", f"{field}: {value!r} -> {found.fields[field]!r}"


def _endpoint_harm(was: Mirror, found: Mirror) -> Iterable[Problem]:
    now = {endpoint["service"]: endpoint for endpoint in found.fields["endpoints"]}
    for endpoint in was.fields["endpoints"]:
        service = endpoint["service"]
        if service not in now:
            yield "endpoint-lost", f"{service} is gone"
            continue
        for key in ("key_pair_names", "uri"):
            if now[service].get(key) != endpoint.get(key) and not (
                key == "uri" and was.running_since != found.running_since
            ):
                yield "endpoint-changed", f"{service}: {key} is no longer {endpoint.get(key)!r}"
        if endpoint.get("allowed_access_ips") and not now[service].get("allowed_access_ips"):
            yield "endpoint-opened", f"{service} is open to every address"


def _run_state(was: Mirror, found: Mirror, writes: Sequence[Record], now: float) -> Iterable[Problem]:
    """RUNNING and STOPPED must be what they were; an end of the lease is nobody's doing."""
    goal = _HEADS_FOR.get(was.status, was.status)
    stopped = any(record.operation == Operation.STOP_NOTEBOOK for record in writes)
    lease_ended = was.lease_end is not None and was.lease_end <= now and not stopped
    if goal is Status.RUNNING and lease_ended:
        return
    if found.status is not goal and (writes or goal is was.status):
        yield "run-state", f"{was.status} -> {found.status}, should be {goal}"


def _lease(was: Mirror, found: Mirror, writes: Sequence[Record], now: float) -> Iterable[Problem]:
    """The lease of a notebook that runs, as it was; while it was stopped the clock stood still."""
    if found.lease_enabled != was.lease_enabled:
        yield "lease", f"automatic stop is {'on' if found.lease_enabled else 'off'}"
        return
    if not was.lease_enabled:
        return
    if found.lease_type != was.lease_type:
        yield "lease", f"type {was.lease_type} -> {found.lease_type}"
    if found.status is not Status.RUNNING or was.lease_end is None or found.lease_end is None:
        return
    least, most = _lease_left(was.lease_end, found, writes, now)
    left = round((found.lease_end - now) * 1000)
    if not least - LEASE_TOLERANCE_MS <= left <= most + LEASE_TOLERANCE_MS:
        yield "lease", f"{left // 1000} s left, should be {least // 1000} to {most // 1000} s"


def _lease_left(end: float, found: Mirror, writes: Sequence[Record], now: float) -> tuple[int, int]:
    """Least and most ms that should be left: the time that STARTING took may count or not."""
    frozen = next(
        (
            record.before["lease_left"]
            for record in writes
            if record.operation == Operation.STOP_NOTEBOOK and record.before is not None
        ),
        None,
    )
    starts = [record.at for record in writes if record.operation == Operation.START_NOTEBOOK]
    if frozen is None or not starts or found.running_since is None:
        left = round((end - now) * 1000)
        return left, left
    given = max(frozen, SHORTEST_LEASE_MS)
    return (
        given - round((now - starts[-1]) * 1000),
        given - round((now - found.running_since) * 1000),
    )


def is_of_people(record: Record) -> bool:
    """Somebody at the console, not a client."""
    return record.user == SOMEBODY.id


def is_read(record: Record) -> bool:
    """A client's GET to ModelArts."""
    return call_class(record.operation, record.method) == "reads" and not is_of_people(record)


def is_write(record: Record) -> bool:
    """A client's call to ModelArts that may change something."""
    return call_class(record.operation, record.method) == "writes" and not is_of_people(record)


def worst_window(log: Iterable[Record], window_seconds: float, select: Callable[[Record], bool]) -> int:
    """The largest number of selected requests, refused ones too, in any window of that length.

    Windows are half-open, as the gateway's: two requests exactly ``window_seconds`` apart are never
    in the same one.
    """
    worst = 0
    window: deque[float] = deque()
    for at in sorted(record.at for record in log if select(record)):
        window.append(at)
        while at - window[0] >= window_seconds:
            window.popleft()
        worst = max(worst, len(window))
    return worst
