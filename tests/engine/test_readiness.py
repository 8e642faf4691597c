"""Changes that wait until their notebook stops or is idle: nobody is stopped at his work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.errors import CallError, Meaning
from fleet.core.events import Began, Ended, Held, Outcome, RunEnd, RunEnded, Used, WaveStarted
from fleet.core.fold import fold
from fleet.core.notebook import Lease, Status
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Share
from fleet.core.scheduling.readiness import moment, second
from fleet.core.scheduling.timing import Moment
from fleet.core.usage import Use
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.engine.persons import (
    FORCE,
    HOUR,
    NEXT_STOP,
    PATIENCE,
    Making,
    Somebody,
    draining,
    go,
    held,
    person,
    rename,
    stops,
)
from tests.virtual import EPOCH, IN_MEMORY

pytestmark = IN_MEMORY


# --- the next stop ---------------------------------------------------------------------------------------


async def test_a_notebook_that_its_person_stops_is_changed_and_stays_stopped(bench: Making) -> None:
    made = bench(2, **NEXT_STOP)
    end = await go(
        made,
        None,
        (1000.0, person(made, 0, Status.STOPPED)),
        (20_000.0, person(made, 1, Status.STOPPED)),
    )
    assert end is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert made.log.words("send") == ["send put nb-0", "send put nb-1"]
    assert {row.status for row in made.cloud.notebooks.values()} == {Status.STOPPED}
    begun = [event.at - EPOCH for event in made.recorder.events if isinstance(event, Began)]
    assert begun[0] < 1200 < 20_000 < begun[1] < 20_200
    lease = "; the next lease ends at 2025-06-15 20:06 UTC"
    since = next(event.at for event in made.recorder.events if isinstance(event, WaveStarted))
    over = f"; the patience is over at {second(since + PATIENCE)}, then they are skipped"
    assert f"2 wait for their notebook to stop{lease}{over}" in held(made)
    assert f"1 wait for their notebook to stop{over}" in held(made)
    (until,) = {event.until for event in made.recorder.events if isinstance(event, Held) and event.text}
    assert until == pytest.approx(since + PATIENCE, abs=0.1)


async def test_who_did_not_stop_in_time_is_skipped_and_never_touched(bench: Making) -> None:
    made = bench(2, **NEXT_STOP)
    end = await go(made, None, (1000.0, person(made, 0, Status.STOPPED)))
    assert end is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED]
    assert made.ended[1].reason == "did not stop by itself within 6h"
    assert made.log.words("send") == ["send put nb-0"]
    assert made.ended[1].at - made.recorder.events[0].at == pytest.approx(PATIENCE, abs=2)


async def test_who_did_not_stop_in_time_is_forced_where_the_rollout_says_so(bench: Making) -> None:
    made = bench(1, **NEXT_STOP, otherwise=FORCE)
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert made.ended[0].reason == "stopped by force: the patience was over"
    assert any(text.endswith(", then they are stopped by force") for text in held(made))
    assert made.at("send stop")[0] == pytest.approx(PATIENCE, abs=5)
    assert made.cloud.read("nb-0").status is Status.RUNNING


def started_at_the_last_look(made: Any) -> None:
    """nb-0 stands still; its person starts it right after our first look at it."""
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], status=Status.STOPPED)
    looks = made.cloud.look

    async def one_look_and_started(key: str, rank: Any) -> Any:
        seen = await looks(key, rank)
        if made.log.count("look") == 1:
            made.cloud.notebooks[key] = structs.replace(made.cloud.notebooks[key], status=Status.RUNNING)
        return seen

    made.cloud.look = one_look_and_started


async def test_one_that_runs_again_at_the_last_look_waits_again_and_nothing_is_written(
    bench: Making,
) -> None:
    made = bench(1, **NEXT_STOP)
    started_at_the_last_look(made)
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.SKIPPED]
    ends = [event for event in made.recorder.events if isinstance(event, Ended)]
    assert [end.outcome for end in ends] == [Outcome.NOT_STARTED, Outcome.SKIPPED]
    assert made.log.count("send") == 0


async def test_a_wave_is_not_over_while_one_of_it_waits_again(bench: Making) -> None:
    made = bench(2, waves=(1, 2), **NEXT_STOP)
    started_at_the_last_look(made)
    await go(made)
    second = next(
        event for event in made.recorder.events if isinstance(event, WaveStarted) and event.wave == 2
    )
    assert second.at - made.recorder.events[0].at == pytest.approx(PATIENCE, abs=5)
    assert made.outcomes == [Outcome.SKIPPED] * 2


async def test_a_list_that_tells_old_news_is_not_asked_in_a_hurry(bench: Making) -> None:
    made = bench(60, **NEXT_STOP, deadline=HOUR)

    async def stale(statuses: Any, rank: Any = None) -> list[str]:
        await anyio.sleep(0.1)
        made.log.add("poll")
        return ["nb-7"]

    made.cloud.poll = stale
    await go(made)
    assert made.log.count("poll") <= HOUR / 60 + 2
    assert made.log.count("look") <= HOUR / 60 + 2
    assert made.log.count("send") == 0


async def test_waiting_takes_no_slot_and_no_seat_and_lets_all_others_go(bench: Making) -> None:
    made = bench(6, **NEXT_STOP, concurrency=1, max_unavailable={"fleet": Share(1)})
    gentle = rename(made.plan.changes[5])
    made.plan = seal(replace(made.plan, changes=(*made.plan.changes[:5], gentle)))
    assert await go(made, None, (5000.0, person(made, 3, Status.STOPPED))) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.SKIPPED] * 3 + [Outcome.CHANGED, Outcome.SKIPPED, Outcome.CHANGED]
    assert made.log.words("send") == ["send put nb-5", "send put nb-3"]
    assert made.at("send put nb-5")[0] < 10


async def test_a_change_that_turns_out_to_need_a_stop_waits_for_one(bench: Making) -> None:
    """A rename needs no restart by the plan; the cloud refuses it while the notebook runs."""
    made = bench(1, **NEXT_STOP)
    made.plan = seal(replace(made.plan, changes=(rename(made.plan.changes[0]),)))
    made.cloud.strict = True
    assert await go(made, None, (5000.0, person(made, 0, Status.STOPPED))) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert made.log.words("send") == ["send put nb-0"] * 2
    assert made.at("send put nb-0")[1] > 5000
    assert stops(made) == []


async def test_the_end_of_a_countdown_is_when_its_notebook_is_looked_at(bench: Making) -> None:
    made = bench(60, **NEXT_STOP)  # one list a round, of about 60 s
    ends = 7777.0
    lease = Lease(enable=True, create_at=int(EPOCH * 1000), duration=int(ends * 1000))
    made.plan = seal(
        replace(made.plan, changes=(replace(made.plan.changes[0], lease=lease), *made.plan.changes[1:]))
    )
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], lease=lease)
    await go(made, None, (ends, person(made, 0, Status.STOPPED)), (9000.0, draining(made)))
    looks = [at for at in made.at("look nb-0") if at > ends]
    assert looks[0] - ends < 10
    assert made.outcomes[0] is Outcome.CHANGED
    assert made.at("send put nb-0")[0] - ends < 30 + 25  # it takes 30 s to stop


async def test_looking_after_those_who_wait_is_modest(bench: Making) -> None:
    made = bench(200, **NEXT_STOP)
    await go(made, None)
    assert made.log.count("poll") <= PATIENCE / 60 + 10
    assert made.log.count("look") <= 200 * 12  # at the end of their leases


async def test_whoever_stops_a_run_need_not_wait_for_anybody(bench: Making) -> None:
    made = bench(3, **NEXT_STOP)
    began = made.clock.monotonic()
    assert await go(made, None, (500.0, draining(made))) is RunEnd.INTERRUPTED
    assert made.clock.monotonic() - began < 502
    assert made.outcomes == []


async def test_nobody_begins_while_the_run_is_paused(bench: Making) -> None:
    made = bench(1, **NEXT_STOP)
    await go(
        made,
        None,
        (100.0, made.control.pause),
        (200.0, person(made, 0, Status.STOPPED)),
        (4000.0, made.control.release),
    )
    assert made.at("send put")[0] == pytest.approx(4000, abs=10)


async def test_the_deadline_of_the_run_beats_the_patience(bench: Making) -> None:
    made = bench(2, **NEXT_STOP, otherwise=FORCE, deadline=HOUR)
    assert await go(made) is RunEnd.HALTED
    assert stops(made) == []
    assert made.clock.monotonic() < HOUR + 10


async def test_lost_credentials_end_a_run_that_only_waits(bench: Making) -> None:
    made = bench(3, **NEXT_STOP)
    made.cloud.refuse["poll"] = [CallError(Meaning.UNAUTHENTICATED, "expired")]
    assert await go(made) is RunEnd.LOCKED_OUT


async def test_a_poll_that_fails_in_passing_is_repeated(bench: Making) -> None:
    made = bench(3, **NEXT_STOP)
    made.cloud.refuse["poll"] = [CallError(Meaning.SERVER, "oops")] * 3
    assert await go(made, None, (100.0, person(made, 1, Status.STOPPED))) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.SKIPPED, Outcome.CHANGED, Outcome.SKIPPED]


async def test_a_run_that_is_taken_up_again_has_what_is_left_of_its_patience(bench: Making) -> None:
    made = bench(2, **NEXT_STOP)
    await go(made, None, (1000.0, person(made, 0, Status.STOPPED)), (PATIENCE / 2, draining(made)))
    assert made.outcomes == [Outcome.CHANGED]
    state = fold(made.plan, made.recorder.events)
    made.control = Control()
    end = await run_plan(
        made.plan,
        "run",
        {"lab-a": made.cloud},
        made.tape,
        made.clock,
        made.control,
        {"lab-a": 20.0},
        state.earlier(),
    )
    assert end is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED]
    assert made.ended[1].at - EPOCH == pytest.approx(PATIENCE, abs=5)
    again = fold(made.plan, made.recorder.events)
    assert [row.outcome for row in again.rows()] == [Outcome.CHANGED, Outcome.SKIPPED]
    assert [row.run_state_before for row in again.rows()] == ["STOPPED", "RUNNING"]


async def test_a_change_that_was_killed_midway_comes_home_to_where_its_person_left_it(bench: Making) -> None:
    made = bench(1, **NEXT_STOP)
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], status=Status.STOPPED)
    with anyio.move_on_after(4.0):  # its PUT was sent
        await go(made)
    assert made.log.words("send") == ["send put nb-0"]
    state = fold(made.plan, made.recorder.events)
    made.control = Control()
    polls = {"lab-a": 20.0}
    clouds = {"lab-a": made.cloud}
    await run_plan(made.plan, "run", clouds, made.tape, made.clock, made.control, polls, state.earlier())
    assert made.log.words("send") == ["send put nb-0"]
    assert fold(made.plan, made.recorder.events).rows()[0].outcome is Outcome.CHANGED
    assert made.cloud.read("nb-0").status is Status.STOPPED


# --- idle ------------------------------------------------------------------------------------------------

IDLE = {"when": Moment.IDLE, "patience": PATIENCE}


async def test_only_who_is_idle_is_stopped(bench: Making) -> None:
    made, some = bench(3, **IDLE), Somebody()
    some.idles = {"nb-0": True, "nb-1": False, "nb-2": None}
    some.whys = {"nb-1": "GPU 43 % > 1 % in the last 55m", "nb-2": "no data of GPU from AOM"}
    assert await go(made, some) is RunEnd.FINISHED
    assert stops(made) == ["nb-0"]
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED, Outcome.SKIPPED]
    assert made.ended[0].reason == "it was idle when it was stopped"
    assert made.ended[1].reason == "did not become idle or stop within 6h: GPU 43 % > 1 % in the last 55m"
    assert made.ended[2].reason == "did not become idle or stop within 6h: no data of GPU from AOM"
    assert some.asked <= PATIENCE / 300 + 2


async def test_one_that_is_busy_again_when_its_turn_comes_waits_again(bench: Making) -> None:
    made, some = bench(3, **IDLE, concurrency=1), Somebody()
    some.idles = {"nb-0": True, "nb-1": True, "nb-2": True}
    busy = (250.0, lambda: some.idles.update({"nb-2": False}))
    assert await go(made, some, busy) is RunEnd.FINISHED
    assert stops(made) == ["nb-0", "nb-1"]
    assert made.outcomes == [Outcome.CHANGED, Outcome.CHANGED, Outcome.SKIPPED]


async def test_who_waits_to_be_idle_may_as_well_stop_by_himself(bench: Making) -> None:
    made = bench(1, **IDLE)
    await go(made, None, (2000.0, person(made, 0, Status.STOPPED)))
    assert made.outcomes == [Outcome.CHANGED]
    assert stops(made) == []


async def test_an_old_reading_of_idleness_counts_for_nothing(bench: Making) -> None:
    made, some = bench(1, **IDLE), Somebody()
    some.idles = {"nb-0": True}
    made.control.pause()
    fails = some.use

    async def fail_later(ids: Collection[str]) -> Mapping[str, Use]:
        if anyio.current_time() > 10:
            raise CallError(Meaning.SERVER, "no metrics")
        return await fails(ids)

    some.use = fail_later  # type: ignore[method-assign]
    await go(made, some, (5000.0, made.control.release))
    assert stops(made) == []
    assert made.outcomes == [Outcome.SKIPPED]


async def test_busy_and_unknown_are_told_apart_while_they_wait_and_when_the_run_is_over(
    bench: Making,
) -> None:
    made, some = bench(3, **IDLE), Somebody()
    ends = EPOCH + 7200.0
    lease = Lease(enable=True, create_at=int(EPOCH * 1000), duration=7_200_000)
    changes = [replace(change, lease=lease if change.item == 1 else None) for change in made.plan.changes]
    made.plan = seal(replace(made.plan, changes=tuple(changes)))
    some.idles = {"nb-1": False, "nb-2": None}
    some.whys = {"nb-1": "GPU 43 % > 1 % in the last 55m", "nb-0": "no data of CPU", "nb-2": "no data of CPU"}
    await go(made, some, (900.0, draining(made)))
    told = next(text for text in held(made) if "busy" in text)
    assert told.startswith("3 wait for their notebook to be idle: 1 busy, 2 without data; the next lease")
    assert f"lease ends at {moment(ends)}; the patience is over at " in told
    assert "busy: GPU 43 % > 1 % in the last 55m; " in told
    assert "without data: no data of CPU, as of " in told
    waiting = fold(made.plan, [event for event in made.recorder.events if not isinstance(event, RunEnded)])
    rows = {row.id: row for row in waiting.rows()}
    assert rows["nb-1"].outcome is None
    assert rows["nb-1"].reason.startswith(
        "waits for its notebook to be idle: GPU 43 % > 1 % in the last 55m, as"
    )
    assert rows["nb-1"].reason.endswith(f"; its lease ends at {moment(ends)}")
    assert "lease" not in rows["nb-2"].reason
    over = {row.id: row for row in fold(made.plan, made.recorder.events).rows()}
    assert over["nb-2"].outcome is Outcome.NOT_STARTED
    assert "asked to; waits for its notebook to be idle: no data of CPU, as of " in over["nb-2"].reason


@pytest.mark.parametrize("idle", [False, None])
async def test_a_forced_stop_tells_what_was_known_of_the_use_and_claims_no_more(
    bench: Making, idle: bool | None
) -> None:
    made, some = bench(1, **IDLE, otherwise=FORCE), Somebody()
    some.idles, some.whys = {"nb-0": idle}, {"nb-0": "what was found"}
    await go(made, some)
    (row,) = fold(made.plan, made.recorder.events).rows()
    assert row.outcome is Outcome.CHANGED
    told = "stopped by force: the patience was over; last known use: what was found, as of "
    assert row.reason.startswith(told)


async def test_a_number_that_changes_is_no_news(bench: Making) -> None:
    made, some = bench(2, **IDLE), Somebody()
    some.idles = {"nb-0": False, "nb-1": False}
    answer = some.use

    async def other_numbers(ids: Collection[str]) -> Mapping[str, Use]:
        some.whys = dict.fromkeys(ids, f"CPU {some.asked} % > 5 %")
        return await answer(ids)

    some.use = other_numbers  # type: ignore[method-assign]
    await go(made, some, (20_000.0, draining(made)))
    assert some.asked > 50
    used = [event for event in made.recorder.events if isinstance(event, Used)]
    assert [len(event.found) for event in used] == [2]
    assert sum("idle" in text for text in held(made)) <= 3


async def test_metrics_that_do_not_answer_are_told_of_those_who_wait(bench: Making) -> None:
    made, some = bench(1, **IDLE), Somebody()

    async def fail(ids: Collection[str]) -> Mapping[str, Use]:
        raise CallError(Meaning.SERVER, "usage cannot be read: HTTP 500")

    some.use = fail  # type: ignore[method-assign]
    assert await go(made, some) is RunEnd.FINISHED
    assert made.ended[0].reason == "did not become idle or stop within 6h: usage cannot be read: HTTP 500"
