"""What every request passes: a place under the rate, and a seat among the requests in flight.

One gate a throttle key and class. The arithmetic is that of `Pace` and `InFlight`; here is only the waiting,
by turns of the scopes that share the key, those whose notebook is away before those that have sent nothing
yet: the slot that is next belongs to whoever is first when it is due, not to who came first. A request passes
in two steps: it waits for its slot and its seat before a connection is taken, and asks to `go` at the moment
when its bytes leave, because the connection may have been slow. A pass that has to wait for nothing costs
arithmetic only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from fleet.client.clock import Clock
from fleet.client.line import Line
from fleet.core.calls import Rank, Turn
from fleet.core.duration import duration
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Counted, Slowed
from fleet.core.pacing.in_flight import InFlight
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.core.pacing.pace import Pace
from fleet.core.pacing.send_log import Peak

IN_FLIGHT = 32
UNHEARD = 5.0  # s since the last request left, until a want of answers is worth a word
LEAD = 2.0  # s between the end of a turn's wait and its slot: room for a last look
_SHORTEST_SLEEP = 0.001  # s; a wait that rounding makes shorter than the clock's step would never end

OnSlowed = Callable[[Slowed], None]
OnLearned = Callable[[str, Limit], None]

_DROPPED = frozenset({Meaning.LOST, Meaning.SERVER})


class Gate:
    """The requests of one throttle key and class. `key` names it in events; `in_flight` is the most at once.

    `on_learned` is told the key and each limit that a refusal taught.
    """

    def __init__(
        self,
        key: str,
        pace: Pace,
        clock: Clock,
        *,
        on_slowed: OnSlowed,
        on_learned: OnLearned = lambda _key, _limit: None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self.key = key
        self._pace = pace
        self._clock = clock
        self._monotonic = clock.monotonic
        self._on_slowed = on_slowed
        self._on_learned = on_learned
        self._in_flight = InFlight(in_flight)
        self._aboard = 0
        self._latest = -math.inf  # when a request left last
        self._queue = Line()  # for slots long before they are due: those who write
        self._door = Line()  # for a seat, and for slots of those who read
        self._seat_free: asyncio.Future[None] | None = None  # what the one at the door waits for
        self._waiters: dict[asyncio.Future[bool], None] = {}  # in the order in which they came
        self._peaks: dict[Limit, Peak] = {}
        self._counting: tuple[Peak, ...] = ()
        self._count_anew()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept at present: the configured one, and those learned; else what is tried."""
        probed = self._pace.probed
        return self._pace.limits if probed is None else (probed,)

    @property
    def waits(self) -> str:
        """What requests wait for at this moment, for a person who asks; empty when for nothing that lasts."""
        now = self._monotonic()
        shut, silent = self._pace.shut(now), now - self._latest
        waited_for = self._aboard or not (self._queue.free and self._door.free)
        if waited_for and shut is not None and silent + shut.seconds >= UNHEARD:
            return f"the rate: {shut}"
        if self._aboard and UNHEARD <= silent < math.inf:
            return f"{self._aboard} without an answer, the last was sent {duration(silent)} ago"
        if self._queue.free and self._door.free:
            return ""
        full = self._aboard >= self._in_flight.limit
        return f"{self._in_flight.limit} in flight at most" if full else "the rate"

    @property
    def shut(self) -> Shut | None:
        """For how long nothing may leave, also when nobody waits for that; None if it is not worth a word."""
        shut = self._pace.shut(self._monotonic())
        return shut if shut is not None and shut.seconds >= UNHEARD else None

    def counts(self) -> list[Counted]:
        """For every limit that was kept, how many requests left at most in any of its windows."""
        now = self._clock.wall()
        return [
            Counted(now, self.key, limit.policy, limit.window, limit.count, peak.most)
            for limit, peak in self._peaks.items()
            if peak.most
        ]

    def set_rate(self, rate: Rate) -> None:
        """Changes the configured rate at once, also for those who wait already."""
        if self._pace.set_rate(rate, self._monotonic()):
            self._count_anew()
            self._stir()

    def passes(self, turn: Turn | None = None) -> bool:
        """Whether nothing has to be waited for: then the seat is taken, as by `pass_` or `pass_turn`."""
        if not self._door.free or self._aboard >= self._in_flight.limit:
            return False
        now = self._monotonic()
        if turn is None:
            if not self._pace.take(now):
                return False
        elif turn.at > now or not self._pace.is_clear(now):
            return False
        self._aboard += 1
        return True

    async def pass_(self, lane: str = "", rank: Rank = Rank.NEW) -> None:
        """Waits for a slot and a seat, which `heard` or `leave` gives back. Lanes that wait take turns."""
        if self.passes():
            return
        await self._next_slot(self._door, lane, rank)
        try:
            await self._sit_down()
        finally:
            self._door.leave()

    async def turn(self, lane: str = "", rank: Rank = Rank.NEW) -> Turn:
        """Takes a slot and returns shortly before it, so that a last look is still fresh at the write."""
        if self._queue.free and self._pace.take(now := self._monotonic()):
            return Turn(now, rank=rank)
        slot = await self._next_slot(self._queue, lane, rank, early=LEAD)
        self._queue.leave()
        return Turn(slot, rank=rank)

    async def pass_turn(self, turn: Turn, lane: str = "") -> None:
        """Waits for the slot of `turn` and a seat, which `heard` or `leave` gives back."""
        while (wait := turn.at - self._monotonic()) > 0:
            await self._stirred_within(wait)
        await self._door.enter(lane, turn.rank)
        try:
            await self._sit_down()
        finally:
            self._door.leave()

    def go(self) -> float | None:
        """To be called when the bytes are about to leave: the instant, which is recorded and names the send.

        None when a window is full: then `clear` waits until it is worth asking again.
        """
        now = self._monotonic()
        if now <= self._latest:
            now = math.nextafter(self._latest, math.inf)
        if not self._pace.is_clear(now):
            return None
        self._latest = now
        self._pace.sent(now)
        for peak in self._counting:
            peak.add(now)
        return now

    async def clear(self, until: float = math.inf) -> None:
        """Returns when one more send breaks no window, at `until` at the latest."""
        await self._until(lambda now: min(self._pace.clear_at(now), until))

    def heard(self, sent_at: float | None, error: CallError | None) -> None:
        """Gives the seat back, and takes in how the request ended that left at `sent_at`; None is success.

        A request that never left, `sent_at` None, teaches nothing.
        """
        if sent_at is not None:
            now = self._monotonic()
            if error is None:
                self._in_flight.answered(sent_at, now, self._aboard)
            else:
                self._learn(sent_at, error, now)
        self._rise(sent_at, error is None or _was_let_in(error))

    def leave(self, sent_at: float | None = None) -> None:
        """Gives the seat back when nobody waits for the answer any longer, or nothing left."""
        self._rise(sent_at, False)

    def _learn(self, sent_at: float, error: CallError, now: float) -> None:
        if error.meaning is Meaning.THROTTLED:
            self._refused(error, sent_at, now)
        elif error.meaning in _DROPPED:
            self._in_flight.dropped(sent_at, now)

    def _rise(self, sent_at: float | None, accepted: bool) -> None:
        self._aboard -= 1
        if self._seat_free is not None:
            if not self._seat_free.done():
                self._seat_free.set_result(None)
            self._seat_free = None
        if sent_at is not None and self._pace.answered(sent_at, accepted=accepted):
            self._stir()

    def _refused(self, error: CallError, sent_at: float, now: float) -> None:
        """Takes in a 429, and says so when it taught us something."""
        before = self._pace.limits
        news = self._pace.refused(error.limit, error.retry_after, sent_at=sent_at, now=now)
        if news:
            self._on_slowed(Slowed(self._clock.wall(), self.key, news, error.limit))
        if error.limit is not None and self._pace.limits != before:
            self._count_anew()
            self._on_learned(self.key, error.limit)

    def _count_anew(self) -> None:
        """Counts from now on under the limits that are kept at present."""
        counting = []
        for limit in self._pace.limits:
            peak = self._peaks.setdefault(limit, Peak(limit.window))
            if peak not in self._counting:
                peak.begin(self._pace.since(self._monotonic() - limit.window))
            counting.append(peak)
        self._counting = tuple(counting)

    async def _next_slot(self, line: Line, lane: str, rank: Rank, early: float = 0.0) -> float:
        """Returns at the head of `line`, `early` seconds before the slot.

        It is left to those who go before `rank` and have come by then.
        """
        slot = await line.enter(lane, rank)
        while True:
            try:
                slot = await self._slot(slot, early)
            except BaseException:
                line.leave()
                raise
            if not line.waits_before(rank):
                return slot
            line.leave(slot)
            slot = await line.enter(lane, rank, again=True)

    async def _slot(self, slot: float | None, early: float) -> float:
        """Takes a slot unless there is one, and another one when the rate is set anew; returns it `early`."""
        if slot is None:
            slot = self._pace.reserve(self._monotonic())
        limits = self._pace.limits
        while (wait := slot - early - self._monotonic()) > 0:
            if await self._stirred_within(wait) and limits != (limits := self._pace.limits):
                slot = self._pace.reserve(self._monotonic())
        return slot

    async def _sit_down(self) -> None:
        """Waits for a seat; only who is at the door does."""
        while self._aboard >= self._in_flight.limit:
            self._seat_free = asyncio.get_running_loop().create_future()
            await self._seat_free
        self._aboard += 1
        try:
            await self._until(self._pace.clear_at)
        except BaseException:
            self.leave()
            raise

    async def _until(self, due: Callable[[float], float]) -> None:
        """Waits as long as `due` of the present instant lies ahead of it."""
        while (wait := due(now := self._monotonic()) - now) > 0:
            await self._stirred_within(wait)

    def _stir(self) -> None:
        """Lets everybody who waits look again."""
        for waiter in self._waiters:
            _wake(waiter, True)

    async def _stirred_within(self, seconds: float) -> bool:
        """Waits so long; returns True at once when something changed. No time scope: a timer and a future."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(max(seconds, _SHORTEST_SLEEP), _wake, waiter, False)
        self._waiters[waiter] = None
        try:
            return await waiter
        finally:
            del self._waiters[waiter]
            timer.cancel()


def _wake(waiter: asyncio.Future[bool], stirred: bool) -> None:
    if not waiter.done():
        waiter.set_result(stirred)


def _was_let_in(error: CallError) -> bool:
    """Whether the gateway's limits let a request pass that ended so: it was answered, and not throttled."""
    return error.status != 0 and error.meaning is not Meaning.THROTTLED
