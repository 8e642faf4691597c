"""The shared poll: one tells of everyone who waits, and nobody looks as long as he is on the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest

from fleet.core.calls import Rank, Receipt, Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Status
from fleet.core.scheduling.waiting import LONGEST
from fleet.engine.watch import Watch
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]
LEAST = 20.0
START_TAKES = 120.0  # s, of the cloud here


class Waiting:
    """Everyone of the bench waits for the end of STOPPING; `told` says when each may look."""

    def __init__(self, made: Any, watch: Watch) -> None:
        self.made, self.watch = made, watch
        self.began = made.clock.monotonic()
        self.told: dict[str, float] = {}
        self.listed: dict[str, float | None] = {}

    async def wait(self, key: str) -> None:
        listed = await self.watch.worth_a_look(key, Status.STOPPING, self.made.clock.monotonic())
        self.listed[key] = None if listed is None else listed - self.began
        self.told[key] = self.made.clock.monotonic() - self.began

    async def all(self) -> None:
        async with anyio.create_task_group() as waiters:
            for key in self.made.cloud.notebooks:
                waiters.start_soon(self.wait, key)


@asynccontextmanager
async def watching(made: Any) -> AsyncIterator[Waiting]:
    watch = Watch(made.cloud, made.clock, LEAST)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.run)
        yield Waiting(made, watch)
        group.cancel_scope.cancel()


def stopping(made: Any, seconds: float) -> None:
    for key in made.cloud.notebooks:
        made.cloud.move(key, Status.STOPPING, seconds, Status.STOPPED)


@pytest.mark.row(33)
async def test_one_poll_answers_everyone_who_waits(bench: Making) -> None:
    made = bench(30)
    stopping(made, 50.0)
    async with watching(made) as waiting:
        await waiting.all()
    assert len(waiting.told) == 30
    assert all(50.0 < when < 70.0 for when in waiting.told.values())
    assert made.log.count("poll") == 3
    assert made.log.count("look") == 0


async def test_the_last_list_that_showed_somebody_on_his_way_is_told(bench: Making) -> None:
    made = bench(30)
    stopping(made, 50.0)
    made.cloud.move("nb-7", Status.STOPPING, 5.0, Status.STOPPED)
    async with watching(made) as waiting:
        await waiting.all()
    assert waiting.listed.pop("nb-7") is None
    for key, listed in waiting.listed.items():
        assert listed is not None
        assert listed < 50.0 < waiting.told[key] < listed + 1.5 * LEAST


async def test_so_few_that_a_list_costs_as_much_look_for_themselves(bench: Making) -> None:
    made = bench()
    stopping(made, 50.0)
    async with watching(made) as waiting:
        await waiting.all()
    assert waiting.told == {"nb-0": pytest.approx(LEAST)}
    assert made.log.count("poll") == 0


async def test_nobody_waiting_means_nobody_polling(bench: Making) -> None:
    made = bench(2)
    async with watching(made) as waiting:
        await anyio.sleep(600)
        assert made.log.count("poll") == 0
        await waiting.all()
        await anyio.sleep(600)
    assert made.log.count("poll") == 1


async def test_after_learned_times_nobody_is_polled_for_too_soon(bench: Making) -> None:
    made = bench(30)
    stopping(made, 200.0)
    async with watching(made) as waiting:
        for _ in range(5):
            waiting.watch.took(Status.STOPPING, 200.0)
        await waiting.all()
    assert made.at("poll")[0] == pytest.approx(190.0, abs=1.0)
    assert made.log.count("poll") <= 3


async def test_a_list_for_one_status_says_nothing_of_another(bench: Making) -> None:
    made = bench(4)
    stopping(made, 1e6)
    async with watching(made) as waiting, anyio.create_task_group() as others:
        for key in ("nb-2", "nb-3"):
            made.cloud.move(key, Status.STARTING, 1e6, Status.RUNNING)
            others.start_soon(waiting.watch.worth_a_look, key, Status.STARTING, made.clock.monotonic())
        for key in ("nb-0", "nb-1"):
            others.start_soon(waiting.wait, key)
        await anyio.sleep(100.0)
        assert not waiting.told
        assert len(waiting.watch._waiters) == 4
        others.cancel_scope.cancel()


async def test_news_of_quick_waits_is_not_overslept_while_others_wait_for_long(bench: Making) -> None:
    made = bench(3)
    made.cloud.move("nb-1", Status.STARTING, 1e6, Status.RUNNING)
    made.cloud.move("nb-0", Status.STOPPING, 10.0, Status.STOPPED)
    async with watching(made) as waiting, anyio.create_task_group() as others:
        for _ in range(5):
            waiting.watch.took(Status.STARTING, 1e4)
        others.start_soon(waiting.watch.worth_a_look, "nb-1", Status.STARTING, made.clock.monotonic())
        await anyio.sleep(1.0)
        await waiting.wait("nb-0")
        others.cancel_scope.cancel()
    assert waiting.told["nb-0"] < 2.5 * LEAST


async def test_a_list_for_each_of_many_workspaces_is_asked_for_less_often(bench: Making) -> None:
    """Thirty requests a poll for thirty who wait: after the first each may as well look for himself."""
    made = bench(30)
    made.cloud.lists = 30
    stopping(made, 100.0)
    async with watching(made) as waiting:
        await waiting.all()
    assert made.log.count("poll") == 1
    assert len(waiting.told) == 30


async def test_a_poll_that_began_before_the_wait_does_not_count(bench: Making) -> None:
    """The poll lists who is stopping, one more is stopped, and only then the answer comes in."""
    made = bench(3)
    made.cloud.call_takes = 10.0
    for key in ("nb-1", "nb-2"):
        made.cloud.move(key, Status.STOPPING, 1e6, Status.STOPPED)
    async with watching(made) as waiting, anyio.create_task_group() as waiters:
        waiters.start_soon(waiting.wait, "nb-1")
        waiters.start_soon(waiting.wait, "nb-2")
        await anyio.sleep(LEAST + 5.0)
        made.cloud.move("nb-0", Status.STOPPING, 100.0, Status.STOPPED)
        await waiting.wait("nb-0")
        waiters.cancel_scope.cancel()
    assert waiting.told["nb-0"] > 125.0


async def test_a_poll_that_fails_is_repeated(bench: Making, call_error: Failing) -> None:
    made = bench(2)
    made.cloud.refuse["poll"] = [call_error(Meaning.SERVER)]
    async with watching(made) as waiting:
        await waiting.all()
    assert made.log.count("poll") == 2


@pytest.mark.parametrize("meaning", [Meaning.SERVER, Meaning.FORBIDDEN, Meaning.WRONG_ADDRESS])
async def test_after_two_lists_in_a_row_that_failed_all_look_for_themselves(
    bench: Making, call_error: Failing, meaning: Meaning
) -> None:
    made = bench(30)
    stopping(made, 1e6)
    made.cloud.refuse["poll"] = [call_error(meaning)] * 1000
    async with watching(made) as waiting:
        with anyio.move_on_after(1000.0):
            await waiting.all()
    assert (made.log.count("poll"), len(waiting.told)) == (2, 30)
    assert all(when == pytest.approx(3 * LEAST, abs=1.0) for when in waiting.told.values())


async def test_where_lists_fail_those_who_were_not_looked_at_for_longest_come_first_a_page_at_a_time(
    bench: Making, call_error: Failing
) -> None:
    made = bench(120)
    stopping(made, 1e6)
    made.cloud.refuse["poll"] = [call_error(Meaning.ODD)] * 1000
    async with watching(made) as waiting:
        with anyio.move_on_after(1000.0):
            await waiting.all()
    rounds = Counter(round(when / LEAST) for when in waiting.told.values())
    assert sorted(rounds.values()) == [20, 50, 50]


async def test_a_list_that_succeeds_ends_the_looks(bench: Making, call_error: Failing) -> None:
    made = bench(120)
    stopping(made, 1e6)
    made.cloud.refuse["poll"] = [call_error(Meaning.ODD)] * 2
    async with watching(made) as waiting:
        with anyio.move_on_after(1000.0):
            await waiting.all()
    assert len(waiting.told) == 50


async def test_a_list_that_succeeds_for_one_status_mends_no_other(bench: Making, call_error: Failing) -> None:
    made = bench(4)
    stopping(made, 1e6)
    poll = made.cloud.poll

    async def fails_for_stopping(statuses: list[Status]) -> Any:
        if Status.STOPPING in statuses:
            raise call_error(Meaning.ODD)
        return await poll(statuses)

    made.cloud.poll = fails_for_stopping
    async with watching(made) as waiting, anyio.create_task_group() as others:
        for key in ("nb-2", "nb-3"):
            made.cloud.move(key, Status.STARTING, 1e6, Status.RUNNING)
            others.start_soon(waiting.watch.worth_a_look, key, Status.STARTING, made.clock.monotonic())
        for key in ("nb-0", "nb-1"):
            others.start_soon(waiting.wait, key)
        await anyio.sleep(4 * LEAST)
        assert set(waiting.told) == {"nb-0", "nb-1"}
        others.cancel_scope.cancel()


@pytest.mark.row(33)
@pytest.mark.parametrize("known", [0, 5])
async def test_a_group_that_is_stuck_is_listed_less_and_less_often(bench: Making, known: int) -> None:
    made = bench(30)
    stopping(made, 1e6)
    async with watching(made) as waiting:
        for _ in range(known):
            waiting.watch.took(Status.STOPPING, 60.0)
        with anyio.move_on_after(12 * 3600.0):
            await waiting.all()
    polls = made.at("poll")
    gaps = [after - before for before, after in pairwise(polls)]
    assert len(polls) < 350
    assert gaps[0] < 25.0
    assert gaps[-1] == pytest.approx(LONGEST, abs=1.0)


async def test_a_poll_that_can_never_succeed_is_told_to_everyone_who_waits(
    bench: Making, call_error: Failing
) -> None:
    made = bench(2)
    stopping(made, 1e6)
    made.cloud.refuse["poll"] = [call_error(Meaning.UNAUTHENTICATED)]
    async with watching(made) as waiting:
        with pytest.raises(ExceptionGroup) as raised:
            await waiting.all()
    assert len(raised.value.exceptions) >= 1
    assert isinstance(raised.value.exceptions[0], CallError)


async def test_a_wait_that_is_given_up_leaves_nothing_behind(bench: Making) -> None:
    made = bench(2)
    stopping(made, 1e6)
    async with watching(made) as waiting:
        with anyio.move_on_after(50):
            await waiting.all()
        polls = made.log.count("poll")
        await anyio.sleep(600)
    assert made.log.count("poll") <= polls + 1


async def test_any_other_status_ends_the_wait(bench: Making) -> None:
    made = bench(3)
    stopping(made, 1e6)
    made.cloud.move("nb-0", Status.SNAPSHOTTING, 1e6, Status.STOPPED)
    async with watching(made) as waiting:
        with anyio.move_on_after(100.0):
            await waiting.all()
    assert list(waiting.told) == ["nb-0"]


async def test_who_is_held_by_a_pause_does_not_make_calls_seem_scarce(bench: Making) -> None:
    """Ten show how long a start takes; of the next twenty two are away when somebody pauses the run."""
    made = bench(30, waves=[1] * 10 + [2] * 20, concurrency=20)
    stop, turn, news = made.cloud.stop, made.cloud.turn, 0

    async def one_after_the_other(rank: Rank) -> Turn:
        nonlocal news
        news += rank is Rank.NEW
        if rank is Rank.NEW and news > 12:
            await anyio.sleep(10.0)
        granted: Turn = await turn(rank)
        return granted

    async def then_pause(key: str, turn: Turn) -> Receipt:
        if key == "nb-11":
            made.control.pause()
        receipt: Receipt = await stop(key, turn)
        return receipt

    made.cloud.turn, made.cloud.stop = one_after_the_other, then_pause
    await made.run_while((3000.0, made.control.release))
    for key in ("nb-10", "nb-11"):
        (started,) = made.at(f"send start {key}")
        noticed = min(at for at in made.at(f"look {key}") if at > started + START_TAKES)
        assert noticed - started - START_TAKES < 10.0
    assert made.at("send stop nb-12")[0] > 3000.0
