"""Who attends the waiting room of a run: whoever looks at notebooks, and whoever speaks with their owners."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fleet.core.errors import CallError
from fleet.core.planning.plan import Plan
from fleet.core.scheduling.readiness import is_careful
from fleet.core.scheduling.timing import Memory, Moment
from fleet.engine.control import Control
from fleet.engine.ports import Activity, Clock, Cloud, Herald
from fleet.engine.readiness import WaitingRoom
from fleet.engine.readiness_looks import Looker
from fleet.engine.readiness_notices import Notices
from fleet.engine.tape import Tape


@dataclass(frozen=True, slots=True)
class People:
    """The way to the owners of notebooks, and by scope what knows who uses his."""

    herald: Herald | None = None
    activity: Mapping[str, Activity] = field(default_factory=dict)


NOBODY = People()


def attendants(
    run: str,
    plan: Plan,
    room: WaitingRoom,
    memory: Memory,
    clouds: Mapping[str, Cloud],
    poll: Mapping[str, float],
    people: People,
    tape: Tape,
    clock: Clock,
    control: Control,
    polled: Callable[[str, CallError | None], None],
    trouble: Callable[[Exception], None],
) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
    """What has to run beside a run of `plan`, which may hold running notebooks dear, until it is over."""
    rollout = plan.rollout
    if not is_careful(rollout):
        return
    if rollout.when is not Moment.NOW:
        for scope, cloud in clouds.items():
            looker = Looker(
                scope,
                room,
                cloud,
                clock,
                control,
                poll[scope],
                partial(polled, scope),
                trouble,
                people.activity.get(scope) if rollout.when is Moment.IDLE else None,
            )
            room.watchers.append(looker)
            yield looker.run
    if rollout.notice is not None and people.herald is not None:
        notices = Notices(run, plan, rollout.notice, memory, room, people.herald, tape, clock, trouble)
        room.watchers.append(notices)
        yield notices.run
