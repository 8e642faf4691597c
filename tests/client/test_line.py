"""The line: one at a time, lanes by turns, and whoever gives up is not called."""

from __future__ import annotations

import anyio
import pytest

from fleet.client.line import Line

pytestmark = pytest.mark.looptime


class Counter:
    """A line, and who was served in which order; service takes a second."""

    def __init__(self) -> None:
        self.line = Line()
        self.served: list[str] = []
        self.inside = 0

    async def visit(self, lane: str) -> None:
        await self.line.enter(lane)
        self.inside += 1
        assert self.inside == 1
        self.served.append(lane)
        try:
            await anyio.sleep(1.0)
        finally:
            self.inside -= 1
            self.line.leave()


async def test_lanes_take_turns_and_each_is_first_come_first_served() -> None:
    counter = Counter()
    async with anyio.create_task_group() as group:
        for lane in ("a", "a", "a", "a", "b", "b", "c"):
            group.start_soon(counter.visit, lane)
    assert counter.served == ["a", "a", "b", "c", "a", "b", "a"]
    assert counter.line.free


async def test_a_lane_that_comes_back_waits_for_its_turn() -> None:
    counter = Counter()

    async def loop(lane: str) -> None:
        for _ in range(3):
            await counter.visit(lane)

    async with anyio.create_task_group() as group:
        for lane in ("a", "b", "c"):
            group.start_soon(loop, lane)
    assert counter.served == ["a", "b", "c"] * 3


async def test_whoever_gives_up_while_waiting_is_not_waited_for() -> None:
    counter = Counter()
    async with anyio.create_task_group() as group:
        group.start_soon(counter.visit, "a")
        await anyio.sleep(0.1)
        with anyio.move_on_after(0.2):
            await counter.visit("b")
        await counter.visit("c")
    assert counter.served == ["a", "c"]
    assert counter.line.free


async def test_whoever_gives_up_when_called_calls_the_next() -> None:
    counter = Counter()
    await counter.line.enter("first")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(counter.visit, "a")
            await anyio.sleep(0.1)
            counter.line.leave()
            scope.cancel()
    with anyio.fail_after(0.1):
        await counter.line.enter("b")
