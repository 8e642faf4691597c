"""Deadlines under one timer: each ends its own task at its own time, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.client.transport.deadlines import Deadlines

seconds = st.integers(1, 40)


async def work(deadlines: Deadlines, start: float, takes: float, limit: float) -> tuple[bool, float]:
    """Whether it was ended, and after how long."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(start)
    begun = loop.time()
    try:
        with deadlines.within(limit):
            await asyncio.sleep(takes)
    except TimeoutError:
        return True, loop.time() - begun
    return False, loop.time() - begun


@given(st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=8))
def test_each_ends_at_its_own_deadline_whatever_else_runs(works: list[tuple[int, int, int]]) -> None:
    async def together() -> list[tuple[bool, float]]:
        deadlines = Deadlines()
        return await asyncio.gather(
            *(work(deadlines, start, takes + 0.5, limit) for start, takes, limit in works)
        )

    loop = looptime.new_event_loop(noop_cycles=0)
    try:
        found = loop.run_until_complete(together())
    finally:
        loop.close()
    for (_, takes, limit), (ended, after) in zip(works, found, strict=True):
        assert ended is (limit < takes + 0.5)
        assert after == pytest.approx(min(limit, takes + 0.5), abs=0.01)


async def test_a_task_that_was_ended_is_as_free_as_before() -> None:
    deadlines = Deadlines()
    ended, _ = await work(deadlines, 0.0, 1.0, 0.0)
    assert ended
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.looptime
async def test_who_cancels_the_task_at_the_same_time_is_heard() -> None:
    task = asyncio.ensure_future(work(Deadlines(), 0.0, 9.0, 5.0))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(5.0, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.looptime
async def test_what_fails_by_itself_as_its_time_ends_keeps_its_error() -> None:
    async def stubborn() -> None:
        with Deadlines().within(1.0):
            try:
                await asyncio.sleep(9.0)
            except asyncio.CancelledError:
                raise ValueError("my own") from None

    with pytest.raises(ValueError, match="my own"):
        await asyncio.ensure_future(stubborn())


@pytest.mark.looptime
async def test_who_takes_time_to_end_is_told_once() -> None:
    deadlines, ended = Deadlines(), asyncio.Event()

    async def reluctant() -> None:
        with deadlines.within(1.0):
            try:
                await asyncio.sleep(9.0)
            finally:
                await asyncio.sleep(3.0)
                ended.set()

    slow = asyncio.ensure_future(reluctant())
    _, after = await work(deadlines, 0.0, 9.0, 2.0)
    assert after == pytest.approx(2.0, abs=0.1)
    with pytest.raises(TimeoutError):
        await slow
    assert ended.is_set()


@pytest.mark.looptime
async def test_many_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    call_at, timers = loop.call_at, []

    def count(*given: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*given, **named))
        return timers[-1]

    deadlines = Deadlines()
    monkeypatch.setattr(loop, "call_at", count)
    for _ in range(20):
        with deadlines.within(30.0):
            pass
    assert len(timers) == 1
    await asyncio.sleep(31.0)
    assert len(timers) == 2, "nothing runs: only the sleep had a timer"
