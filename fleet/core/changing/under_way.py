"""Which changes are under way, at which step, since when and until when: from events only.

So that the question can be answered from the journal, of a run that goes on as of one that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.changing.change import Write, advance, decide
from fleet.core.changing.life import Life, Stage
from fleet.core.events import Began, ChangeEvent, Ended, Event, Late, Reopened, RunResumed, RunStarted
from fleet.core.planning.plan import Change, Plan


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A change that has begun and not ended. Instants are wall seconds.

    `step` is what it does or waits for, `since` when. At the `deadline` it gives up and goes home, or ends if
    it is on its way home already; None when no process works on it. `debt`: stopped by us and not back.
    """

    change: Change
    step: str
    since: float
    deadline: float | None
    debt: bool


@dataclass(slots=True)
class _Place:
    life: Life
    since: float
    deadline: float | None


class Roll:
    """The changes of `plan` that are under way after the events that were applied, in the journal's order."""

    def __init__(self, plan: Plan) -> None:
        self._changes = {change.item: change for change in plan.changes}
        self._patience = plan.rollout.change_deadline
        self._lives: dict[int, Life] = {}
        self._places: dict[int, _Place] = {}

    def apply(self, event: Event) -> None:
        """Takes in the next event; one about a change that is not in the plan counts for nothing."""
        if isinstance(event, RunStarted | RunResumed):
            for place in self._places.values():
                place.deadline = None  # whoever was to keep it is dead
        elif isinstance(event, ChangeEvent) and event.item in self._changes:
            self._follow(event)

    def _follow(self, event: ChangeEvent) -> None:
        item = event.item
        life = advance(self._lives.get(item) or Life.begin(self._changes[item]), event)
        self._lives[item] = life
        if isinstance(event, Ended):
            self._places.pop(item, None)
            return
        place = self._places.setdefault(item, _Place(life, event.at, None))
        if place.life.stage is not life.stage or isinstance(event, Reopened):
            place.since = event.at
        if isinstance(event, Began | Reopened | Late):
            place.deadline = event.at + self._patience
        place.life = life

    def under_way(self) -> tuple[UnderWay, ...]:
        """Those that wait longest first."""
        places = sorted(self._places.values(), key=lambda place: place.since)
        return tuple(
            UnderWay(one.life.change, _step(one.life), one.since, one.deadline, one.life.debt)
            for one in places
        )


def _step(life: Life) -> str:
    """What the change does, in the words of its stages; for one that may go on, the write that comes next."""
    move = decide(life)
    return f"{move.step} next" if life.stage is Stage.READY and isinstance(move, Write) else life.stage.value
