"""Applies the table of ``states`` to notebooks: the only place that changes a status.

Calls come in through ``start``, ``stop``, ``save_image`` and ``delete``; time comes in through
``settle``, which replays everything that has become due, each at its own instant; fate comes in
through ``befall`` and ``hasten``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.simulator import quota, refusals
from fleet.simulator.states import TABLE, TRANSITIONAL, Cause, Status
from fleet.simulator.world import Image, Notebook, Passage, Timer, World, ms

_TAKES = {
    Status.INIT: "init",
    Status.CREATING: "create",
    Status.STARTING: "start",
    Status.STOPPING: "stop",
    Status.SNAPSHOTTING: "snapshot",
    Status.DELETING: "delete",
}


def settle(world: World, now: float) -> None:
    """Let everything happen that is due by ``now``."""
    while (entry := world.agenda.pop(now)) is not None:
        due, timer, notebook = entry
        if timer is Timer.STATUS:
            _follow(world, notebook, notebook.outcome, due)
        elif timer is Timer.LEASE:
            _follow(world, notebook, Cause.LEASE_END, due)
        else:
            _finish_growth(notebook, due)


def require(notebook: Notebook, cause: Cause) -> None:
    """Raise the refusal that the service gives when the table has no way out by this cause."""
    if notebook.status is Status.FROZEN:
        raise refusals.frozen()
    if cause not in TABLE[notebook.status]:
        raise refusals.busy(notebook.name)


def start(world: World, notebook: Notebook, now: float) -> None:
    """STARTING, to end in RUNNING or START_FAILED; the machine is taken from stock first."""
    require(notebook, Cause.START)
    if notebook.status is Status.START_FAILED and world.rules.start_failed == "stuck":
        raise refusals.busy(notebook.name)
    if notebook.image.status != "ACTIVE":
        raise refusals.image_unusable(notebook.image.id, notebook.image.status)
    if world.is_sold_out(notebook.flavor, now):
        raise refusals.sold_out(notebook.flavor, world.rules.sold_out)
    quota.take(world, notebook)
    notebook.fail_reason = None
    _follow(world, notebook, Cause.START, now)


def stop(world: World, notebook: Notebook, now: float) -> None:
    require(notebook, Cause.STOP)
    _follow(world, notebook, Cause.STOP, now)


def save_image(world: World, notebook: Notebook, image: Image, now: float) -> None:
    """SNAPSHOTTING until the image is ACTIVE or has failed; the notebook cannot be used meanwhile."""
    require(notebook, Cause.SAVE_IMAGE)
    notebook.saving = image
    _follow(world, notebook, Cause.SAVE_IMAGE, now)


def delete(world: World, notebook: Notebook, now: float) -> None:
    require(notebook, Cause.DELETE)
    if notebook.status is Status.RUNNING and world.rules.delete_running == "refuse":
        raise refusals.Refusal("ModelArts.6304", "Please stop the instance before deleting it.")
    _follow(world, notebook, Cause.DELETE, now)


def befall(world: World, notebook: Notebook, cause: Cause, at: float, reason: str | None = None) -> bool:
    """Apply a cause that nobody asked for, if the table and the notebook's being there allow it."""
    if cause not in TABLE[notebook.status] or world.notebooks.get(notebook.id) is not notebook:
        return False
    notebook.fail_reason = reason
    _follow(world, notebook, cause, at)
    return True


def hasten(world: World, notebook: Notebook, at: float) -> None:
    """End the transitional status that the notebook is in at once, the way it would have ended."""
    if notebook.timers.pop(Timer.STATUS, None) is not None:
        _follow(world, notebook, notebook.outcome, at)


def grow_volume(world: World, notebook: Notebook, capacity: int, now: float) -> None:
    """Grow the disk to ``capacity`` GB; RESIZING meanwhile, which does not affect the notebook."""
    notebook.growing_to = capacity
    notebook.volume["status"] = "RESIZING"
    world.agenda.schedule(now + world.seconds(notebook, "resize"), Timer.VOLUME, notebook)


