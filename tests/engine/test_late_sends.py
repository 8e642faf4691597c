"""A write leaves while the look before it is fresh, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from fleet.core.calls import Rank, Receipt, Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Answered, Event, Intended, Outcome, RunEnd, Step
from fleet.core.notebook import Image
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]

LATEST = 5.0  # s from the look to the write


def keep_to_turns(made: Any) -> None:
    """The cloud lets no stop leave after the end of its turn, as the client does."""
    stop = made.cloud.stop

    async def in_time(notebook_id: str, turn: Turn) -> Receipt:
        if made.clock.boottime() > turn.until:
            raise CallError(Meaning.THROTTLED, "its turn passed", sends=0)
        receipt: Receipt = await stop(notebook_id, turn)
        return receipt

    made.cloud.stop = in_time


def stall(made: Any, seconds: float) -> None:
    """The first intent takes so much longer to reach the disk."""
    commit = made.recorder.commit
    stalls = [seconds]

    async def slow(event: Event) -> None:
        if isinstance(event, Intended) and stalls:
            await anyio.sleep(stalls.pop())
        await commit(event)

    made.recorder.commit = slow


@pytest.mark.row(68)
@pytest.mark.parametrize("seconds", [LATEST, 60.0, 1e6])
async def test_a_write_whose_intent_took_too_long_to_reach_the_disk_is_not_sent_but_looked_at_again(
    bench: Making, seconds: float
) -> None:
    made = bench(change_deadline=1e7)
    keep_to_turns(made)
    stall(made, seconds)
    await made.run()
    words = made.log.words("look", "committed", "send")
    assert words[1 : words.index("send stop nb-0") + 1] == [
        "look nb-0",
        "committed intended stop",
        "look nb-0",
        "committed intended stop",
        "send stop nb-0",
    ]
    _, second_look, *_ = made.at("look nb-0")
    (sent,) = made.at("send stop nb-0")
    assert sent - second_look <= LATEST
    held_back = next(event for event in made.recorder.events if isinstance(event, Answered))
    assert (held_back.step, held_back.sends) == (Step.STOP, 0)
    assert made.outcomes == [Outcome.CHANGED]


@pytest.mark.row(22)
async def test_a_write_that_a_machine_slept_before_is_not_sent_but_looked_at_again_and_no_time_is_up(
    bench: Making,
) -> None:
    made = bench(change_deadline=1800.0, deadline=1800.0)
    keep_to_turns(made)
    commit, naps = made.recorder.commit, [3600.0]

    async def lid_closed(event: Event) -> None:
        await commit(event)
        if isinstance(event, Intended) and naps:
            made.clock.slept += naps.pop()

    made.recorder.commit = lid_closed
    await made.run()
    words = made.log.words("look", "committed", "send")
    assert words[1:6] == [
        "look nb-0",
        "committed intended stop",
        "look nb-0",
        "committed intended stop",
        "send stop nb-0",
    ]
    assert made.outcomes == [Outcome.CHANGED]


def queue(made: Any, rank: Rank, seconds: float, then: Callable[[], object] = lambda: None) -> None:
    """Whoever has this rank waits so long for a turn; `then` something happens."""
    turn = made.cloud.turn

    async def crowded(asked: Rank) -> Turn:
        if asked is rank:
            await anyio.sleep(seconds)
            then()
        given: Turn = await turn(asked)
        return given

    made.cloud.turn = crowded


@pytest.mark.row(38, 54)
@pytest.mark.parametrize("seconds", [LATEST + 1.0, 60.0, 1e5])
async def test_a_put_whose_turn_comes_long_after_the_look_is_looked_at_again_before_it_leaves(
    bench: Making, seconds: float
) -> None:
    made = bench(change_deadline=1e7)
    queue(made, Rank.AWAY, seconds)
    await made.run()
    words = made.log.words("look", "turn", "send")
    put, start = words.index("send put nb-0"), words.index("send start nb-0")
    assert words[put - 3 : put] == ["look nb-0", "turn", "look nb-0"]
    assert words[put + 1 : start] == ["look nb-0", "turn"]  # a debt waits for no look
    (sent,) = made.at("send put nb-0")
    assert sent - max(at for at in made.at("look nb-0") if at < sent) <= LATEST
    assert made.outcomes == [Outcome.CHANGED]


@pytest.mark.row(38, 54)
async def test_what_somebody_sets_while_a_put_waits_for_its_turn_is_not_overwritten(bench: Making) -> None:
    made = bench(change_deadline=1e7)

    def edit() -> None:
        made.cloud.notebooks["nb-0"] = replace(made.cloud.notebooks["nb-0"], image=Image("theirs"))

    queue(made, Rank.AWAY, 60.0, edit)
    await made.run()
    assert made.log.count("send put") == 0
    assert made.log.words("send") == ["send stop nb-0", "send start nb-0"]
    assert (made.outcomes, made.cloud.read("nb-0").image) == ([Outcome.DRIFTED], Image("theirs"))


async def test_a_put_whose_turn_comes_soon_costs_no_look(bench: Making) -> None:
    made = bench()
    queue(made, Rank.AWAY, LATEST - 1.0)
    await made.run()
    words = made.log.words("look", "turn", "send")
    put = words.index("send put nb-0")
    assert words[put - 2 : put] == ["look nb-0", "turn"]


async def test_a_write_that_is_late_but_not_too_late_leaves(bench: Making) -> None:
    made = bench()
    keep_to_turns(made)
    stall(made, LATEST - 1.5)  # a commit takes another second
    await made.run()
    words = made.log.words("look", "committed", "send")
    assert words[1:4] == ["look nb-0", "committed intended stop", "send stop nb-0"]


def keep_to_pauses(made: Any) -> None:
    """The cloud asks right before a stop leaves whether it still may, as the client does."""
    stop = made.cloud.stop

    async def unless_held(notebook_id: str, turn: Turn) -> Receipt:
        if turn.held():
            raise CallError(Meaning.THROTTLED, "held back before it left", sends=0)
        receipt: Receipt = await stop(notebook_id, turn)
        return receipt

    made.cloud.stop = unless_held


def while_the_intent_is_written(made: Any, act: Callable[[], object]) -> None:
    """Somebody acts when the first intent is on its way to the disk."""
    commit = made.recorder.commit
    acts = [act]

    async def interrupted(event: Event) -> None:
        if isinstance(event, Intended) and acts:
            acts.pop()()
        await commit(event)

    made.recorder.commit = interrupted


@pytest.mark.row(66)
async def test_a_pause_holds_a_first_write_whose_intent_is_on_disk_already(bench: Making) -> None:
    made = bench(1)
    keep_to_pauses(made)
    while_the_intent_is_written(made, made.control.pause)
    await made.run_while((500.0, made.control.release))
    (sent,) = made.at("send stop")
    assert sent >= 500.0
    assert max(look for look in made.at("look nb-0") if look <= sent) >= 500.0
    assert made.outcomes == [Outcome.CHANGED]


@pytest.mark.row(66)
async def test_a_cancelled_run_sends_no_first_write_whose_intent_is_on_disk_already(bench: Making) -> None:
    made = bench(1)
    keep_to_pauses(made)
    while_the_intent_is_written(made, lambda: made.control.drain(RunEnd.INTERRUPTED, "cancelled"))
    await made.run()
    assert made.at("send stop") == []
    assert made.outcomes == [Outcome.NOT_STARTED]


async def test_a_pause_keeps_no_notebook_from_coming_home(bench: Making) -> None:
    made = bench(1)
    keep_to_pauses(made)
    stop = made.cloud.stop

    async def then_pause(notebook_id: str, turn: Turn) -> Receipt:
        receipt: Receipt = await stop(notebook_id, turn)
        made.control.pause()
        return receipt

    made.cloud.stop = then_pause
    await made.run_while((5000.0, made.control.release))
    assert made.at("send start")[0] < 5000.0
