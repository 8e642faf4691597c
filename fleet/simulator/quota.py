"""The quota of instances: what the cloud tells of it, and the start that it refuses.

Instances of dedicated pools and free ones are not counted.
"""

from __future__ import annotations

from fleet.simulator import refusals
from fleet.simulator.messages import Answer, Call, answer
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook, World, to_uuid

SPARE = 10

_IDLE = frozenset({Status.STOPPED, Status.START_FAILED, Status.CREATE_FAILED, Status.FROZEN})


def show(world: World, call: Call) -> Answer:
    """ListFeatures: GET /authoring/features/NOTEBOOK."""
    used = sum(_counts(world, notebook, call.project) for notebook in world.notebooks.values())
    quota = world.rules.quota
    return answer(
        {
            "enabled": True,
            "id": to_uuid(1),
            "name": "NOTEBOOK",
            "quota": used + SPARE if quota is None else quota,
            "used": used,
            "user_id": call.user.id,
            "create_at": 0,
            "update_at": 0,
        }
    )


def take(world: World, notebook: Notebook) -> None:
    """Refuse the start of an instance for which the quota has no place."""
    quota = world.rules.quota
    if quota is None or notebook.pool is not None or notebook.feature != "NOTEBOOK":
        return
    others = (row for row in world.notebooks.values() if row is not notebook)
    if sum(_counts(world, row, notebook.project) for row in others) >= quota:
        raise refusals.quota_reached()


def _counts(world: World, notebook: Notebook, project: str) -> bool:
    if notebook.project != project or notebook.pool is not None or notebook.feature != "NOTEBOOK":
        return False
    return world.rules.quota_counts == "every" or notebook.status not in _IDLE
