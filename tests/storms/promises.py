"""What must hold after a storm, judged on the cloud's own log and state; the report is held against them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Any

from fleet.core.errors import Exit
from fleet.core.events import Ended, Outcome, RunEnd, WaveStarted, dump_event
from fleet.core.fold import exit_code
from fleet.core.notebook import Status as SeenStatus
from fleet.core.planning.plan import Change
from fleet.core.planning.plan_file import dump_plan
from fleet.core.rows import Row
from fleet.core.scheduling.timing import Moment
from fleet.simulator.audit import audit, is_read, is_write, worst_window
from fleet.simulator.records import Record
from fleet.simulator.states import Status
from tests.rollout_judge import judge
from tests.storms.brew import Storm
from tests.storms.others import home, overruled
from tests.storms.releases import untimely
from tests.storms.sends import wrong_sends


def complaints(storm: Storm) -> Iterator[str]:
    """Every promise that was broken, judged on the cloud's own log and state."""
    yield from _rows(storm)
    yield from wrong_sends(storm)
    yield from overruled(storm)
    yield from untimely(storm)
    yield from _debts_wait(storm)
    yield from _released(storm)
    yield from _ends(storm)
    yield from _left_stopped(storm)
    yield from _spared(storm)
    yield from _saved(storm)
    yield from _whitelists(storm)
    yield from _pace(storm)


def broken_by_death(storm: Storm, unbroken: Storm) -> Iterator[str]:
    """What is not as in a run that nothing disturbed: the fleet, the writes that led there, the rows."""
    yield from _left_otherwise(storm, unbroken)
    yield from _sent_otherwise(storm, unbroken)
    rows = storm.state.rows()
    if storm.state.end is not RunEnd.FINISHED or exit_code(rows, storm.state.end) is not Exit.DONE:
        yield f"ended as {storm.state.end}: {storm.state.reason}"
    yield from (
        f"{row.id} ({row.outcome}: {row.reason})" for row in rows if row.outcome is not Outcome.CHANGED
    )


def _left_otherwise(storm: Storm, unbroken: Storm) -> Iterator[str]:
    assert storm.plan is not None
    assert storm.before is not None
    assert storm.after is not None
    assert unbroken.after is not None
    planned = {change.id: list(change.after) for change in storm.plan.changes}
    for finding in audit(storm.before, storm.after, storm.cloud.log, planned):
        yield f"{finding.notebook}: {finding.what}: {finding.detail}"
    for notebook_id, wanted in unbroken.after.notebooks.items():
        found = storm.after.notebooks[notebook_id]
        for name in ("status", "fields", "lease_type", "lease_enabled"):
            if getattr(found, name) != getattr(wanted, name):
                yield f"{notebook_id}: {name} is {getattr(found, name)}, not {getattr(wanted, name)}"


def _sent_otherwise(storm: Storm, unbroken: Storm) -> Iterator[str]:
    assert storm.after is not None
    for notebook_id in storm.after.notebooks:
        sent, wanted = writes(storm, notebook_id), writes(unbroken, notebook_id)
        if sent != wanted:
            yield f"{notebook_id}: got {sent}, not {wanted}"


def writes(storm: Storm, notebook_id: str) -> list[tuple[str, Any]]:
    """What we sent to the notebook, refused or not: operations and bodies."""
    return [
        (record.operation, record.body)
        for record in storm.cloud.log
        if record.notebook == notebook_id and is_write(record) and not _is_theirs(storm, record)
    ]


def _debts_wait(storm: Storm) -> Iterator[str]:
    """A process that finds notebooks left stopped brings them home before it stops another one.

    It has done so as well when it could not: when its own end of that change is told.
    """
    assert storm.plan is not None
    items = {change.item: change.id for change in storm.plan.changes}
    for number, (since, until) in enumerate(pairwise([*storm.began, len(storm.cloud.log)]), start=1):
        owed = _stopped_by_us(storm, since)
        began = storm.times[number - 1]
        ends = [(one.at, items[one.item]) for one in storm.events if isinstance(one, Ended)]
        for record in storm.cloud.log[since:until]:
            owed -= {notebook for at, notebook in ends if began <= at <= record.at}
            theirs = _is_theirs(storm, record)
            if record.applied and (theirs or record.operation == "StartNotebook"):
                owed.discard(record.notebook)
            elif record.operation == "StopNotebook" and not theirs and owed - {record.notebook}:
                yield f"{record.notebook}: stopped by process {number} before {', '.join(owed)} came home"


