"""Setting the rate of a gate while requests wait at it, in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.client.clock import Clock
from fleet.client.gate import Gate
from fleet.core.calls import Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.pacing.limits import Limit, Rate
from fleet.core.pacing.pace import HEADROOM, Pace
from tests.virtual import IN_MEMORY

SLOW, FAST = Rate(1, 60.0), Rate(10, 1.0)


class Watched:
    """A gate, and when requests left through it."""

    def __init__(self, rate: Rate) -> None:
        self.now = asyncio.get_running_loop().time
        self.gate = Gate("key", Pace(rate), Clock(self.now, self.now), on_slowed=lambda _: None)
        self.left: list[float] = []

    async def read(self) -> None:
        await self.gate.pass_()
        await self._leave()

    async def write(self) -> None:
        await self.gate.pass_turn(await self.gate.turn())
        await self._leave()

    async def _leave(self) -> None:
        while (left := self.gate.go()) is None:
            await self.gate.clear()
        self.left.append(left)
        self.gate.leave()

    async def all(self, count: int, kind: str, *sets: tuple[float, Rate]) -> None:
        """So many requests at once, and rates set so many seconds later."""

        async def later(seconds: float, rate: Rate) -> None:
            await anyio.sleep(seconds)
            self.gate.set_rate(rate)

        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(self.read if kind == "read" else self.write)
            for seconds, rate in sets:
                group.start_soon(later, seconds, rate)


@IN_MEMORY
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_raised_rate_lets_those_who_wait_go_at_once(kind: str) -> None:
    watched = Watched(SLOW)
    await watched.all(20, kind, (90.0, FAST))
    assert len([at for at in watched.left if at < 90.0]) == 2
    assert watched.left[2] < 90.3
    assert watched.left[-1] < 93.0


@IN_MEMORY
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_lowered_rate_holds_from_that_instant_on(kind: str) -> None:
    watched = Watched(FAST)
    await watched.all(40, kind, (2.0, SLOW))
    later = [at for at in watched.left if at > 2.0]
    assert len(later) >= 19
    assert all(after - before >= 60.0 for before, after in pairwise(later))
    assert later[0] >= watched.left[-len(later) - 1] + 60.0


@IN_MEMORY
async def test_a_raised_rate_stays_under_what_the_cloud_taught() -> None:
    watched = Watched(SLOW)
    refusal = CallError(Meaning.THROTTLED, "", limit=Limit("user", 30, 60.0))
    await watched.read()
    await watched.gate.pass_turn(Turn(watched.now()))
    watched.gate.heard(watched.left[-1], refusal)
    await watched.all(100, "read", (1.0, Rate(1000, 1.0)))
    pairs = zip(watched.left, watched.left[30:], strict=False)
    assert all(after - before >= 60.0 for before, after in pairs)
    assert {(limit.count, limit.window) for limit in watched.gate.limits} == {(1000, 1.0), (30, 60.0)}


@IN_MEMORY
async def test_setting_the_same_rate_again_costs_nobody_his_place() -> None:
    watched = Watched(SLOW)
    await watched.all(3, "read", *((float(second), SLOW) for second in range(1, 60)))
    assert watched.left[-1] == pytest.approx(2 * 60.0 * (1 + HEADROOM), abs=0.5)


rates = st.builds(Rate, st.integers(1, 50), st.sampled_from([1.0, 10.0, 60.0]))


@given(st.lists(st.tuples(st.floats(0.0, 30.0), rates), min_size=1, max_size=12), st.integers(1, 60))
def test_no_window_of_the_rate_that_holds_is_ever_broken(sets: list[tuple[float, Rate]], sends: int) -> None:
    """Whatever was sent under other rates counts, however often the rate is set."""
    now, sent = 0.0, []
    pace = Pace(Rate(10, 1.0))
    for pause, rate in sets:
        now += pause
        pace.set_rate(rate, now)
        for _ in range(sends):
            now = max(pace.reserve(now), pace.clear_at(now))
            now = pace.clear_at(now)
            pace.sent(now)
            sent.append(now)
            recent = [at for at in sent if at > now - rate.window]
            assert len(recent) <= rate.count
