"""Who goes next: one at a time, by rank, and among equals by turns of their lanes, so that no scope waits for
the crowd of another.

Within a lane it is first come, first served.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from fleet.core.calls import Rank


class Line:
    """A lock whose waiters are served by rank, and round robin over the lanes that they wait in.

    Whoever leaves the head may leave a slot there, for the next one to use.
    """

    def __init__(self) -> None:
        self.free = True  # whether nobody is at the head
        self._ranks = tuple(_Lanes() for _ in Rank)

    def waits_before(self, rank: Rank) -> bool:
        """Whether somebody waits who goes before everybody of that rank."""
        return any(lanes.first() is not None for lanes in self._ranks[:rank])

    async def enter(self, lane: str, rank: Rank, *, again: bool = False) -> float | None:
        """Returns at the head of the line, with the slot that was left there; the caller must `leave`.

        Who comes `again`, having let others pass, is the first of his rank.
        """
        if self.free:
            self.free = False
            return None
        lanes, waiter = self._ranks[rank], _new_waiter()
        lanes.add(lane, waiter, first=again)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self.leave(waiter.result())
            else:
                lanes.remove(lane, waiter)
            raise

    def leave(self, slot: float | None = None) -> None:
        """Calls the next one, who may use `slot`; its lane goes to the end."""
        for lanes in self._ranks:
            waiter = lanes.next()
            if waiter is not None:
                waiter.set_result(slot)
                return
        self.free = True


_Waiter = asyncio.Future[float | None]  # somebody in the line; the result is the slot that was left


def _new_waiter() -> _Waiter:
    return asyncio.get_running_loop().create_future()


class _Lanes:
    """The waiters of one rank, by lane: the lane that is next comes first, and none is empty."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def add(self, lane: str, waiter: _Waiter, *, first: bool) -> None:
        crowd = self.waiting.setdefault(lane, deque())
        if first:
            crowd.appendleft(waiter)
            self.waiting.move_to_end(lane, last=False)
        else:
            crowd.append(waiter)

    def first(self) -> _Waiter | None:
        """The next one, if anybody waits who has not just given up."""
        live = (waiter for crowd in self.waiting.values() for waiter in crowd if not waiter.done())
        return next(live, None)

    def next(self) -> _Waiter | None:
        """Takes out the next one; its lane goes to the end."""
        while self.waiting:
            lane, crowd = next(iter(self.waiting.items()))
            waiter = crowd.popleft()
            if not crowd:
                del self.waiting[lane]
            if not waiter.done():
                if crowd:
                    self.waiting.move_to_end(lane)
                return waiter
        return None

    def remove(self, lane: str, waiter: _Waiter) -> None:
        """Takes out one who has given up, unless `next` has passed him over."""
        crowd = self.waiting.get(lane)
        if crowd is not None and waiter in crowd:
            crowd.remove(waiter)
            if not crowd:
                del self.waiting[lane]