def _stopped_by_us(storm: Storm, until: int) -> set[str]:
    """Who was stopped by us, though to come back to RUNNING, and not touched since by anybody."""
    assert storm.plan is not None
    running = {change.id for change in storm.plan.changes if home(storm, change) is SeenStatus.RUNNING}
    owed: set[str] = set()
    for record in storm.cloud.log[:until]:
        if record.applied and (_is_theirs(storm, record) or record.operation == "StartNotebook"):
            owed.discard(record.notebook)
        elif record.applied and record.operation == "StopNotebook" and record.notebook in running:
            owed.add(record.notebook)
    return owed - storm.befallen


def _spared(storm: Storm) -> Iterator[str]:
    """Where persons are waited for, nobody's notebook is stopped before the patience is over."""
    assert storm.plan is not None
    rollout = storm.plan.rollout
    if rollout.when is Moment.NOW:
        return
    started: set[str] = set()  # by us: those we may stop again
    for record in storm.cloud.log:
        change = next((one for one in storm.plan.changes if one.id == record.notebook), None)
        if change is None or not is_write(record) or _is_theirs(storm, record):
            continue
        if record.operation == "StartNotebook":
            started.add(record.notebook)
        if record.operation != "StopNotebook" or record.notebook in started:
            continue
        if rollout.stops_nobody or record.at < _waits_since(storm, change, record.at) + rollout.patience:
            yield f"{record.notebook}: stopped at {record.at}, which nobody was to be"


def _waits_since(storm: Storm, change: Change, at: float) -> float:
    """When its wave began first, or the first round in which it went before its wave."""
    began = (event for event in storm.events if isinstance(event, WaveStarted) and event.at <= at)
    return min(event.at for event in began if change.wave == event.wave or change.item in event.stand_ins)


def _saved(storm: Storm) -> Iterator[str]:
    """Where environments are saved first: each once, and nothing is stopped before its image is there."""
    assert storm.plan is not None
    changes = {change.id: change for change in storm.plan.changes if change.save}
    images = {f"{image.namespace}/{image.name}": image for image in storm.cloud.world.images.values()}
    done: dict[str, set[str]] = {notebook: set() for notebook in changes}
    for record in storm.cloud.log:
        if record.notebook not in changes or not is_write(record) or _is_theirs(storm, record):
            continue
        ours, image = done[record.notebook], images.get(changes[record.notebook].save)
        if record.operation == "CreateImage" and record.status not in _NEVER_HAPPENED and ours:
            yield f"{record.notebook}: saved at {record.at}, after {', '.join(sorted(ours))}"
        saved_at = image.update_at / 1000 if image is not None and image.status == "ACTIVE" else inf
        if record.operation == "StopNotebook" and "StartNotebook" not in ours and saved_at > record.at:
            yield f"{record.notebook}: stopped at {record.at}, before it was saved"
        if record.operation in _OF_ONE_RESTART and record.status not in _NEVER_HAPPENED:
            ours.add(record.operation)


_NEVER_HAPPENED = (401, 429)  # refused at the gateway
_OF_ONE_RESTART = frozenset({"CreateImage", "StopNotebook", "StartNotebook"})


def _rows(storm: Storm) -> Iterator[str]:
    assert storm.plan is not None
    rows = storm.state.rows(over=True)
    if len(rows) != len(storm.plan.changes) + len(storm.plan.settled):
        yield f"{len(rows)} rows for {len(storm.plan.changes) + len(storm.plan.settled)} selected notebooks"
    assert storm.after is not None
    halted = storm.state.end is RunEnd.HALTED
    for row in rows:
        found = storm.after.notebooks.get(row.id)
        stuck = found is None or found.status in _STUCK
        if row.outcome in (None, Outcome.STRANDED, Outcome.UNKNOWN) and not stuck:
            yield f"{row.id} ({row.outcome}: {row.reason}): not settled in calm weather"
        if row.outcome is Outcome.NOT_STARTED and not halted:
            yield f"{row.id}: never started, although nothing stood in the way"


# Where the simulated cloud lets nobody out again.
_STUCK = frozenset({Status.START_FAILED, Status.ERROR, Status.FROZEN})


def _released(storm: Storm) -> Iterator[str]:
    """Budgets and waves, recomputed from what the journals kept, through deaths and resumes."""
    assert storm.plan is not None
    plan = json.loads(dump_plan(storm.plan))
    yield from judge(plan, [json.loads(dump_event(event)) for event in storm.events]).broken


def _left_stopped(storm: Storm) -> Iterator[str]:
    """Whoever was stopped by us, and since then not touched by anybody else, runs again or is a debt."""
    assert storm.plan is not None
    assert storm.after is not None
    running = {change.id for change in storm.plan.changes if home(storm, change) is SeenStatus.RUNNING}
    running -= storm.befallen
    for row in storm.state.rows(over=True):
        found = storm.after.notebooks.get(row.id)
        if row.id not in running or row.debt or found is None or found.status is Status.RUNNING:
            continue
        since = _since_our_stop(storm, row.id)
        ran_out = "StartNotebook" in since and (found.lease_end or inf) <= storm.after.at
        if since and not ran_out:
            yield f"{row.id} ({row.outcome}: {row.reason}): left {found.status} by us, and no debt"


