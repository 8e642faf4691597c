"""Virtual time for tests that run the engine: its clock, and things that happen at a given second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest

T = TypeVar("T")

EPOCH = 1_750_000_000.0

IN_MEMORY = pytest.mark.looptime(
    noop_cycles=0
)  # no socket, no thread: the clock need not wait for the outside


class LoopClock:
    """The event loop's time, and a wall that moves with it; `slept` is how long the machine was suspended."""

    slept = 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime(self) -> float:
        return self.monotonic() + self.slept

    def wall(self) -> float:
        return EPOCH + self.boottime()


async def run_while(run: Awaitable[T], *after: tuple[float, Callable[[], object]]) -> T:
    """What comes of the run, with things that happen so many seconds after its start."""

    async def later(seconds: float, act: Callable[[], object]) -> None:
        await anyio.sleep(seconds)
        act()

    async with anyio.create_task_group() as group:
        for seconds, act in after:
            group.start_soon(later, seconds, act)
        end = await run
        group.cancel_scope.cancel()
    return end
