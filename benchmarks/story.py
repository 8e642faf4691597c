"""What the engine records of one untroubled change: a running notebook gets another image and comes back.

Twelve events for seven requests. The engine waits for the three intents; all others it leaves for the next
batch. Neighbour: `journal`, which writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from fleet.core.changing.sight import Sight
from fleet.core.events import Answered, Began, ChangeEvent, Ended, Fate, Intended, Outcome, Saw, Step
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import FORMAT, Change, Estimate, Phase, Plan, PlanScope
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Rollout

BEGAN = 1_767_225_600.0
OLD = {"image_id": "4c1832fa-c9e7-496d-af9c-bed944e52a93"}
NEW = {"image_id": "aea35d44-9443-4048-a94e-f5fadc394935"}
LEASE = Lease(True, LeaseType.IDLE, 1_767_220_000_000, 28_800_000, 1_767_220_000_000)
LEFT = 23_200_000
REQUESTS = 7
EVENTS = 12


def waits(event: ChangeEvent) -> bool:
    """Whether the engine goes on only when the event is on disk."""
    return isinstance(event, Intended)


@cache
def plan(size: int) -> Plan:
    """A sealed plan with `size` changes."""
    return seal(
        Plan(
            format=FORMAT,
            job="benchmark",
            job_type="image-migration",
            select="true",
            created_at=BEGAN,
            engine="benchmark",
            scopes=(PlanScope("lab-a", "cn-north-4", "0" * 32, "https://x", size, "key", "60/min"),),
            rollout=Rollout(),
            changes=tuple(_change(item) for item in range(size)),
            settled=(),
            checks=(),
            estimate=Estimate(1, 1, 1.0),
        )
    )


def _change(item: int) -> Change:
    return Change(
        item=item,
        scope="lab-a",
        id=f"f9937afa-4451-42db-a76b-{item:012d}",
        name=f"vision-train-{item:05d}",
        owner="ana",
        pool="",
        flavor="modelarts.vm.cpu.2u",
        wave=1,
        run_state=Status.RUNNING,
        arriving=False,
        may_restart=True,
        phases=(Phase(When.STOPPED, NEW),),
        before=OLD,
        after=NEW,
        lease=LEASE,
    )


def story(item: int) -> Sequence[ChangeEvent]:
    """The events of the change `item`, in their order."""
    return (
        Began(item, BEGAN),
        _saw(item, 0.1, Status.RUNNING, OLD),
        Intended(item, BEGAN + 0.1, Step.STOP, 1),
        _accepted(item, 0.3, Step.STOP),
        _saw(item, 60.0, Status.STOPPED, OLD),
        Intended(item, BEGAN + 60.0, Step.PUT, 1, NEW),
        _accepted(item, 60.2, Step.PUT),
        _saw(item, 60.3, Status.STOPPED, NEW),
        Intended(item, BEGAN + 60.4, Step.START, 1, {"duration": LEFT, "type": "IDLE"}),
        _accepted(item, 60.6, Step.START),
        _saw(item, 180.2, Status.RUNNING, NEW),
        Ended(item, BEGAN + 180.2, Outcome.CHANGED),
    )


def _accepted(item: int, late: float, step: Step) -> Answered:
    return Answered(item, BEGAN + late, step, Fate.ACCEPTED, status=200, request_id=f"{step}{item:030x}")


def _saw(item: int, late: float, status: Status, values: dict[str, str]) -> Saw:
    sight = Sight(status, values, LEASE, LEFT, int(BEGAN * 1000), word=status.value)
    return Saw(item, BEGAN + late, sight, request_id=f"get{item:029x}")
