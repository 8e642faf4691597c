"""Death at every single write to the journal of a small run, and then a process that goes on.

Whatever moment it was, the fleet must end as after a run that nothing disturbed, by the very same writes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from fleet.core.events import Answered, Event, Intended, Outcome, Step
from fleet.simulator.audit import snapshot
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook
from tests.storms.brew import Storm, wall
from tests.storms.process import Journal
from tests.storms.promises import broken_by_death, complaints, writes
from tests.storms.storm import in_virtual_time, interfere, plan, process
from tests.storms.trio import OTHER, image_id, one_goes_first, order, saves_first, trio

pytestmark = pytest.mark.long

Write = tuple[str, Any]
Act = tuple[str, str, Mapping[str, Any]]

DEATHS_IN_A_ROW = 3
PAIRS = 2  # second deaths for each first one


@dataclass(frozen=True)
class Cut:
    """A death at this write to the journal: all up to it survives, or nothing after the last commit."""

    at: int
    survives: bool

    def __str__(self) -> str:
        return f"death at write {self.at}, {'kept' if self.survives else 'lost'}"


async def ready() -> Storm:
    storm = trio()
    await plan(storm, order(storm))
    return storm


async def ready_to_save() -> Storm:
    storm = trio()
    await plan(storm, saves_first(storm))
    return storm


async def ready_to_fail() -> Storm:
    """No PUT will be applied, and one notebook goes first."""
    storm = trio("- {kind: server-error, match: {operation: UpdateNotebook}, applied: false}")
    await plan(storm, one_goes_first(storm))
    return storm


async def die(storm: Storm, cut: Cut) -> bool:
    """Lets one process die so; returns False when it came to its end before."""
    return not await process(storm, Journal(storm.events, cut.at, cut.survives))


async def finish(storm: Storm) -> int:
    """Lets one process go on to the end; returns how often it wrote to the journal."""
    journal = Journal(storm.events)
    assert await process(storm, journal)
    storm.after = snapshot(storm.cloud, wall())
    return journal.writes


async def story(cuts: Sequence[Cut], ready: Callable[[], Awaitable[Storm]] = ready) -> tuple[Storm, int]:
    """As many processes as there are cuts, and one more that lives; with that one's writes to its journal."""
    storm = await ready()
    for cut in cuts:
        assert await die(storm, cut)
    return storm, await finish(storm)


@pytest.fixture(scope="module")
def unbroken() -> Storm:
    return in_virtual_time(story([]))[0]


def told(storm: Storm, unbroken: Storm, *cuts: Cut) -> Iterator[str]:
    """What is wrong with the end of a story."""
    for complaint in (*complaints(storm), *broken_by_death(storm, unbroken)):
        yield f"{'; '.join(map(str, cuts))}: {complaint}"


def first_cuts(survives: bool, ready: Callable[[], Awaitable[Storm]] = ready) -> list[Cut]:
    """One for every write of the unbroken run."""
    writes_to_journal = in_virtual_time(story([], ready))[1]
    return [Cut(at, survives) for at in range(1, writes_to_journal + 1)]


@pytest.mark.parametrize("survives", [True, False])
def test_a_death_at_any_write_leaves_no_trace_after_resume(unbroken: Storm, survives: bool) -> None:
    broken: list[str] = []
    for cut in first_cuts(survives):
        storm, _ = in_virtual_time(story([cut]))
        broken += told(storm, unbroken, cut)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("survives", [True, False])
def test_a_second_death_while_it_goes_on_leaves_no_trace_either(unbroken: Storm, survives: bool) -> None:
    draw = Random(f"pairs/{survives}")
    broken: list[str] = []
    for first in first_cuts(survives):
        for second in in_virtual_time(second_cuts(first, draw)):
            storm, _ = in_virtual_time(story([first, second]))
            broken += told(storm, unbroken, first, second)
    assert not broken, "\n".join(broken)


async def second_cuts(first: Cut, draw: Random) -> list[Cut]:
    """Some of the deaths that the process after `first` can die."""
    _, last = await story([first])
    every = [Cut(at, survives) for at in range(1, last + 1) for survives in (True, False)]
    return draw.sample(every, min(PAIRS, len(every)))


def test_a_write_that_never_left_is_sent_however_often_we_died_before_it(unbroken: Storm) -> None:
    broken: list[str] = []
    for step, item in intents(unbroken.events):
        cuts: list[Cut] = []
        while len(cuts) < DEATHS_IN_A_ROW:
            storm, last = in_virtual_time(story(cuts))
            cuts.append(Cut(place(storm.events[-last:], step, item), survives=True))
        storm, _ = in_virtual_time(story(cuts))
        broken += told(storm, unbroken, *cuts)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("survives", [True, False])
