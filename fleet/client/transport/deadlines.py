"""Deadlines of many exchanges under one timer: a timer for each costs more than most of what it guards.

A task whose deadline passes is cancelled and hears a TimeoutError, as by `asyncio.timeout`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

_TICK = 0.001  # s; a loop may wake up a little early


class Deadlines:
    """What runs at present. One timer waits for the earliest deadline that it has seen."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """`with` it, what the current task does may take so long. Raises TimeoutError then."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only what a task does can have a deadline")
        at = self._loop.time() + seconds
        if self._timer is None or at < self._timer.when():
            self._set_timer(at)
        return Deadline(at, task, self._running)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        """Most of the time what the timer was set for is long done, and others run."""
        self._timer = None
        now = self._loop.time() + _TICK
        for deadline in self._running:
            if deadline.at <= now:
                deadline.pass_()
        later = [deadline.at for deadline in self._running if deadline.at > now]
        if later:
            self._set_timer(min(later))


class Deadline:
    """One of them, in the loop's time."""

    __slots__ = ("_cancelling", "_passed", "_running", "_task", "at")

    def __init__(self, at: float, task: asyncio.Task[object], running: set[Deadline]) -> None:
        self.at = at
        self._task = task
        self._running = running
        self._cancelling = task.cancelling()
        self._passed = False

    def pass_(self) -> None:
        """The time is over."""
        if not self._passed:
            self._passed = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._running.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.discard(self)
        # When somebody else cancelled the task too, it stays cancelled.
        if self._passed and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
