"""Who goes next: one at a time, and those who wait take turns by lane, so that no scope waits for the crowd
of another.

Within a lane it is first come, first served.
"""

from __future__ import annotations

from collections import deque

import anyio


class Line:
    """A lock whose waiters are served round robin over the lanes that they wait in."""

    def __init__(self) -> None:
        self._taken = False
        self._lanes: dict[str, deque[anyio.Event]] = {}  # the lane that is next comes first; none is empty

    @property
    def free(self) -> bool:
        """Whether nobody is at the head."""
        return not self._taken

    async def enter(self, lane: str) -> None:
        """Returns at the head of the line; the caller must `leave`."""
        if not self._taken:
            self._taken = True
            return
        called = anyio.Event()
        self._lanes.setdefault(lane, deque()).append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self.leave()
            else:
                self._give_up(lane, called)
            raise

    def leave(self) -> None:
        """Calls the next one; its lane goes to the end."""
        for lane, waiting in self._lanes.items():
            del self._lanes[lane]
            called = waiting.popleft()
            if waiting:
                self._lanes[lane] = waiting
            called.set()
            return
        self._taken = False

    def _give_up(self, lane: str, called: anyio.Event) -> None:
        self._lanes[lane].remove(called)
        if not self._lanes[lane]:
            del self._lanes[lane]