def test_a_first_wave_that_failed_holds_back_the_rest_wherever_we_died(survives: bool) -> None:
    broken: list[str] = []
    for cut in first_cuts(survives, ready_to_fail):
        storm, _ = in_virtual_time(story([cut], ready_to_fail))
        broken += [f"{cut}: {complaint}" for complaint in complaints(storm)]
        ends = Counter(row.outcome for row in storm.state.rows())
        if ends != {Outcome.FAILED: 1, Outcome.NOT_STARTED: 2}:
            broken.append(f"{cut}: ended {dict(ends)}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("survives", [True, False])
def test_nothing_is_stopped_unsaved_and_nothing_is_saved_twice_wherever_we_died(survives: bool) -> None:
    """Whose save may have left and made no image fails; all others end as after a run nothing disturbed."""
    unbroken = in_virtual_time(story([], ready_to_save))[0]
    broken: list[str] = []
    failed = 0
    for cut in first_cuts(survives, ready_to_save):
        storm, _ = in_virtual_time(story([cut], ready_to_save))
        broken += [f"{cut}: {complaint}" for complaint in complaints(storm)]
        for row in storm.state.rows():
            sent = [operation for operation, _ in writes(storm, row.id)]
            if row.outcome is Outcome.CHANGED and sent == [one for one, _ in writes(unbroken, row.id)]:
                continue
            failed += 1
            if row.outcome is not Outcome.FAILED or "StopNotebook" in sent or "CreateImage" in sent:
                broken.append(f"{cut}: {row.id} is {row.outcome} ({row.reason}), got {sent}")
    assert not broken, "\n".join(broken)
    assert failed == (2 if survives else 0)  # those whose intent was on disk and whose save was never sent


def intents(events: Sequence[Event]) -> list[tuple[Step, int]]:
    """The writes that the events announce, each with its notebook's row in the plan."""
    return [(event.step, event.item) for event in events if isinstance(event, Intended)]


def place(events: Sequence[Event], step: Step, item: int) -> int:
    """Where among the events (from 1) this write is first announced."""
    return next(
        number
        for number, event in enumerate(events, start=1)
        if isinstance(event, Intended) and (event.step, event.item) == (step, item)
    )


@pytest.mark.parametrize("survives", [True, False])
def test_what_others_did_while_nobody_ran_is_theirs(survives: bool) -> None:
    broken: list[str] = []
    acts = 0
    for cut in first_cuts(survives):
        storm, sent_before = in_virtual_time(with_others_between(cut))
        acts += len(sent_before)
        for row in storm.state.rows():
            before, sent = sent_before.get(row.id), writes(storm, row.id)
            if before is not None and (row.outcome is not Outcome.DRIFTED or sent != before):
                broken.append(f"{cut}: {row.id} is {row.outcome} ({row.reason}), got {sent}")
    assert not broken, "\n".join(broken)
    assert acts >= 3


async def with_others_between(cut: Cut) -> tuple[Storm, dict[str, list[Write]]]:
    """A death, then somebody who acts on some notebooks, then a process that goes on.

    With the storm comes what we had sent to those notebooks by then.
    """
    storm = await ready()
    await die(storm, cut)
    assert storm.plan is not None
    await asyncio.sleep(120.0)
    sent: dict[str, list[Write]] = {}
    for change in storm.plan.changes:
        row, ours = storm.cloud.world.notebooks[change.id], writes(storm, change.id)
        storm.cloud.settle(wall())
        act = act_of_somebody(storm, row, steps(storm.events, change.item), ours)
        if act is not None:
            sent[row.id] = ours
            assert interfere(storm, row, *act) == 200
    await asyncio.sleep(120.0)
    await finish(storm)
    return storm, sent


def act_of_somebody(
    storm: Storm, row: Notebook, announced: Sequence[Step | None], ours: Sequence[Write]
) -> Act | None:
    """What somebody does to a notebook that makes it theirs, as far as the journal can know of it.

    One that we have not touched is taken in hand. One that we may have stopped, or did, is used again.
    """
    running = row.status is Status.RUNNING
    if not announced and not ours:
        other = {"image_id": image_id(storm, OTHER)}
        return ("POST", "/stop", {}) if running else ("PUT", "", other)
    if announced[-2:] == [Step.STOP, None]:
        return ("PUT", "", {"name": "mine"}) if running else ("POST", "/start", {})
    return None


def steps(events: Sequence[Event], item: int) -> list[Step | None]:
    """The writes to one notebook as the journal has them; None at the end when that one is not answered."""
    found: list[Step | None] = []
    answered = True
    for event in events:
        if isinstance(event, Intended) and event.item == item:
            found.append(event.step)
            answered = False
        elif isinstance(event, Answered) and event.item == item:
            answered = True
    return found if answered else [*found, None]
