"""Pays a debt by hand: starts or stops one notebook and waits until it is there.

A notebook that a live run works on is left to that run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio

from fleet.client.api import ModelArts
from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.core.errors import CallError, Exit, FleetError, GuardError, Meaning
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import require_uuid
from fleet.core.scope import ScopeSpec
from fleet.journal.claims import holder
from fleet.service.owing import claim_key, named

PATIENCE = 1800.0  # s
MOST_DOUBTS = 3  # calls in a row of which nobody knows whether they were applied

Tell = Callable[[str], None]


class NotBrought(FleetError):
    """Something was sent, and the notebook is not where it should be."""

    exit = Exit.SOME_FAILED


async def bring_running(
    spec: ScopeSpec, notebook_id: str, lease: Mapping[str, object], clock: Clock, claims: Path, tell: Tell
) -> Notebook:
    """Starts a notebook with that lease (Start API: duration in ms, type) unless it runs already.

    `tell` hears what is waited for. Raises GuardError when a live run claims the notebook in the file
    `claims`, NotBrought when it ends elsewhere, CallError when the cloud refuses.
    """
    return await _bring(_Errand(spec, notebook_id, Status.RUNNING, lease, claims, tell), clock)


async def bring_stopped(
    spec: ScopeSpec, notebook_id: str, clock: Clock, claims: Path, tell: Tell
) -> Notebook:
    """Stops a notebook unless it is stopped already. Arguments and errors as of `bring_running`."""
    return await _bring(_Errand(spec, notebook_id, Status.STOPPED, {}, claims, tell), clock)


@dataclass(frozen=True, slots=True)
class _Errand:
    """Which notebook is to get where."""

    spec: ScopeSpec
    key: str
    goal: Status
    lease: Mapping[str, object]
    claims: Path
    tell: Tell


@dataclass(slots=True)
class _Course:
    """What is known so far. `trouble` is why the last call has to be made again; empty when it has not."""

    found: Notebook
    sent: bool = False
    trouble: str = ""
    doubts: int = 0
    went: bool = False  # towards the goal, since the cloud took our call
    told: str = ""

    def taken(self) -> None:
        self.sent, self.trouble = True, ""

    def failed(self, error: CallError) -> None:
        """Takes in a call that may be made again after a look. Raises `error` when it may not."""
        if not error.in_doubt and error.meaning is not Meaning.BUSY:
            raise error
        self.sent, self.trouble = True, str(error) if error.in_doubt else "the cloud is busy with it"
        self.doubts = self.doubts + 1 if error.in_doubt else 0

    def saw(self, found: Notebook, goal: Status) -> None:
        self.found = found
        self.went |= self.sent and not self.trouble and found.status.heading is goal

    def over(self, goal: Status) -> bool:
        """Whether nothing is left to wait for: it is there, or rests elsewhere and no call of ours helps."""
        status = self.found.status
        if status is goal or status.heading is not None:
            return status is goal
        helpless = self.sent and status not in (Status.RUNNING, Status.STOPPED)
        return helpless or self.went or self.doubts >= MOST_DOUBTS

    @property
    def due(self) -> bool:
        """Whether to send. A notebook on its way refuses every call; one that took ours needs no other."""
        return self.found.status.heading is None and (not self.sent or self.trouble != "")

    @property
    def where(self) -> str:
        return self.found.status_word or self.found.status.value

    def news(self) -> str:
        """What is waited for; empty when that was told already."""
        why = f", {self.trouble}" if self.trouble and self.found.status.heading is None else ""
        text = f"waiting: it is {self.where}{why}"
        if text == self.told:
            return ""
        self.told = text
        return text


async def _bring(errand: _Errand, clock: Clock) -> Notebook:
    require_uuid("notebook", errand.key)
    _require_unclaimed(errand)
    async with connect([errand.spec], monotonic=clock.monotonic, wall=clock.wall) as clouds:
        cloud = clouds[errand.spec.name]
        course = _Course((await cloud.look(errand.key)).notebook)
        with anyio.move_on_after(PATIENCE):
            while not course.over(errand.goal):
                await _advance(cloud, errand, course)
    found = course.found
    if found.status is not errand.goal:
        why = found.fail_reason or course.trouble
        place = f"{found.name or errand.key} is {course.where}, not {errand.goal}"
        raise NotBrought(f"{place}: {why}" if why else place)
    return found


async def _advance(cloud: ModelArts, errand: _Errand, course: _Course) -> None:
    """Sends once if that is due, waits, and looks."""
    due = course.due
    if due:
        _require_unclaimed(errand)
        await _send(cloud, errand, course)
    if (course.trouble or not due) and (news := course.news()):
        errand.tell(news)
    await anyio.sleep(cloud.spec.poll)
    course.saw((await cloud.look(errand.key)).notebook, errand.goal)


async def _send(cloud: ModelArts, errand: _Errand, course: _Course) -> None:
    turn = await cloud.turn()
    try:
        if errand.goal is Status.RUNNING:
            await cloud.start(errand.key, errand.lease, turn)
        else:
            await cloud.stop(errand.key, turn)
    except CallError as error:
        course.failed(error)
    else:
        course.taken()


def _require_unclaimed(errand: _Errand) -> None:
    folder = holder(errand.claims, claim_key(errand.spec, errand.key))
    if folder is not None:
        raise GuardError(
            f"{errand.key}: run {folder.name} is working on it; wait for its end, or end it with: "
            f"fleet cancel {named(folder)}"
        )
