"""Who goes next: one at a time, by rank, and among equals by turns of their lanes, so that no scope waits for
the crowd of another.

Within a lane it is first come, first served.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import anyio

from fleet.core.calls import Rank


class Line:
    """A lock whose waiters are served by rank, and round robin over the lanes that they wait in.

    Whoever leaves the head may leave a slot there, for the next one to use.
    """

    def __init__(self) -> None:
        self._taken = False
        self._ranks = tuple(_Lanes() for _ in Rank)

    @property
    def free(self) -> bool:
        """Whether nobody is at the head."""
        return not self._taken

    def waits_before(self, rank: Rank) -> bool:
        """Whether somebody waits who goes before everybody of that rank."""
        return any(lanes.waiting for lanes in self._ranks[:rank])

    async def enter(self, lane: str, rank: Rank, *, again: bool = False) -> float | None:
        """Returns at the head of the line, with the slot that was left there; the caller must `leave`.

        Who comes `again`, having let others pass, is the first of his rank.
        """
        if not self._taken:
            self._taken = True
            return None
        waiter, lanes = _Waiter(), self._ranks[rank]
        lanes.add(lane, waiter, first=again)
        try:
            await waiter.called.wait()
        except BaseException:
            if waiter.called.is_set():
                self.leave(waiter.slot)
            else:
                lanes.remove(lane, waiter)
            raise
        return waiter.slot

    def leave(self, slot: float | None = None) -> None:
        """Calls the next one, who may use `slot`; its lane goes to the end."""
        for lanes in self._ranks:
            if lanes.waiting:
                waiter = lanes.next()
                waiter.slot = slot
                waiter.called.set()
                return
        self._taken = False


class _Waiter:
    """Somebody in the line."""

    __slots__ = ("called", "slot")

    def __init__(self) -> None:
        self.called = anyio.Event()
        self.slot: float | None = None


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

    def next(self) -> _Waiter:
        """Takes out the next one; its lane goes to the end."""
        lane, crowd = next(iter(self.waiting.items()))
        waiter = crowd.popleft()
        if crowd:
            self.waiting.move_to_end(lane)
        else:
            del self.waiting[lane]
        return waiter

    def remove(self, lane: str, waiter: _Waiter) -> None:
        self.waiting[lane].remove(waiter)
        if not self.waiting[lane]:
            del self.waiting[lane]
