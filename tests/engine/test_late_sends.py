"""A write leaves while the look before it is fresh, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from fleet.core.calls import Receipt, Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Answered, Event, Intended, Outcome, Step

pytestmark = pytest.mark.looptime

Making = Callable[..., Any]

LATEST = 5.0  # s from the look to the write


def keep_to_turns(made: Any) -> None:
    """The cloud lets no stop leave after the end of its turn, as the client does."""
    stop = made.cloud.stop

    async def in_time(notebook_id: str, turn: Turn) -> Receipt:
        if made.clock.monotonic() > turn.until:
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


async def test_a_write_that_is_late_but_not_too_late_leaves(bench: Making) -> None:
    made = bench()
    keep_to_turns(made)
    stall(made, LATEST - 1.5)  # a commit takes another second
    await made.run()
    words = made.log.words("look", "committed", "send")
    assert words[1:4] == ["look nb-0", "committed intended stop", "send stop nb-0"]
