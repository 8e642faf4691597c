"""A lease that somebody sets while our renewal waits for its turn stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from fleet.core.calls import Rank, Receipt, Turn
from fleet.core.events import Outcome
from fleet.core.notebook import Lease
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]

HOUR_MS = 3_600_000
LATEST = 5.0  # s from the look to the write


def start_for_an_hour(made: Any) -> None:
    """The cloud gives every start its default lease, whatever was asked for."""
    start = made.cloud.start

    async def short(notebook_id: str, query: dict[str, Any], turn: Turn) -> Receipt:
        receipt: Receipt = await start(notebook_id, {**query, "duration": HOUR_MS}, turn)
        return receipt

    made.cloud.start = short


def queue_after_the_start(made: Any, seconds: float, then: Callable[[], object] = lambda: None) -> None:
    """Once it was started, a turn takes so long; `then` something happens."""
    turn = made.cloud.turn

    async def crowded(rank: Rank) -> Turn:
        if "send start nb-0" in made.log.words():
            await anyio.sleep(seconds)
            then()
        given: Turn = await turn(rank)
        return given

    made.cloud.turn = crowded


async def test_a_renewal_whose_turn_comes_long_after_the_look_is_looked_at_again(bench: Making) -> None:
    made = bench(change_deadline=1e7)
    start_for_an_hour(made)
    queue_after_the_start(made, LATEST + 1.0)
    await made.run()
    words = made.log.words("look", "turn", "send")
    renewal = words.index("send lease nb-0")
    assert words[renewal - 2 : renewal] == ["turn", "look nb-0"]
    assert made.outcomes == [Outcome.CHANGED]


@pytest.mark.row(38)
@pytest.mark.parametrize("hours", [2, 10])
async def test_a_lease_that_somebody_sets_while_our_renewal_waits_for_its_turn_stays(
    bench: Making, hours: int
) -> None:
    made = bench(change_deadline=1e7)
    start_for_an_hour(made)

    def grant() -> None:
        row = made.cloud.notebooks["nb-0"]
        at = row.lease.create_at + 200_000
        theirs = Lease(enable=True, create_at=at, duration=hours * HOUR_MS, update_at=at)
        made.cloud.notebooks["nb-0"] = replace(row, lease=theirs)

    queue_after_the_start(made, 60.0, grant)
    await made.run()
    assert made.at("send lease") == []
    assert made.cloud.read("nb-0").lease.duration == hours * HOUR_MS
    assert made.outcomes == [Outcome.CHANGED]