def watch_lease(world: World, notebook: Notebook, now: float) -> None:
    """Have the end of the lease happen, if the notebook runs and its lease ends at all."""
    end = notebook.lease.end()
    if notebook.status is Status.RUNNING and end is not None:
        world.agenda.schedule(max(now, end), Timer.LEASE, notebook)
    else:
        notebook.timers.pop(Timer.LEASE, None)


def enter(world: World, notebook: Notebook, status: Status, at: float) -> None:
    """Put the notebook into a status."""
    notebook.status = status
    notebook.touch(ms(at))
    settle_in(world, notebook, at)


def settle_in(world: World, notebook: Notebook, at: float) -> None:
    """Everything that comes with being in the status that the notebook is in."""
    notebook.outcome, notebook.outcome_reason = Cause.DONE, ""
    if notebook.status in TRANSITIONAL:
        notebook.transition_end = at + _plan_end(world, notebook, at)
        world.agenda.schedule(notebook.transition_end, Timer.STATUS, notebook)
    else:
        notebook.timers.pop(Timer.STATUS, None)
    if notebook.status not in (Status.RUNNING, Status.SNAPSHOTTING):
        notebook.running_since = None
    elif notebook.running_since is None:
        notebook.running_since = at
    watch_lease(world, notebook, at)


def _plan_end(world: World, notebook: Notebook, at: float) -> float:
    """Seconds in a transitional status; decides whether it will end in a failure."""
    seconds = world.seconds(notebook, _TAKES[notebook.status])
    if notebook.status is Status.STARTING and notebook.pulled_image != notebook.image.id:
        seconds += world.seconds(notebook, "pull")
    passage = world.weather.passing(notebook, Passage(seconds), at)
    if passage.failure is not None:
        notebook.outcome, notebook.outcome_reason = Cause.FAILED, passage.failure
    return passage.seconds


def _follow(world: World, notebook: Notebook, cause: Cause, at: float) -> None:
    was, reason = notebook.status, notebook.outcome_reason
    status = TABLE[was][cause]
    if status is Status.START_FAILED:
        notebook.fail_reason = reason
    if status is Status.DELETED and world.rules.deleted == "gone":
        notebook.status = status
        notebook.timers.clear()
        world.remove(notebook)
        return
    if was is Status.SNAPSHOTTING and status is Status.RUNNING and notebook.saving is not None:
        _finish_image(notebook, notebook.saving, "ACTIVE" if cause is Cause.DONE else "CREATE_FAILED", at)
    if was is Status.STARTING and status is Status.RUNNING:
        _come_up(world, notebook)
    enter(world, notebook, status, at)


def _come_up(world: World, notebook: Notebook) -> None:
    notebook.pulled_image = notebook.image.id
    if world.rules.restart_uri == "change":
        fresh = world.fresh_uuid()
        notebook.token = fresh.replace("-", "")
        notebook.url = f"https://authoring-{fresh[:8]}.{world.region}.example.com/{notebook.id}/lab"
        for endpoint in notebook.endpoints:
            if endpoint["service"] == "SSH":
                endpoint["uri"] = ssh_uri(world.region, int(fresh[:4], 16))


def ssh_uri(region: str, number: int) -> str:
    """The address of a notebook's SSH endpoint."""
    return f"ssh://ma-user@dev-modelarts-{region}.example.com:{30000 + number % 30000}"


def new_endpoint(region: str, service: str, said: Mapping[str, Any], number: int) -> dict[str, Any]:
    """An endpoint that was not there before; only SSH ones have an address."""
    address = {"uri": ssh_uri(region, number)} if service == "SSH" else {}
    return {"service": service, **said, **address}


def _finish_image(notebook: Notebook, image: Image, status: str, at: float) -> None:
    image.status, image.update_at = status, ms(at)
    notebook.saving = None


def _finish_growth(notebook: Notebook, at: float) -> None:
    notebook.volume["capacity"] = notebook.growing_to
    notebook.volume["status"] = "IN_USE"
    notebook.growing_to = None
    notebook.touch(ms(at))
