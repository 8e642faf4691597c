"""A wave that proved nothing is no reason to go on with a larger one: some of that stand in for it first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.core.errors import CallError, Meaning
from fleet.core.events import Began, Event, Outcome, RunEnd, RunEnded, WaveEnded, WaveStarted
from fleet.core.fold import fold
from fleet.core.notebook import Image, Status
from fleet.core.rollout import GateCommand
from fleet.core.scheduling.timing import Memory, Moment, Otherwise
from fleet.core.wave_gate import Check, Finding
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.engine.persons import held
from tests.plans import make_change, make_plan
from tests.virtual import IN_MEMORY, run_while

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]
WAVES = (1, 2, 2, 2, 2, 2)


def edited(made: Any, *numbers: int) -> None:
    """Somebody gave these another image since the plan."""
    for number in numbers:
        key = f"nb-{number}"
        made.cloud.notebooks[key] = replace(made.cloud.notebooks[key], image=Image("theirs"))


def marks(made: Any) -> list[tuple[str, int]]:
    """Waves and changes as they began and waves as they ended, in order."""
    kinds = WaveStarted | WaveEnded | Began
    found = [event for event in made.recorder.events if isinstance(event, kinds)]
    return [("item", event.item) if isinstance(event, Began) else (event.kind, event.wave) for event in found]


def began(made: Any) -> dict[int, float]:
    return {event.item: event.at for event in made.recorder.events if isinstance(event, Began)}


async def taken_up(made: Any, events: Collection[Event], claimed: Mapping[int, str] | None = None) -> RunEnd:
    """A new process goes on where the journal ends with `events`."""
    state = fold(made.plan, events)
    made.recorder.events[:] = events
    made.control = Control()
    return await run_plan(
        made.plan, "run", {"lab-a": made.cloud}, made.tape, made.clock, made.control, {"lab-a": 20.0},
        state.earlier() if events else None, claimed,
    )  # fmt: skip


async def test_after_a_canary_that_drifted_another_one_goes_alone_and_then_the_rest(bench: Making) -> None:
    made = bench(6, waves=WAVES, soak=1000.0)
    edited(made, 0)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.DRIFTED] + [Outcome.CHANGED] * 5
    assert marks(made) == [
        ("wave-started", 1), ("item", 0), ("wave-ended", 1),
        ("wave-started", 1), ("item", 1), ("wave-ended", 1),
        ("wave-started", 2), ("item", 2), ("item", 3), ("item", 4), ("item", 5), ("wave-ended", 2),
    ]  # fmt: skip
    assert began(made)[1] == pytest.approx(made.ended[0].at + 1000.0, abs=5)
    assert began(made)[2] == pytest.approx(made.ended[1].at + 1000.0, abs=5)
    assert held(made)[0] == "it proved nothing: 1 of the next wave stand in for it"


def as_wanted(made: Any) -> None:
    made.cloud.notebooks["nb-0"] = replace(made.cloud.notebooks["nb-0"], image=Image("new"))


async def test_a_canary_that_was_as_planned_already_proves_that_the_rest_may_go(bench: Making) -> None:
    made = bench(6, waves=WAVES)
    as_wanted(made)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.UNCHANGED] + [Outcome.CHANGED] * 5
    assert marks(made)[:5] == [
        ("wave-started", 1), ("item", 0), ("wave-ended", 1), ("wave-started", 2), ("item", 1)
    ]  # fmt: skip


async def test_as_many_stand_in_as_the_wave_had_and_again_until_one_proves_something(bench: Making) -> None:
    made = bench(9, waves=(1, 1, 2, 2, 2, 2, 2, 2, 2))
    edited(made, 0, 1, 2, 3)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.DRIFTED] * 4 + [Outcome.CHANGED] * 5
    starts = began(made)
    assert starts[4] == starts[5] < made.ended[4].at <= starts[6] == starts[8]


async def test_where_nothing_can_be_proven_every_change_is_looked_at_and_none_in_company(
    bench: Making,
) -> None:
    made = bench(5, waves=(1, 2, 2, 3, 3))
    edited(made, *range(5))
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.DRIFTED] * 5
    ends = [made.ended[item].at for item in range(5)]
    assert all(began(made)[item] >= ends[item - 1] for item in range(1, 5))


async def test_a_wave_that_another_run_holds_proves_nothing(bench: Making) -> None:
    made = bench(6, waves=WAVES)
    assert await taken_up(made, [], claimed={0: "claimed by run x"}) is RunEnd.HALTED
    assert made.outcomes == [Outcome.NOT_STARTED] + [Outcome.CHANGED] * 5
    assert began(made)[2] >= made.ended[1].at


async def test_a_notebook_that_cannot_be_changed_now_proves_nothing(bench: Making) -> None:
    made = bench(6, waves=WAVES)
    made.cloud.notebooks["nb-0"] = replace(made.cloud.notebooks["nb-0"], status=Status.FROZEN)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.SKIPPED] + [Outcome.CHANGED] * 5
    assert began(made)[2] >= made.ended[1].at


@pytest.mark.parametrize("go", [True, False])
async def test_one_that_stands_in_is_of_the_next_wave_and_begins_when_the_gate_lets_that(
    bench: Making, go: bool
) -> None:
    made, asked = bench(6, waves=WAVES, gate=GateCommand(("check",))), list[tuple[str, int]]()
    edited(made, 0)

    async def check(gate: GateCommand, environment: Mapping[str, str]) -> Check:
        asked.append((environment["FLEET_WAVE"], len(began(made))))
        return Check(Finding.GO if go else Finding.STOP, "as it is")

    end = await run_plan(
        made.plan, "run", {"lab-a": made.cloud}, made.tape, made.clock, made.control, {"lab-a": 20.0},
        check=check,
    )  # fmt: skip
    assert end is (RunEnd.FINISHED if go else RunEnd.HALTED)
    assert asked == ([("1", 1), ("1", 2)] if go else [("1", 1)])
    assert len(made.outcomes) == (6 if go else 1)


async def test_one_that_stands_in_and_fails_holds_back_all_others(bench: Making, call_error: Failing) -> None:
    made = bench(6, waves=WAVES)
    edited(made, 0)
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID)]
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.DRIFTED, Outcome.FAILED]
    assert made.recorder.events[-1].reason == "none of the wave was changed, 1 failed"


async def test_a_wave_that_is_no_larger_than_the_one_that_proved_nothing_goes_as_planned(
    bench: Making,
) -> None:
    made = bench(4, waves=(1, 1, 2, 2))
    edited(made, 0, 1)
    assert await made.run() is RunEnd.FINISHED
    assert marks(made)[4:6] == [("wave-started", 2), ("item", 2)]
    assert began(made)[2] == began(made)[3]


@pytest.mark.parametrize("dies", [0.5, 100.0, 400.0, 1200.0])
async def test_a_process_that_dies_while_one_stands_in_changes_nothing_of_it(
    bench: Making, dies: float
) -> None:
    made, kept = bench(6, waves=WAVES, soak=1000.0), list[Event]()
    edited(made, 0)

    def die() -> None:
        kept.extend(made.recorder.events)
        made.control.drain(RunEnd.INTERRUPTED, "enough")

    await made.run_while((dies, die))
    events = [event for event in made.recorder.events if not isinstance(event, RunEnded)]
    assert await taken_up(made, events if dies > 400.0 else kept) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.DRIFTED] + [Outcome.CHANGED] * 5
    assert min(began(made)[item] for item in range(2, 6)) >= made.ended[1].at + 1000.0


async def test_a_soak_counts_from_the_last_that_stood_in_not_from_an_earlier_verdict(bench: Making) -> None:
    made = bench(6, waves=WAVES, soak=1000.0)
    edited(made, 0)
    await made.run_while((1.05, lambda: made.control.drain(RunEnd.INTERRUPTED, "enough")))
    assert marks(made) == [("wave-started", 1), ("item", 0), ("wave-ended", 1)]
    await taken_up(made, list(made.recorder.events))
    assert fold(made.plan, made.recorder.events).waves_ended[1] >= made.ended[1].at


@pytest.mark.parametrize("dies", [False, True])
async def test_one_that_stood_in_counts_for_that_wave_also_when_the_run_is_taken_up_in_the_next(
    bench: Making, call_error: Failing, dies: bool
) -> None:
    made, kept = bench(8, waves=(1, 2, 2, 2, 3, 3, 3, 3), concurrency=1), list[Event]()
    edited(made, 0)
    put = made.cloud.put

    async def refused_of_two(key: str, body: Any, turn: Any) -> Any:
        if key in ("nb-2", "nb-3"):
            raise call_error(Meaning.INVALID)
        return await put(key, body, turn)

    def die() -> None:
        kept.extend(made.recorder.events)
        made.control.drain(RunEnd.INTERRUPTED, "enough")

    made.cloud.put = refused_of_two
    if dies:
        await made.run_while((450.0, die))
        assert 2 in fold(made.plan, kept).memory.began
        assert await taken_up(made, kept) is RunEnd.HALTED
    else:
        assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.DRIFTED, Outcome.CHANGED, Outcome.FAILED, Outcome.FAILED]
    assert made.recorder.events[-1].reason == "none of the wave was changed, 2 failed"


async def test_the_patience_of_one_that_stands_in_counts_from_then_however_often_the_run_is_taken_up(
    bench: Making,
) -> None:
    way = {"when": Moment.NEXT_STOP, "patience": 3600.0, "otherwise": Otherwise.SKIP}
    made = bench(4, waves=(1, 2, 2, 2), **way)
    edited(made, 0)
    made.cloud.notebooks["nb-0"] = replace(made.cloud.notebooks["nb-0"], status=Status.STOPPED)
    kept = list[Event]()

    def die() -> None:
        kept[:] = made.recorder.events
        made.control.drain(RunEnd.INTERRUPTED, "enough")

    await made.run_while((1500.0, die))
    for _ in range(2):
        await run_while(taken_up(made, list(kept)), (1500.0, die))
    assert made.ended[1].reason == "did not stop by itself within 1h"
    assert made.ended[1].at == pytest.approx(made.ended[0].at + 3600.0, abs=5)
    assert 2 not in made.ended


def test_one_that_was_to_stand_in_and_began_with_its_own_wave_counts_for_that() -> None:
    plan = make_plan(*(make_change(item, wave=wave) for item, wave in enumerate((1, 2, 2))))
    events = (WaveStarted(0.0, 1, 1), WaveStarted(5.0, 1, 2, (1, 2)), Began(1, 6.0), WaveStarted(9.0, 2, 1))
    memory = fold(plan, (*events, Began(2, 9.0))).memory
    assert [memory.counts_for(item, 2) for item in (1, 2)] == [1, 2]
    assert Memory().counts_for(1, 2) == 2
