"""What every request passes: a place under the rate, and a seat among the requests in flight.

One gate a throttle key and class. The arithmetic is `Pace`; here is only the waiting, first come first
served. A request passes in two steps: it waits for its slot and its seat before a connection is taken, and
`leaving` looks once more at the moment when its bytes leave, because the connection may have been slow.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from fleet.client.clock import Clock
from fleet.core.calls import Turn
from fleet.core.errors import CallError
from fleet.core.events import Slowed
from fleet.core.pace import Limit, Pace, Rate

IN_FLIGHT = 32
LEAD = 2.0  # s between the end of a turn's wait and its slot: room for a last look
_SHORTEST_SLEEP = 0.001  # s; a wait that rounding makes shorter than the clock's step would never end

OnSlowed = Callable[[Slowed], None]


class Gate:
    """The requests of one throttle key and class. `key` names it in events."""

    def __init__(
        self, key: str, pace: Pace, clock: Clock, *, on_slowed: OnSlowed, in_flight: int = IN_FLIGHT
    ) -> None:
        self.key = key
        self._pace = pace
        self._clock = clock
        self._on_slowed = on_slowed
        self._slots = anyio.Lock(fast_acquire=True)
        self._door = anyio.Lock(fast_acquire=True)
        # Not a CapacityLimiter: that one lends to tasks and would cost the hot path a switch each time.
        self._seats = anyio.Semaphore(in_flight, fast_acquire=True)
        self._rate_set = anyio.Event()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept at present: the configured one, and those learned."""
        return self._pace.limits

    def set_rate(self, rate: Rate) -> None:
        """Changes the configured rate at once, also for those who wait already."""
        if self._pace.set_rate(rate, self._clock.monotonic()):
            self._rate_set.set()
            self._rate_set = anyio.Event()

    async def pass_(self) -> None:
        """Waits for a slot and a seat; the caller must `leave`."""
        async with self._door:
            await self._slot()
            await self._sit_down()

    async def turn(self) -> Turn:
        """Takes a slot and returns shortly before it, so that a last look is still fresh at the write."""
        async with self._slots:
            return Turn(await self._slot(early=LEAD))

    async def pass_turn(self, turn: Turn) -> None:
        """Waits for the slot of `turn` and a seat; the caller must `leave`."""
        await self._until(lambda _: turn.at)
        async with self._door:
            await self._sit_down()

    async def leaving(self) -> float:
        """To be called when the bytes are about to leave: waits if a window is full, records the instant."""
        await self._until(self._pace.clear_at)
        now = self._clock.monotonic()
        self._pace.sent(now)
        return now

    def leave(self) -> None:
        """Gives the seat back."""
        self._seats.release()

    def refused(self, error: CallError, sent_at: float) -> None:
        """Takes in a 429 that a request sent at `sent_at` got, and says so when it taught us something."""
        news = self._pace.refused(
            error.limit, error.retry_after, sent_at=sent_at, now=self._clock.monotonic()
        )
        if news:
            self._on_slowed(Slowed(self._clock.wall(), self.key, news))

    async def _slot(self, early: float = 0.0) -> float:
        """Takes a slot, and another one when the rate is set anew; returns it `early` seconds before."""
        slot = self._pace.reserve(self._clock.monotonic())
        while (wait := slot - early - self._clock.monotonic()) > 0:
            if await self._rate_set_within(wait):
                slot = self._pace.reserve(self._clock.monotonic())
        return slot

    async def _sit_down(self) -> None:
        await self._seats.acquire()
        try:
            await self._until(self._pace.clear_at)
        except BaseException:
            self._seats.release()
            raise

    async def _until(self, due: Callable[[float], float]) -> None:
        """Waits as long as `due` of the present instant lies ahead of it."""
        while (wait := due(now := self._clock.monotonic()) - now) > 0:
            await self._rate_set_within(wait)

    async def _rate_set_within(self, seconds: float) -> bool:
        """Waits so long; returns True at once when the rate is set anew."""
        with anyio.move_on_after(max(seconds, _SHORTEST_SLEEP)):
            await self._rate_set.wait()
            return True
        return False
