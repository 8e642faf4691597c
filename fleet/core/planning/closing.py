"""Which changes cannot succeed any more after a refusal that is not about one notebook alone.

A flavor that is sold out, or a quota that is used up, concerns every change that is to run on that flavor in
the scope; arrears concern the whole scope. The first sign is enough: the next notebook must not be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import Answered, ChangeEvent, Saw, Step
from fleet.core.notebook import Status
from fleet.core.planning.plan import Change


@dataclass(frozen=True, slots=True)
class Group:
    """The changes of a scope that end up on one flavor; all of the scope without one."""

    scope: str
    flavor: str = ""

    def __str__(self) -> str:
        return f"flavor {self.flavor} in {self.scope}" if self.flavor else f"scope {self.scope}"


def groups_of(change: Change) -> tuple[Group, Group]:
    """The groups that a change belongs to: by the flavor that the notebook will have, and its scope."""
    return _of_flavor(change), _of_scope(change)


def _of_flavor(change: Change) -> Group:
    return Group(change.scope, str(change.after.get("flavor", change.flavor)))


def _of_scope(change: Change) -> Group:
    return Group(change.scope)


def closed_by(event: ChangeEvent, change: Change, *, sent: bool) -> tuple[Group, Meaning] | None:
    """The group that takes no more changes after `event` of `change`, and why; None for any other event.

    A notebook that is seen FROZEN is a sign only once something was `sent`: before, it may be its own affair.
    """
    match event:
        case Answered(meaning=Meaning.FROZEN):
            return _of_scope(change), Meaning.FROZEN
        case Saw(sight=Sight(status=Status.FROZEN)) if sent:
            return _of_scope(change), Meaning.FROZEN
        case Answered(step=Step.PUT | Step.START, meaning=Meaning.SOLD_OUT | Meaning.QUOTA as meaning):
            return _of_flavor(change), meaning
        case _:
            return None