def _since_our_stop(storm: Storm, notebook_id: str) -> list[str]:
    """What was done to the notebook from our last stop on; nothing, if anybody else did something since."""
    done: list[str] = []
    for record in storm.cloud.log:
        if record.notebook != notebook_id or not record.applied:
            continue
        if _is_theirs(storm, record):
            done = []
        elif record.operation == "StopNotebook":
            done = [record.operation]
        elif done:
            done.append(record.operation)
    return done


def _is_theirs(storm: Storm, record: Record) -> bool:
    return record.request_id in storm.by_hand


def _ends(storm: Storm) -> Iterator[str]:
    """Every row against the cloud as it is in the end, for notebooks that nobody else touched."""
    assert storm.plan is not None
    assert storm.after is not None
    changes = {change.id: change for change in storm.plan.changes}
    for row in storm.state.rows(over=True):
        change, found = changes.get(row.id), storm.after.notebooks.get(row.id)
        if change is None or found is None or row.id in storm.touched or _lease_ran_out(storm, row.id):
            continue
        who = f"{row.id} ({row.outcome}: {row.reason})"
        if row.outcome in (Outcome.DRIFTED, Outcome.GONE):
            yield f"{who}: but nobody touched it"
        back = found.status.value == change.run_state.value
        if not back and row.outcome is not Outcome.STRANDED:
            yield f"{who}: is {found.status}, was {change.run_state}"
        if row.debt is (back or change.run_state is not SeenStatus.RUNNING):
            yield f"{who}: debt is {row.debt}, it is {found.status}"
        for name in ("image_id", "description", "name", "storage_new_size"):
            wanted = _wanted(row, name, change)
            if wanted is not None and found.fields.get(name) != wanted:
                yield f"{who}: {name} is {found.fields.get(name)}, not {wanted}"
        if row.outcome is Outcome.CHANGED and change.run_state is SeenStatus.RUNNING:
            yield from (f"{who}: {what}" for what in _lease(storm, row.id))


def _wanted(row: Row, name: str, change: Change) -> Any:
    """What the field must hold; None where a change that failed half way may have left either value."""
    if row.outcome in (Outcome.CHANGED, Outcome.UNCHANGED):
        return change.after.get(name)
    untried = row.outcome in (Outcome.NOT_STARTED, Outcome.SKIPPED) or not row.calls.put
    put_back = "put back" in row.reason and name == "image_id"
    return change.before.get(name) if untried or put_back else None


def _lease(storm: Storm, notebook_id: str) -> Iterator[str]:
    assert storm.before is not None
    assert storm.after is not None
    was, now = storm.before.notebooks[notebook_id], storm.after.notebooks[notebook_id]
    if now.lease_enabled != was.lease_enabled and storm.cloud.world.rules.duration_minus_one == "accept":
        yield f"auto stop was {was.lease_enabled}, is {now.lease_enabled}"
    if was.lease_enabled and now.lease_type != was.lease_type:
        yield f"lease type was {was.lease_type}, is {now.lease_type}"


def _lease_ran_out(storm: Storm, notebook_id: str) -> bool:
    """Whether the notebook could stop by itself in the course of the storm."""
    assert storm.before is not None
    assert storm.after is not None
    end = storm.before.notebooks[notebook_id].lease_end
    return end is not None and end <= storm.after.at


def _whitelists(storm: Storm) -> Iterator[str]:
    assert storm.before is not None
    assert storm.after is not None
    for notebook_id, was in storm.before.notebooks.items():
        found = storm.after.notebooks.get(notebook_id)
        if found is None or notebook_id in storm.touched:
            continue
        closed = {e["service"] for e in was.fields["endpoints"] if e.get("allowed_access_ips")}
        still = {e["service"]: e for e in found.fields["endpoints"]}
        for service in closed:
            if service not in still or not still[service].get("allowed_access_ips"):
                yield f"{notebook_id}: its {service} endpoint is open to the world"


def _pace(storm: Storm) -> Iterator[str]:
    """Each process keeps the rate; what planned before them had another one."""
    rate = storm.specs[0].rate
    assert rate is not None
    for since, until in pairwise([*storm.began, len(storm.cloud.log)]):
        for kind, name in ((is_read, "reads"), (is_write, "writes")):
            worst = worst_window(storm.cloud.log[since:until], rate.window, kind)
            if worst > rate.count + 1 + len(storm.acts):
                yield f"{worst} {name} in {rate.window:g} s, {rate.count} are allowed"
