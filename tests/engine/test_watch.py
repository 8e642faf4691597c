"""The shared poll: one answers everyone who waits, and nobody waits at the cost of a look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Notebook, Status
from fleet.engine.watch import Watch

pytestmark = pytest.mark.looptime

Making = Callable[..., Any]
Failing = Callable[..., CallError]
PASSING = frozenset({Status.STOPPING, Status.STARTING})


@asynccontextmanager
async def watching(made: Any) -> AsyncIterator[Watch]:
    watch = Watch(made.cloud, made.clock, 20.0)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.run)
        yield watch
        group.cancel_scope.cancel()


@pytest.mark.row(33)
async def test_one_poll_answers_everyone_who_waits(bench: Making) -> None:
    made = bench(30)
    found: list[Notebook | None] = []
    for key in made.cloud.notebooks:
        made.cloud.move(key, Status.STOPPING, 50.0, Status.STOPPED)
    async with watching(made) as watch, anyio.create_task_group() as waiters:

        async def wait(key: str) -> None:
            found.append(await watch.settled(key, PASSING))

        for key in made.cloud.notebooks:
            waiters.start_soon(wait, key)
    assert [row.status for row in found if row is not None] == [Status.STOPPED] * 30
    assert made.log.count("poll") == 3
    assert made.log.count("look") == 0


async def test_nobody_waiting_means_nobody_polling(bench: Making) -> None:
    made = bench()
    async with watching(made) as watch:
        await anyio.sleep(600)
        assert made.log.count("poll") == 0
        await watch.settled("nb-0", PASSING)
        await anyio.sleep(600)
        assert made.log.count("poll") == 1


async def test_a_poll_that_began_before_the_wait_does_not_count(bench: Making) -> None:
    """The poll reads its rows, the notebook is stopped, and only then the answer comes in."""
    made = bench(2)
    made.cloud.call_takes = 10.0
    made.cloud.move("nb-1", Status.STOPPING, 25.0, Status.STOPPED)
    async with watching(made) as watch, anyio.create_task_group() as waiters:
        waiters.start_soon(watch.settled, "nb-1", PASSING)
        await anyio.sleep(25.0)
        made.cloud.move("nb-0", Status.STOPPING, 1.0, Status.STOPPED)
        row = await watch.settled("nb-0", PASSING)
    assert row is not None
    assert row.status is Status.STOPPED


async def test_a_row_that_two_polls_miss_is_left_to_the_one_who_waits(bench: Making) -> None:
    made = bench()
    made.cloud.unlisted.add("nb-0")
    async with watching(made) as watch:
        assert await watch.settled("nb-0", PASSING) is None
    assert made.log.count("poll") == 2


async def test_a_poll_that_fails_is_repeated(bench: Making, call_error: Failing) -> None:
    made = bench()
    made.cloud.refuse["poll"] = [call_error(Meaning.SERVER), call_error(Meaning.THROTTLED)]
    async with watching(made) as watch:
        assert await watch.settled("nb-0", PASSING) is not None
    assert made.log.count("poll") == 3


async def test_a_poll_that_can_never_succeed_is_told_to_everyone_who_waits(
    bench: Making, call_error: Failing
) -> None:
    made = bench()
    made.cloud.refuse["poll"] = [call_error(Meaning.UNAUTHENTICATED)]
    async with watching(made) as watch:
        with pytest.raises(CallError):
            await watch.settled("nb-0", PASSING)


async def test_a_wait_that_is_given_up_leaves_nothing_behind(bench: Making) -> None:
    made = bench()
    made.cloud.move("nb-0", Status.STOPPING, 1e6, Status.STOPPED)
    async with watching(made) as watch:
        with anyio.move_on_after(50):
            await watch.settled("nb-0", PASSING)
        polls = made.log.count("poll")
        await anyio.sleep(600)
    assert made.log.count("poll") <= polls + 1


async def test_a_status_outside_the_passing_ones_ends_the_wait_whatever_it_is(bench: Making) -> None:
    made = bench()
    made.cloud.notebooks["nb-0"] = replace(made.cloud.notebooks["nb-0"], status=Status.FROZEN)
    async with watching(made) as watch:
        row = await watch.settled("nb-0", PASSING)
    assert row is not None
    assert row.status is Status.FROZEN
