"""A save before the stop in a real run: its intent and its proof come first, and it is sent once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fleet.core.calls import Rank, Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Event, Held, Outcome, Saw
from fleet.core.fold import fold
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase
from fleet.core.planning.plan_file import seal
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]

SAVE, NAME = "lab/before-nb-0", "before-nb-0"


@pytest.fixture
def saving(bench: Making) -> Making:
    """A bench whose only change is saved first."""

    def make(**rollout: Any) -> Any:
        made = bench(**rollout)
        made.plan = seal(replace(made.plan, changes=(replace(made.plan.changes[0], save=SAVE),)))
        return made

    return make


async def taken_up(made: Any, events: list[Event]) -> None:
    """A new process goes on where the journal ends with `events`."""
    earlier = fold(made.plan, events).earlier()
    made.recorder.events[:] = events
    made.log.entries.clear()
    made.control = Control()
    clouds, polls = {"lab-a": made.cloud}, {"lab-a": 20.0}
    await run_plan(made.plan, "run", clouds, made.tape, made.clock, made.control, polls, earlier)


def sends(made: Any) -> list[str]:
    return [word.split()[1] for word in made.log.words("send")]


async def test_asking_for_images_is_no_trouble_for_the_breaker(bench: Making) -> None:
    made = bench(12, concurrency=12)
    changes = (replace(change, save=f"lab/before-{change.id}") for change in made.plan.changes)
    made.plan = seal(replace(made.plan, changes=tuple(changes)))
    await made.run()
    assert made.outcomes == [Outcome.CHANGED] * 12
    assert [event for event in made.recorder.events if isinstance(event, Held)] == []
    asked = [event for event in made.recorder.events if isinstance(event, Saw) and event.sends > 1]
    assert len(asked) >= 12
    assert not any(event.repeats for event in asked)


async def test_the_image_is_there_before_the_stop_is_sent(saving: Making) -> None:
    made = saving()
    await made.run()
    words = made.log.words("committed", "send", "image")
    assert words[1:6] == [
        "committed intended save",
        "send save nb-0",
        f"image {SAVE}",
        "committed intended stop",
        "send stop nb-0",
    ]
    assert made.outcomes == [Outcome.CHANGED]
    assert made.ended[0].reason == f"its environment was saved as {SAVE}"
    (row,) = fold(made.plan, made.recorder.events).rows()
    assert (row.calls.save, row.calls.stop, row.reason) == (1, 1, made.ended[0].reason)
    assert row.calls.get == made.log.count("look") + made.log.count("image")


async def test_an_image_is_asked_for_only_once_the_notebook_runs_again(saving: Making) -> None:
    made = saving()
    await made.run()
    (asked,), (saved,) = made.at("image"), made.at("send save")
    assert asked - saved >= 240.0
    assert made.cloud.calls["images"] == 1


async def test_a_refused_save_leaves_the_notebook_running(saving: Making, call_error: Failing) -> None:
    made = saving()
    made.cloud.refuse["save"] = [call_error(Meaning.FORBIDDEN, "ModelArts.0112")]
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])
    assert made.ended[0].reason == (
        "the environment could not be saved: refused: ModelArts.0112 it was forbidden; nothing was stopped"
    )


async def test_a_save_without_an_answer_and_without_an_image_is_never_sent_again(
    saving: Making, call_error: Failing
) -> None:
    made = saving()
    made.cloud.refuse["save"] = [call_error(Meaning.LOST)]
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])
    assert made.log.count("image") == 3


async def test_an_image_that_may_not_be_seen_proves_nothing(saving: Making, call_error: Failing) -> None:
    made = saving()
    made.cloud.refuse["image"] = [call_error(Meaning.FORBIDDEN)]
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])
    assert "the image is not shown: forbidden: it was forbidden" in made.ended[0].reason


async def test_an_image_that_could_not_be_asked_for_is_asked_for_again(
    saving: Making, call_error: Failing
) -> None:
    made = saving()
    made.cloud.refuse["image"] = [call_error(Meaning.UNREACHABLE)] * 3
    await made.run()
    assert (made.outcomes, made.log.count("image")) == ([Outcome.CHANGED], 4)


async def test_a_save_that_takes_longer_than_the_change_may_fails_with_nothing_stopped(
    saving: Making,
) -> None:
    made = saving(change_deadline=100.0)
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])
    assert "could not be saved: its time was up in stage: saving; nothing" in made.ended[0].reason


@pytest.mark.parametrize("image", ["CREATE_FAILED", "ERROR", ""])
async def test_a_notebook_that_runs_again_without_a_usable_image_is_not_stopped(
    saving: Making, image: str
) -> None:
    made = saving()

    def spoil() -> None:
        made.cloud.images[NAME] = image

    await made.run_while((100.0, spoil))
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])


async def test_a_throttled_save_is_sent_once_it_is_let_through(saving: Making, call_error: Failing) -> None:
    made = saving()
    made.cloud.refuse["save"] = [call_error(Meaning.THROTTLED)]
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.CHANGED], ["save", "save", "stop", "put", "start"])


async def test_an_image_that_an_earlier_run_of_the_same_plan_left_proves_nothing(
    saving: Making, call_error: Failing
) -> None:
    made = saving()
    made.cloud.images[NAME], made.cloud.made_at = "ACTIVE", -1000.0
    made.cloud.refuse["save"] = [call_error(Meaning.LOST)]
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.FAILED], ["save"])


async def test_a_save_whose_turn_comes_long_after_the_look_is_looked_at_again_before_it_leaves(
    saving: Making, call_error: Failing
) -> None:
    """Another write went first, so that the save waits for a turn of its own; meanwhile somebody stops it."""
    made = saving()
    (change,) = made.plan.changes
    name = Phase(When.RUNNING, {"description": "new"})
    change = replace(change, phases=(name, *change.phases), before={"description": "", **change.before})
    change = replace(change, after={"description": "new", **change.after})
    made.plan = seal(replace(made.plan, changes=(change,)))
    turn = made.cloud.turn

    async def crowded(rank: Rank) -> Turn:
        if made.log.count("send"):
            await anyio.sleep(60.0)
            made.cloud.move("nb-0", Status.STOPPED, 0.0, Status.STOPPED)
        given: Turn = await turn(rank)
        return given

    made.cloud.turn = crowded
    await made.run()
    assert (made.outcomes, sends(made)) == ([Outcome.DRIFTED], ["put"])


# --- killed and taken up ---------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(4, 244, 20))
async def test_a_process_that_dies_between_save_and_stop_is_followed_by_one_that_saves_nothing(
    saving: Making, after: int
) -> None:
    """The cloud stays as it was at the death; the rest of the first run is undone."""
    made = saving()
    snap: dict[str, Any] = {}

    def die() -> None:
        snap["events"] = list(made.recorder.events)
        snap["cloud"] = (dict(made.cloud.notebooks), dict(made.cloud.due), dict(made.cloud.images))
        snap["at"] = made.clock.monotonic()

    await made.run_while((float(after), die))
    notebooks, due, images = snap["cloud"]
    shift = made.clock.monotonic() - snap["at"]
    made.cloud.notebooks, made.cloud.images = notebooks, images
    made.cloud.due = {key: (at + shift, status) for key, (at, status) in due.items()}
    await taken_up(made, snap["events"])
    assert made.outcomes == [Outcome.CHANGED]
    assert sends(made)[0] == "stop"
    assert made.ended[0].reason == f"its environment was saved as {SAVE}"


async def test_the_stop_is_not_sent_on_a_look_that_grew_old_while_the_image_was_asked_for(
    saving: Making,
) -> None:
    made = saving()
    saved = made.cloud.saved

    async def slowly(*words: Any) -> Any:
        await anyio.sleep(30.0)
        return await saved(*words)

    made.cloud.saved = slowly
    await made.run()
    (stopped,) = made.at("send stop")
    assert stopped - max(look for look in made.at("look nb-0") if look <= stopped) <= 5.0
    assert made.outcomes == [Outcome.CHANGED]
