"""Pays a debt by hand: starts or stops one notebook and waits until it is there."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from fleet.client.api import ModelArts
from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.core.errors import CallError, Exit, FleetError, Meaning
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import require_uuid
from fleet.core.scope import ScopeSpec

PATIENCE = 1800.0


async def bring_running(
    spec: ScopeSpec, notebook_id: str, lease: Mapping[str, object], clock: Clock
) -> Notebook:
    """Starts a notebook with that lease (Start API: duration in ms, type) unless it runs already.

    Raises FleetError when it ends elsewhere, CallError when the cloud refuses.
    """
    require_uuid("notebook", notebook_id)
    async with connect([spec], monotonic=clock.monotonic, wall=clock.wall) as clouds:
        cloud = clouds[spec.name]
        return await _bring(cloud, notebook_id, Status.RUNNING, lease)


async def bring_stopped(spec: ScopeSpec, notebook_id: str, clock: Clock) -> Notebook:
    """Stops a notebook unless it is stopped already. Raises as `bring_running`."""
    require_uuid("notebook", notebook_id)
    async with connect([spec], monotonic=clock.monotonic, wall=clock.wall) as clouds:
        return await _bring(clouds[spec.name], notebook_id, Status.STOPPED, {})


class NotBrought(FleetError):
    """Something was sent, and the notebook is not where it should be."""

    exit = Exit.SOME_FAILED


async def _send(cloud: ModelArts, key: str, goal: Status, lease: Mapping[str, object]) -> None:
    turn = await cloud.turn()
    if goal is Status.RUNNING:
        await cloud.start(key, lease, turn)
    else:
        await cloud.stop(key, turn)


async def _bring(cloud: ModelArts, key: str, goal: Status, lease: Mapping[str, object]) -> Notebook:
    found = (await cloud.look(key)).notebook
    if (found.status.heading or found.status) is not goal:
        try:
            await _send(cloud, key, goal, lease)
        except CallError as error:
            if not error.in_doubt and error.meaning is not Meaning.BUSY:
                raise  # certainly not done; whatever else happened, only looking can tell
    with anyio.move_on_after(PATIENCE):
        while found.status is not goal:
            await anyio.sleep(cloud.spec.poll)
            found = (await cloud.look(key)).notebook
            if found.status.heading is None and found.status not in (goal, Status.RUNNING, Status.STOPPED):
                break
    if found.status is not goal:
        why = f": {found.fail_reason}" if found.fail_reason else ""
        raise NotBrought(f"{found.name or key} is {found.status_word or found.status}, not {goal}{why}")
    return found
