"""Who goes next: one at a time, by rank, and among equals by turns of their lanes, so that no scope waits for
the crowd of another.

Within a lane it is first come, first served. Those who are new and those whose notebook is back take turns:
else all who are new would leave together whenever nobody else waits, and come home together, to a jam that
keeps their notebooks away.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from itertools import takewhile

from fleet.core.calls import Rank

_BY_RANK = tuple(Rank)
_NEW_IS_DUE = (Rank.AWAY, Rank.NEW, Rank.UNDER_WAY)


class Line:
    """A lock whose waiters are served by rank, and round robin over the lanes that they wait in.

    Whoever leaves the head may leave a slot there, for the next one to use.
    """

    def __init__(self) -> None:
        self.free = True  # whether nobody is at the head
        self._ranks = {rank: _Lanes() for rank in Rank}
        self._head = Rank.NEW  # the rank of who is at the head, or was last
        self._order = _BY_RANK

    def waits_before(self, rank: Rank) -> bool:
        """Whether somebody waits who goes before everybody of that rank."""
        before = takewhile(lambda one: one is not rank, self._order)
        return any(self._ranks[one].first() is not None for one in before)

    async def enter(self, lane: str, rank: Rank, *, again: bool = False) -> float | None:
        """Returns at the head of the line, with the slot that was left there; the caller must `leave`.

        Who comes `again`, having let others pass, is the first of his rank.
        """
        if self.free:
            self.free, self._head = False, rank
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
        if slot is None and self._head is not Rank.AWAY:
            self._order = _NEW_IS_DUE if self._head is Rank.UNDER_WAY else _BY_RANK
        for rank in self._order:
            waiter = self._ranks[rank].next()
            if waiter is not None:
                self._head = rank
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
