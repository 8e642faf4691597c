"""A gate without a rate, in virtual time, before a gateway that counts every arrival strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import anyio
import pytest

from fleet.client.clock import Clock
from fleet.client.gate import Gate
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Slowed
from fleet.core.pacing.limits import Limit as Told
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import MOST_HEADROOM, Pace, parse_limit
from fleet.core.pacing.probing import GROWS_BACK
from fleet.core.pacing.send_log import largest_count
from fleet.simulator.refusals import Refusal
from fleet.simulator.throttle import Caller, Limit, Throttle
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

TEN_A_SECOND = (Limit(policy="user", limit=600, seconds=60), Limit(policy="ip", limit=12, seconds=1))
MINUTE_AND_SECONDS = (Limit(policy="user", limit=100, seconds=60), Limit(policy="ip", limit=5, seconds=5))


class Gateway:
    """A gate, and a server so many seconds away that refuses what is over its limits."""

    def __init__(
        self,
        clock: Clock,
        limits: tuple[Limit, ...],
        *,
        known: tuple[Told, ...] = (),
        rate: Rate | None = None,
        named: bool = True,
        retry_after: float | None = None,
        way: tuple[float, float] = (0.04, 0.042),
    ) -> None:
        self.now = clock.monotonic
        self.told: list[Slowed] = []
        self.learned: list[Told] = []
        self.refused: Counter[str] = Counter()
        self.left: list[float] = []
        self.arrived: list[float] = []
        self.gate = Gate(
            "key",
            Pace(rate, known),
            clock,
            on_slowed=self.told.append,
            on_learned=lambda _, limit: self.learned.append(limit),
            in_flight=64,
        )
        self._throttle = Throttle(limits)
        self._named = named
        self._retry_after = retry_after
        self._random = Random(7)
        self._way = way

    async def send(self) -> None:
        await self.gate.pass_()
        while (sent_at := self.gate.go()) is None:
            await self.gate.clear()
        self.left.append(sent_at)
        await self._travel()
        error = self._answer()
        await self._travel()
        self.gate.heard(sent_at, error)

    async def _travel(self) -> None:
        await anyio.sleep(self._random.uniform(*self._way))

    def _answer(self) -> CallError | None:
        self.arrived.append(self.now())
        try:
            self._throttle.admit(Caller("me", "x", "here", "reads"), self.now())
        except Refusal as refusal:
            limit = parse_limit(refusal.message)
            assert limit is not None
            self.refused[limit.policy] += 1
            return CallError(
                Meaning.THROTTLED,
                refusal.message,
                status=429,
                limit=limit if self._named else None,
                retry_after=self._retry_after,
            )
        return None

    async def hurry(self, requests: int, workers: int = 20) -> None:
        """Sends so many as fast as the gate lets them."""
        left = iter(range(requests))

        async def work() -> None:
            for _ in left:
                await self.send()

        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(work)

    def rate(self, count: int) -> float:
        """Requests/s of the last so many."""
        return (count - 1) / (self.left[-1] - self.left[-count])


Make = Callable[..., Gateway]


@pytest.fixture
def make(loop_clock: Clock) -> Make:
    return lambda *args, **named: Gateway(loop_clock, *args, **named)


@pytest.mark.parametrize(
    ("limits", "allowed", "first", "later"),
    [
        ((Limit(policy="user", limit=60, seconds=60),), 1.0, 200, 300),
        ((Limit(policy="api", limit=2000, seconds=60),), 2000 / 60, 9000, 2000),
        ((Limit(policy="ip", limit=5, seconds=60),), 5 / 60, 12, 20),
        ((Limit(policy="ip", limit=40, seconds=5),), 8.0, 450, 500),
        (MINUTE_AND_SECONDS, 1.0, 200, 200),
        (TEN_A_SECOND, 10.0, 1200, 1000),
    ],
)
async def test_an_unknown_limit_costs_one_refusal_a_policy_and_is_used_to_the_full(
    make: Make, limits: tuple[Limit, ...], allowed: float, first: int, later: int
) -> None:
    gateway = make(limits)
    await gateway.hurry(first)
    assert gateway.refused
    assert set(gateway.refused.values()) == {1}
    learning = sum(gateway.refused.values())
    await gateway.hurry(later)
    assert sum(gateway.refused.values()) == learning
    assert gateway.rate(later) >= 0.97 * allowed
    for limit in gateway.gate.limits:
        assert largest_count(gateway.arrived[first:], limit.window) <= limit.count


async def test_jitter_costs_few_refusals_and_is_learned_too(make: Make) -> None:
    gateway = make((Limit(policy="ip", limit=30, seconds=1),), way=(0.02, 0.08))
    await gateway.hurry(5000)
    assert 1 <= gateway.refused["ip"] <= 8
    assert "keeping further below" in gateway.told[-1].text
    assert gateway.rate(1000) >= 0.98 * 30.0 / (1 + MOST_HEADROOM)


async def test_an_unknown_rate_begins_low_and_grows_only_while_somebody_waits(make: Make) -> None:
    gateway = make(())
    await gateway.hurry(10)
    assert gateway.rate(10) <= 1.5
    idle = str(gateway.gate.limits[0])
    for _ in range(20):
        await anyio.sleep(5.0)
        await gateway.send()
    assert str(gateway.gate.limits[0]) == idle
    await gateway.hurry(2000)
    assert gateway.rate(100) > 10.0


async def test_while_nothing_is_known_the_gate_tells_what_it_tries(make: Make) -> None:
    assert [str(limit) for limit in make(()).gate.limits] == ["about 60/min, no limit known"]


async def test_what_was_learned_earlier_is_kept_from_the_first_request_on(make: Make) -> None:
    limits = (Limit(policy="user", limit=600, seconds=60),)
    gateway = make(limits, known=(Told("user", 600, 60.0),))
    await gateway.hurry(1000)
    assert not gateway.refused
    assert gateway.rate(900) >= 0.97 * 10.0


async def test_a_configured_rate_is_a_ceiling_that_is_never_probed(make: Make) -> None:
    gateway = make((), rate=Rate(60, 60.0))
    await gateway.hurry(200)
    assert largest_count(gateway.left, 60.0) <= 60


async def test_a_refusal_that_names_no_limit_halves_the_rate_and_it_comes_back_slowly(make: Make) -> None:
    gateway = make((Limit(policy="user", limit=120, seconds=60),), named=False)
    await gateway.hurry(120)
    while not gateway.refused:
        await gateway.send()
    before, begun = gateway.rate(20), gateway.now()
    await gateway.hurry(20)
    assert gateway.rate(20) < 0.6 * before
    assert "slowed down to a request every" in gateway.told[0].text
    await gateway.hurry(700)
    assert sum(gateway.refused.values()) <= 2 + (gateway.now() - begun) / (GROWS_BACK / 3)
    assert gateway.rate(700) >= 0.6 * 2.0


async def test_a_hint_how_long_to_wait_is_honoured_while_learning(make: Make) -> None:
    gateway = make((Limit(policy="user", limit=10, seconds=60),), retry_after=200.0)
    await gateway.hurry(20)
    refused_at = gateway.arrived[10]
    assert gateway.left[11] >= refused_at + 200.0
    assert gateway.learned == [Told("user", 10, 60.0)]


async def test_a_request_that_is_never_answered_does_not_stop_the_probing(make: Make) -> None:
    gateway = make(())
    for _ in range(5):
        await gateway.gate.pass_()
        sent_at = gateway.gate.go()
        assert sent_at is not None
        gateway.gate.leave(sent_at)
    with anyio.fail_after(100.0):
        await gateway.hurry(20)
