"""Changes that wait for their window, or for their owner's notice: nobody is stopped before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fleet.core.errors import Exit
from fleet.core.events import Began, Held, Noticed, Outcome, RunEnd, RunEnded, WaveStarted
from fleet.core.fold import exit_code, fold
from fleet.core.notebook import Status
from fleet.core.planning.forecast import forecast
from fleet.core.planning.plan import Took
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Share
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.timing import Notice
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.engine.persons import (
    DAY,
    FORCE,
    HOUR,
    NEXT_STOP,
    Making,
    Somebody,
    draining,
    go,
    held,
    leaves,
    person,
    rename,
    stops,
)
from tests.virtual import EPOCH, IN_MEMORY

pytestmark = IN_MEMORY


# --- windows ---------------------------------------------------------------------------------------------

# EPOCH is Sun 2025-06-15 15:06:40 UTC.
NIGHT = Calendar((Window("0 22 * * *", 2 * HOUR),))
OPENS = 6 * HOUR + 53 * 60 + 20  # after EPOCH


async def test_nothing_starts_outside_of_a_window_and_the_rest_waits_for_the_next(bench: Making) -> None:
    made = bench(60, calendar=NIGHT, concurrency=1)
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 60
    began = [event.at for event in made.recorder.events if isinstance(event, Began)]
    assert all(NIGHT.fits(at, 180.0) for at in began)
    assert all(NIGHT.open_until(end.at) is not None for end in made.ended.values())
    assert began[0] - EPOCH == pytest.approx(OPENS, abs=5)
    assert began[-1] - EPOCH > OPENS + DAY
    assert "60 wait for it; opens at 2025-06-15 22:00 UTC" in held(made)


async def test_without_carry_over_a_run_ends_with_its_window(bench: Making) -> None:
    made = bench(60, calendar=NIGHT, concurrency=1, carry_over=False)
    assert await go(made) is RunEnd.HALTED
    assert 0 < len(made.outcomes) < 60
    reason = "the window has no room for the rest, and rollout.carry_over is false"
    assert made.recorder.events[-1].reason == reason
    assert made.recorder.events[-1].at - EPOCH < OPENS + 2 * HOUR


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({**NEXT_STOP, "patience": 3 * DAY}, "stop; the next lease"),
        ({"notice": Notice(("mail",), lead=10 * HOUR)}, "notice to be out long enough"),
    ],
)
async def test_without_carry_over_a_run_ends_with_its_window_whatever_is_waited_for(
    bench: Making, fields: dict[str, Any], word: str
) -> None:
    made = bench(2, calendar=NIGHT, carry_over=False, **fields)
    assert await go(made, Somebody()) is RunEnd.HALTED
    assert made.outcomes == []
    assert made.recorder.events[-1].reason == "the window is over, and rollout.carry_over is false"
    assert made.recorder.events[-1].at - EPOCH == pytest.approx(OPENS + 2 * HOUR, abs=5)
    told = [event for event in made.recorder.events if isinstance(event, Held) and word in event.text]
    assert "patience" not in told[-1].text
    assert told[-1].text.endswith("; the window closes at 2025-06-16 00:00 UTC, then they are left")
    assert told[-1].until == EPOCH + OPENS + 2 * HOUR


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        (
            {"soak": 5 * HOUR},
            "could not begin before the window closes at 2025-06-16 00:00 UTC, then it is left",
        ),
        ({"approve": (1,)}, "waits for approval (fleet approve run)"),
    ],
)
async def test_without_carry_over_a_run_ends_with_its_window_though_the_next_wave_has_not_begun(
    bench: Making, fields: dict[str, Any], word: str
) -> None:
    made = bench(4, calendar=NIGHT, carry_over=False, waves=(1, 2, 2, 2), **fields)
    end = None
    with anyio.move_on_after(3 * DAY):
        end = await go(made)
    assert end is RunEnd.HALTED
    assert made.outcomes == [Outcome.CHANGED]
    assert made.recorder.events[-1].reason == "the window is over, and rollout.carry_over is false"
    assert made.recorder.events[-1].at - EPOCH == pytest.approx(OPENS + 2 * HOUR, abs=5)
    assert [event.wave for event in made.recorder.events if isinstance(event, WaveStarted)] == [1]
    told = [event for event in made.recorder.events if isinstance(event, Held) and event.where == "wave 2"]
    told += [event for event in made.recorder.events if isinstance(event, Held) and event.where == "wave 1"]
    assert told[0].text == word
    assert all(event.until is None or event.until <= EPOCH + OPENS + 2 * HOUR for event in told)


@pytest.mark.parametrize("killed", [True, False])
async def test_without_carry_over_a_run_that_was_killed_has_no_other_window_and_one_that_ended_has(
    bench: Making, killed: bool
) -> None:
    made = bench(60, calendar=NIGHT, concurrency=1, carry_over=False)
    with anyio.move_on_after(OPENS + HOUR if killed else DAY):
        await go(made)
    events = [event for event in made.recorder.events if not (killed and isinstance(event, RunEnded))]
    done = made.outcomes.count(Outcome.CHANGED)
    made.clock.slept += 2 * HOUR
    made.control = Control()
    assert await go(made, earlier=fold(made.plan, events).earlier()) in (RunEnd.HALTED, RunEnd.FINISHED)
    assert (made.clock.wall() - EPOCH < OPENS + 4 * HOUR) is killed
    assert (
        made.outcomes.count(Outcome.CHANGED) <= done + 1
        if killed
        else made.outcomes.count(Outcome.CHANGED) > done + 1
    )


LONG = Took(600.0, 2400.0, 700.0, 2600.0, of=30)


@pytest.mark.parametrize(
    ("number", "slept", "long", "fields", "changed"),
    [
        (60, 0.0, (), {}, None),
        (3, OPENS + 2 * HOUR - 100, (), {}, 0),  # begun late in the window
        (8, OPENS + 2 * HOUR - 2400, (0,), {}, 7),  # 40 minutes are left, and one takes longer
        (2, 0.0, (), {"notice": Notice(("mail",), lead=10 * HOUR)}, 0),  # the window goes by meanwhile
        (4, 0.0, (), {"waves": (1, 2, 2, 2), "soak": 5 * HOUR}, 1),
    ],
)
async def test_without_carry_over_a_run_does_what_its_plan_foretold(
    bench: Making,
    number: int,
    slept: float,
    long: tuple[int, ...],
    fields: dict[str, Any],
    changed: int | None,
) -> None:
    made = bench(number, calendar=NIGHT, concurrency=1, carry_over=False, **fields)
    changes = tuple(
        replace(change, flavor="long") if at in long else change
        for at, change in enumerate(made.plan.changes)
    )
    times = {"long": LONG} if long else {}
    made.plan = seal(replace(made.plan, changes=changes, estimate=replace(made.plan.estimate, times=times)))
    made.clock.slept = slept
    foretold = forecast(made.plan, made.clock.wall())
    assert await go(made, Somebody() if fields else None) is RunEnd.HALTED
    done = made.outcomes.count(Outcome.CHANGED)
    assert done == (pytest.approx(number - foretold.left, rel=0.15) if changed is None else changed)
    assert changed is None or foretold.left == number - changed
    assert (foretold.begins is None) is (changed == 0)


@pytest.mark.parametrize(
    ("slept", "opens"),
    [(0.0, ["7 wait for it; opens at 2025-06-15 22:00 UTC; "]), (OPENS + 60.0, [])],
)
async def test_without_carry_over_who_has_no_room_is_told_to_be_left_and_not_to_wait_for_another_window(
    bench: Making, slept: float, opens: list[str]
) -> None:
    longer = (*NIGHT.windows, Window("0 12 * * WED", DAY))
    made = bench(8, calendar=Calendar(longer), concurrency=1, carry_over=False)
    first, *others = made.plan.changes
    times = {"long": Took(5 * HOUR, 5 * HOUR, HOUR, HOUR, of=30)}
    changes, estimate = (replace(first, flavor="long"), *others), replace(made.plan.estimate, times=times)
    made.plan = seal(replace(made.plan, changes=changes, estimate=estimate))
    made.clock.slept = slept
    assert await go(made) is RunEnd.HALTED
    assert made.outcomes == [Outcome.CHANGED] * 7
    left = (
        "1 has no room in it and is left when it closes at 2025-06-16 00:00 UTC (rollout.carry_over is false)"
    )
    told = [event for event in made.recorder.events if isinstance(event, Held) and event.text]
    assert [event.text for event in told] == [*(f"{words}{left}" for words in opens), left]
    assert {event.until for event in told} == {EPOCH + OPENS + 2 * HOUR}


async def test_the_longer_changes_turn_out_the_earlier_the_last_one_starts(bench: Making) -> None:
    made = bench(40, calendar=NIGHT, concurrency=1)
    starts = made.cloud.start

    async def slowly(key: str, query: Any, turn: Any) -> Any:
        receipt = await starts(key, query, turn)
        made.cloud.due[key] = (made.cloud.due[key][0] + 900.0, Status.RUNNING)
        return receipt

    made.cloud.start = slowly
    await go(made, None, (OPENS + 3 * HOUR, draining(made)))
    assert len(made.outcomes) > 3
    assert all(NIGHT.open_until(end.at) is not None for end in made.ended.values())


async def test_a_deadline_beats_the_window(bench: Making) -> None:
    made = bench(2, calendar=NIGHT, deadline=HOUR)
    assert await go(made) is RunEnd.HALTED
    assert made.log.words("send") == []


async def test_debts_are_paid_whatever_the_window(bench: Making) -> None:
    made = bench(1, calendar=NIGHT)
    with anyio.move_on_after(OPENS + 30.0):
        await go(made)
    assert stops(made) == ["nb-0"]
    await anyio.sleep(3 * HOUR)
    state = fold(made.plan, made.recorder.events)
    made.control, clouds = Control(), {"lab-a": made.cloud}
    polls = {"lab-a": 20.0}
    await run_plan(made.plan, "run", clouds, made.tape, made.clock, made.control, polls, state.earlier())
    assert made.cloud.read("nb-0").status is Status.RUNNING
    assert made.clock.monotonic() - OPENS < 4 * HOUR


# --- notices ---------------------------------------------------------------------------------------------


def notice(**fields: Any) -> dict[str, Any]:
    return {"notice": Notice(("mail",), lead=fields.pop("lead", 2 * HOUR), **fields)}


async def test_every_owner_is_told_once_a_wave_and_the_lead_passes_first(bench: Making) -> None:
    made, some = bench(4, waves=(1, 1, 2, 2), owners=2, **notice()), Somebody()
    assert await go(made, some) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 4
    owners = [message["owner"] for _, message in some.told]  # those of one wave at the same instant
    assert [set(owners[:2]), set(owners[2:])] == [{"owner-0", "owner-1"}] * 2
    assert len(owners) == 4
    assert [at for at, _ in some.told[::2]] == [at for at, _ in some.told[1::2]]
    told = [event.at for event in made.recorder.events if isinstance(event, Noticed)]
    begun = [event.at for event in made.recorder.events if isinstance(event, Began)]
    assert min(begun[:2]) - min(told[:2]) >= 2 * HOUR
    assert min(begun[2:]) - min(told[2:]) >= 2 * HOUR
    first = next(message for _, message in some.told if message["owner"] == "owner-0")
    assert json.loads(json.dumps(first)) == first
    assert [row["id"] for row in first["notebooks"]] == ["nb-0"]
    assert first["notebooks"][0]["changes"] == {"image_id": {"before": "old", "after": "new"}}


async def test_whose_owner_cannot_be_told_is_not_stopped_and_its_row_says_so(bench: Making) -> None:
    made, some = bench(4, owners=2, **notice()), Somebody()
    some.deaf = {"owner-1": "exit code 3"}
    assert await go(made, some) is RunEnd.FINISHED
    assert stops(made) == ["nb-0", "nb-2"]
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED] * 2
    assert made.ended[1].reason == "its owner could not be told: exit code 3"


async def test_owners_who_cannot_be_told_are_no_failures_of_the_run(bench: Making) -> None:
    made, some = bench(12, owners=12, max_failures=Share(1), **notice()), Somebody()
    some.deaf = {f"owner-{number}": "exit code 3" for number in range(11)}
    assert await go(made, some) is RunEnd.FINISHED
    assert (made.outcomes, stops(made)) == ([Outcome.SKIPPED] * 11 + [Outcome.CHANGED], ["nb-11"])
    state = fold(made.plan, made.recorder.events)
    assert exit_code(state.rows(), state.end) is Exit.DONE


async def test_a_run_taken_up_again_counts_the_lead_from_the_notice_that_was_sent(bench: Making) -> None:
    made, some = bench(1, **notice(lead=10 * HOUR)), Somebody()
    with anyio.move_on_after(9 * HOUR):
        await go(made, some)
    state = fold(made.plan, made.recorder.events)
    made.control = Control()
    await go(made, some, earlier=state.earlier())
    assert len(some.told) == 1
    assert made.at("send stop")[0] == pytest.approx(10 * HOUR, abs=10)


async def test_owners_who_asked_for_a_later_time_get_it(bench: Making) -> None:
    made, some = bench(2, owners=2, **notice(postponed="later.csv")), Somebody()
    wish = (HOUR, lambda: some.wishes.update({"owner-1": EPOCH + 4 * HOUR}))
    assert await go(made, some, wish) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert made.at("send stop nb-0")[0] == pytest.approx(2 * HOUR, abs=10)
    assert made.at("send stop nb-1")[0] == pytest.approx(4 * HOUR, abs=10)


async def test_a_wish_beyond_the_deadline_or_the_patience_is_granted_for_good(bench: Making) -> None:
    made, some = bench(1, deadline=10 * HOUR, **notice(postponed="later.csv")), Somebody()
    some.wishes = {"owner-0": EPOCH + 20 * HOUR}
    assert await go(made, some) is RunEnd.FINISHED
    reason = "its owner asked for no stop before 2025-06-16 11:06 UTC, which is after the deadline"
    assert (made.outcomes, made.ended[0].reason) == ([Outcome.SKIPPED], reason)

    made = bench(1, **NEXT_STOP, otherwise=FORCE, **notice(postponed="later.csv"))
    some.wishes = {"owner-0": EPOCH + 9 * DAY}
    assert await go(made, some) is RunEnd.FINISHED
    assert made.ended[0].reason.endswith("after the patience")
    assert stops(made) == []


async def test_while_nobody_can_read_who_asked_for_a_later_time_nobody_is_stopped(bench: Making) -> None:
    made, some = bench(1, **notice(postponed="later.csv")), Somebody()
    some.readable = False
    found = (3 * HOUR, lambda: setattr(some, "readable", True))
    assert await go(made, some, found) is RunEnd.FINISHED
    assert made.at("send stop")[0] == pytest.approx(3 * HOUR, abs=10)
    assert "later.csv cannot be read, so nobody is stopped: gone" in held(made)


async def test_a_change_that_turns_out_to_need_a_stop_waits_for_the_notice(bench: Making) -> None:
    made, some = bench(1, **notice()), Somebody()
    made.plan = seal(replace(made.plan, changes=(rename(made.plan.changes[0]),)))
    made.cloud.strict = True
    assert await go(made, some) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert len(some.told) == 1
    assert made.at("send stop")[0] > 2 * HOUR


async def test_a_notice_for_one_who_is_never_stopped_is_not_sent(bench: Making) -> None:
    made, some = bench(1, **NEXT_STOP, **notice()), Somebody()
    await go(made, some, (100.0, person(made, 0, Status.STOPPED)))
    assert some.told == []
    assert made.outcomes == [Outcome.CHANGED]


async def test_a_wave_with_nobody_to_wait_for_goes_as_ever(bench: Making) -> None:
    made = bench(3)
    assert await go(made) is RunEnd.FINISHED
    assert leaves(made) == {0: None, 1: None, 2: None}
    assert sum(isinstance(event, WaveStarted) for event in made.recorder.events) == 1
