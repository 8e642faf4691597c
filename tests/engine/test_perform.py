"""One change in a real run: the order of a write, what a wait costs, and what ends it early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.calls import Rank
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Answered, Intended, Late, Outcome, Saw, Step
from fleet.core.notebook import Image, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase
from fleet.core.planning.plan_file import seal
from tests.virtual import EPOCH, IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]


@pytest.mark.row(48, 54)
async def test_a_write_waits_for_its_turn_its_fence_look_and_its_intent_on_disk(bench: Making) -> None:
    made = bench()
    await made.run()
    first_stop = made.log.words().index("send stop nb-0")
    assert made.log.words()[: first_stop + 1] == [
        "committed run-started",
        "turn",
        "look nb-0",
        "committed intended stop",
        "send stop nb-0",
    ]


async def test_a_change_that_has_sent_nothing_goes_last_and_one_whose_notebook_is_stopped_first(
    bench: Making,
) -> None:
    made = bench()
    await made.run()
    assert [rank for rank, _ in groupby(made.cloud.ranks)] == [
        ("turn", Rank.NEW),
        ("look", Rank.NEW),
        ("stop", Rank.NEW),
        ("look", Rank.AWAY),
        ("turn", Rank.AWAY),
        ("put", Rank.AWAY),
        ("look", Rank.AWAY),
        ("turn", Rank.AWAY),
        ("start", Rank.AWAY),
        ("look", Rank.UNDER_WAY),
    ]


async def test_what_was_begun_goes_before_what_is_new_also_where_nothing_is_stopped(bench: Making) -> None:
    made = bench()
    made.cloud.move("nb-0", Status.STOPPED, 0.0, Status.STOPPED)
    made.plan = seal(replace(made.plan, changes=(replace(made.plan.changes[0], run_state=Status.STOPPED),)))
    await made.run()
    assert made.outcomes == [Outcome.CHANGED]
    assert made.cloud.ranks == [
        ("turn", Rank.NEW),
        ("look", Rank.NEW),
        ("put", Rank.NEW),
        ("look", Rank.UNDER_WAY),
    ]


async def test_every_write_follows_its_own_turn_and_its_own_intent(bench: Making) -> None:
    made = bench()
    await made.run()
    assert made.log.words("turn", "committed", "send") == [
        "committed run-started",
        "turn",
        "committed intended stop",
        "send stop nb-0",
        "turn",
        "committed intended put",
        "send put nb-0",
        "turn",
        "committed intended start",
        "send start nb-0",
        "committed run-ended",
    ]


async def test_a_changed_notebook_is_looked_at_four_times(bench: Making) -> None:
    """Fence, stopped, read-back and running again; who is still on the way, the poll tells of all at once."""
    made = bench(40, concurrency=40)
    await made.run()
    assert made.outcomes == [Outcome.CHANGED] * 40
    assert made.log.count("look") == 4 * 40
    assert made.log.count("poll") < 40


async def test_events_of_a_change_carry_what_was_sent_and_what_it_took(bench: Making) -> None:
    made = bench()
    await made.run()
    events = made.recorder.events
    intents = [event for event in events if isinstance(event, Intended)]
    assert [(event.step, event.attempt) for event in intents] == [
        (Step.STOP, 1),
        (Step.PUT, 1),
        (Step.START, 1),
    ]
    assert intents[1].body == {"image_id": "new"}
    assert [event.request_id for event in events if isinstance(event, Answered)] == ["request"] * 3
    looks = [event for event in events if isinstance(event, Saw)]
    assert {(event.request_id, event.sends) for event in looks} == {("request", 1)}
    assert looks[-1].sight.status is Status.RUNNING


@pytest.mark.row(12)
@pytest.mark.parametrize("step", ["stop", "put", "start"])
async def test_a_lost_answer_is_looked_for_and_the_write_sent_once_more(
    bench: Making, call_error: Failing, step: str
) -> None:
    made = bench()
    made.cloud.refuse[step] = [call_error(Meaning.LOST)]
    await made.run()
    assert made.outcomes == [Outcome.CHANGED]
    assert made.log.words().count(f"send {step} nb-0") == 2
    first, second = made.at(f"send {step}")
    assert sum(first < when < second for when in made.at("look")) == 3
    assert second - first > 20


async def test_a_failing_look_is_repeated_until_the_cloud_answers(bench: Making, call_error: Failing) -> None:
    made = bench()
    made.cloud.refuse["look"] = [call_error(Meaning.UNREACHABLE) for _ in range(9)]
    await made.run()
    assert made.outcomes == [Outcome.CHANGED]


async def test_a_look_that_can_never_succeed_ends_the_change(bench: Making, call_error: Failing) -> None:
    made = bench()
    made.cloud.refuse["look"] = [call_error(Meaning.FORBIDDEN)]
    await made.run()
    assert made.outcomes == [Outcome.FAILED]
    assert made.log.count("send") == 0


@pytest.mark.row(31)
async def test_a_deleted_notebook_is_gone(bench: Making, call_error: Failing) -> None:
    made = bench()
    made.cloud.refuse["look"] = [call_error(Meaning.GONE)]
    await made.run()
    assert made.outcomes == [Outcome.GONE]


async def test_a_notebook_that_the_list_does_not_show_is_looked_at_itself_and_waits_on(
    bench: Making,
) -> None:
    made = bench(4, concurrency=4)
    made.cloud.left_out.add("nb-0")
    await made.run()
    assert made.outcomes == [Outcome.CHANGED] * 4
    looks = [(event.item, event.sight.status) for event in made.recorder.events if isinstance(event, Saw)]
    in_vain = {look for look in looks if look[1].heading is not None}
    assert in_vain == {(0, Status.STOPPING), (0, Status.STARTING)}
    assert sorted(made.log.words("send")) == [
        f"send {step} nb-{number}" for step in ("put", "start", "stop") for number in range(4)
    ]


async def test_one_failing_look_after_a_wait_does_not_give_a_debt_up(
    bench: Making, call_error: Failing
) -> None:
    made = bench()

    def shake() -> None:
        made.cloud.refuse["look"] = [call_error(Meaning.SERVER)]

    await made.run_while((10.0, shake))
    assert made.outcomes == [Outcome.CHANGED]
    assert made.cloud.refuse["look"] == []


async def test_a_turn_is_not_kept_through_a_wait(bench: Making) -> None:
    """The fence finds the notebook on its way; when it has arrived, the write needs a turn of its own."""
    made = bench()
    made.cloud.move("nb-0", Status.SNAPSHOTTING, 300.0, Status.RUNNING)
    await made.run()
    assert made.outcomes == [Outcome.CHANGED]
    before_stop = made.log.words()[: made.log.words().index("send stop nb-0")]
    assert before_stop[-3:] == ["turn", "look nb-0", "committed intended stop"]
    assert before_stop.count("turn") == 2


async def test_a_change_that_takes_too_long_goes_home_and_a_second_time_ends_stranded(bench: Making) -> None:
    made = bench(change_deadline=300.0)
    hang = made.cloud.move

    def never_stops(key: str, passing: Status, seconds: float, then: Status) -> None:
        hang(key, passing, 1e6, then)

    made.cloud.move = never_stops
    await made.run()
    late = [event.at for event in made.recorder.events if isinstance(event, Late)]
    assert len(late) == 2
    assert late[1] - late[0] == pytest.approx(300.0, abs=0.2)
    assert made.at("look")[-1] == pytest.approx(made.ended[0].at - EPOCH, abs=0.01)  # its last act
    assert made.outcomes == [Outcome.STRANDED]
    assert made.ended[0].debt
    assert made.ended[0].fix.startswith("fleet start --scope lab-a nb-0")


async def test_a_pause_takes_nothing_from_the_time_that_a_change_has(bench: Making) -> None:
    made = bench(1, change_deadline=600.0)
    pause = (1.05, made.control.pause)  # it looks, and has sent nothing
    await made.run_while(pause, (5000.0, made.control.release))
    assert (made.outcomes, min(made.at("send stop")) > 5000.0) == ([Outcome.CHANGED], True)


async def test_a_cloud_that_stays_silent_before_the_first_write_costs_only_time(
    bench: Making, call_error: Failing
) -> None:
    made = bench(change_deadline=60.0)
    made.cloud.refuse["look"] = [call_error(Meaning.UNREACHABLE) for _ in range(99)]
    await made.run()
    assert made.outcomes == [Outcome.SKIPPED]
    assert "it was unreachable" in made.ended[0].reason


async def test_what_a_refusal_teaches_of_a_field_serves_the_whole_run(bench: Making) -> None:
    """The first change is told that the name belongs to a stopped notebook; the second does not ask."""
    made = bench(2, concurrency=1)
    renames = tuple(
        replace(change, phases=(Phase(When.ANY, {"name": "b"}),), before={"name": ""}, after={"name": "b"})
        for change in made.plan.changes
    )
    made.plan = seal(replace(made.plan, changes=renames))
    made.cloud.strict = True
    await made.run()
    assert made.outcomes == [Outcome.CHANGED, Outcome.CHANGED]
    sends = [word.split()[1] for word in made.log.words("send")]
    assert sends == ["put", "stop", "put", "start", "stop", "put", "start"]


@pytest.mark.row(38, 54)
async def test_what_a_person_did_before_the_fence_is_never_overwritten(bench: Making) -> None:
    made = bench()
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], image=Image("theirs"))
    await made.run()
    assert made.outcomes == [Outcome.DRIFTED]
    assert made.log.count("send") == 0


async def test_whoever_waits_until_the_time_is_up_tells_why_the_cloud_could_not_be_asked(
    bench: Making, call_error: Failing
) -> None:
    made = bench(5, change_deadline=300.0)
    made.cloud.refuse["poll"] += [call_error(Meaning.UNREACHABLE)] * 1000
    hang = made.cloud.move
    made.cloud.move = lambda key, passing, seconds, then: hang(key, passing, 1e6, then)
    await made.run()
    late = [event.reason for event in made.recorder.events if isinstance(event, Late)]
    assert set(late) == {"its time was up (it was unreachable)"}
    assert made.ended[0].reason.endswith("its time was up (it was unreachable), still in stage: stopping")


@pytest.mark.parametrize("meaning", [Meaning.FORBIDDEN, Meaning.ODD, Meaning.SERVER, Meaning.WRONG_ADDRESS])
@pytest.mark.parametrize("count", [2, 20])
async def test_lists_that_never_succeed_leave_nobody_stopped(
    bench: Making, call_error: Failing, meaning: Meaning, count: int
) -> None:
    made = bench(count)
    made.cloud.refuse["poll"] += [call_error(meaning)] * 1000
    await made.run()
    assert made.outcomes == [Outcome.CHANGED] * count
    assert made.clock.monotonic() < 300.0


async def test_before_the_time_is_up_a_look_finds_who_is_ready_whatever_lists_show(bench: Making) -> None:
    made = bench(5, change_deadline=600.0)

    async def shows_everyone_for_ever(statuses: object) -> list[str]:
        await anyio.sleep(0.1)
        return list(made.cloud.notebooks)

    made.cloud.poll = shows_everyone_for_ever
    await made.run()
    assert {row.status for row in made.cloud.notebooks.values()} == {Status.RUNNING}
    assert not any(ended.debt for ended in made.ended.values())


async def test_a_start_whose_answer_comes_after_the_time_is_up_is_looked_at_first(bench: Making) -> None:
    made = bench(change_deadline=300.0)
    start = made.cloud.start

    async def answers_late(*words: Any) -> Any:
        receipt = await start(*words)
        await anyio.sleep(400.0)
        return receipt

    made.cloud.start = answers_late
    await made.run()
    assert made.outcomes == [Outcome.CHANGED]


async def test_looks_that_are_not_answered_are_repeated_less_and_less_often(
    bench: Making, call_error: Failing
) -> None:
    made = bench(change_deadline=3600.0)
    made.cloud.refuse["look"] = [call_error(Meaning.UNREACHABLE) for _ in range(10)]
    await made.run()
    looks = made.at("look")[:11]
    gaps = [round(after - before) for before, after in pairwise(looks)]
    assert gaps == [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]
    assert made.outcomes == [Outcome.CHANGED]


async def test_a_poll_that_succeeds_takes_the_trouble_back(bench: Making, call_error: Failing) -> None:
    made = bench(5, change_deadline=300.0)
    made.cloud.refuse["poll"] += [call_error(Meaning.UNREACHABLE)]
    hang = made.cloud.move
    made.cloud.move = lambda key, passing, seconds, then: hang(key, passing, 1e6, then)
    await made.run()
    late = {event.reason for event in made.recorder.events if isinstance(event, Late)}
    assert (made.log.count("poll") > 1, late) == (True, {"its time was up"})
