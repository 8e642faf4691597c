"""Pausing, cancelling and widening a run in virtual time: what the engine sends, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.calls import Rank, Reading, Receipt, Turn
from fleet.core.earlier import Earlier
from fleet.core.events import Event, Outcome, RunEnd
from fleet.core.fold import RunState, fold
from fleet.core.notebook import Image, Notebook, Status
from fleet.core.planning.plan import Change
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Rollout
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from tests.plans import make_change, make_plan
from tests.virtual import IN_MEMORY, LoopClock, run_while

pytestmark = IN_MEMORY

TAKES = 60.0  # s for a PUT
LEAD = 5.0  # s between a turn and its slot


class SlowCloud:
    """Stopped notebooks, and PUTs that take a minute. `sent` tells when each left."""

    def __init__(self, count: int) -> None:
        self.notebooks = {
            f"nb-{n}": Notebook(f"nb-{n}", Status.STOPPED, image=Image("old")) for n in range(count)
        }
        self.sent: list[tuple[str, float]] = []
        self.looks: list[str] = []
        self.under_way = self.most_under_way = 0
        self.calls: Counter[str] = Counter()

    async def turn(self, rank: Rank) -> Turn:
        return Turn(LoopClock().monotonic() + LEAD)

    async def look(self, notebook_id: str, rank: Rank) -> Reading:
        self.looks.append(notebook_id)
        return Reading(self.notebooks[notebook_id], "request")

    async def poll(self, statuses: Collection[Status], rank: Rank = Rank.AWAY) -> Collection[str]:
        return [row.id for row in self.notebooks.values() if row.status in statuses]

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        self.sent.append((notebook_id, LoopClock().monotonic()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(TAKES)
        self.under_way -= 1
        row = self.notebooks[notebook_id]
        self.notebooks[notebook_id] = structs.replace(row, image=Image(body["image_id"]))
        return Receipt(200, "request")

    async def _never(self, *_: object) -> Any:
        raise AssertionError("a stopped notebook is neither stopped nor started for an image")

    stop = start = save = saved = renew_lease = _never


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def commit(self, event: Event) -> None:
        self.events.append(event)

    def note(self, event: Event) -> None:
        self.events.append(event)


def change(number: int) -> Change:
    key = f"nb-{number}"
    return make_change(
        number, "old", "new", id=key, name=key, owner="", run_state=Status.STOPPED, may_restart=False
    )


class Bench:
    """A plan of `count` image changes, and everything to run and steer it."""

    def __init__(self, count: int, concurrency: int) -> None:
        self.cloud = SlowCloud(count)
        self.recorder = Recorder()
        self.control = Control()
        self.plan = make_plan(*map(change, range(count)), rollout=Rollout(concurrency=concurrency))

    async def run(self, earlier: Earlier | None = None, claimed: Mapping[int, str] | None = None) -> RunEnd:
        tape, clouds = Tape(self.recorder, [self.control.observe]), {"lab-a": self.cloud}
        return await run_plan(
            self.plan,
            "20260101-000000-test",
            clouds,
            tape,
            LoopClock(),
            self.control,
            {"lab-a": 20.0},
            earlier,
            claimed,
        )

    async def run_while(self, *after: tuple[float, Callable[[], object]]) -> RunEnd:
        """The run, with things that happen so many seconds after its start."""
        return await run_while(self.run(), *after)

    @property
    def state(self) -> RunState:
        return fold(self.plan, self.recorder.events)

    @property
    def outcomes(self) -> list[Outcome | None]:
        return [row.outcome for row in self.state.rows()]

    def sent_between(self, first: float, last: float) -> list[str]:
        return [key for key, at in self.cloud.sent if first < at <= last]


async def test_a_pause_keeps_back_those_that_wait_and_those_whose_turn_is_about_to_come() -> None:
    made = Bench(6, concurrency=3)
    end = await made.run_while((70.0, made.control.pause), (1000.0, made.control.release))
    assert end is RunEnd.FINISHED
    assert made.sent_between(0, 10) == ["nb-0", "nb-1", "nb-2"]
    assert made.sent_between(67.0, 1000.0) == []
    assert sorted(made.sent_between(1000.0, 2000.0)) == ["nb-3", "nb-4", "nb-5"]
    assert made.outcomes == [Outcome.CHANGED] * 6


async def test_after_a_pause_a_new_look_comes_before_the_first_write() -> None:
    made = Bench(1, concurrency=1)

    def edited() -> None:
        made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], image=Image("other"))

    await made.run_while((1.0, made.control.pause), (500.0, edited), (1000.0, made.control.release))
    assert made.cloud.sent == []
    assert made.cloud.looks == ["nb-0", "nb-0"]
    assert made.outcomes == [Outcome.DRIFTED]


async def test_what_was_sent_comes_home_during_a_pause() -> None:
    made = Bench(2, concurrency=1)
    await made.run_while((10.0, made.control.pause), (1000.0, made.control.release))
    first = next(row for row in made.state.rows() if row.item == 0)
    assert first.outcome is Outcome.CHANGED
    assert first.finished_at is not None
    assert first.finished_at < LoopClock().wall() - 900.0


async def test_a_change_that_had_sent_nothing_is_not_started_when_the_run_is_told_to_end() -> None:
    made = Bench(4, concurrency=2)
    end = await made.run_while((2.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "cancelled")))
    assert end is RunEnd.INTERRUPTED
    assert made.cloud.sent == []
    assert made.outcomes == [Outcome.NOT_STARTED] * 4
    assert [row.reason for row in made.state.rows()][:2] == ["nothing was sent: cancelled"] * 2


async def test_a_paused_run_that_is_cancelled_ends_at_once() -> None:
    made = Bench(4, concurrency=2)
    cancel = (100.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "cancelled"))
    end = await made.run_while((2.0, made.control.pause), cancel)
    assert (end, made.cloud.sent) == (RunEnd.INTERRUPTED, [])
    assert LoopClock().monotonic() == pytest.approx(100.0, abs=1.0)


async def test_a_pause_when_all_have_started_does_not_hold_up_the_end() -> None:
    made = Bench(2, concurrency=2)
    assert await made.run_while((10.0, made.control.pause)) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 2


async def test_what_had_sent_nothing_takes_its_turn_in_the_waves_of_a_resumed_run() -> None:
    """It is not under way, so nothing frees it of the budgets."""
    made = Bench(6, concurrency=6)
    await made.run_while((2.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "cancelled")))
    made.control = Control()
    made.plan = seal(replace(made.plan, rollout=Rollout(concurrency=1)))
    earlier = made.state.earlier()
    assert len(earlier.lives) == 6
    assert await made.run(earlier) is RunEnd.FINISHED
    assert (made.outcomes, made.cloud.most_under_way) == ([Outcome.CHANGED] * 6, 1)
    assert [event.kind for event in made.recorder.events if event.kind == "wave-started"] == [
        "wave-started"
    ] * 2


@pytest.mark.parametrize(("concurrency", "most"), [(1, 2), (5, 5)])
async def test_another_concurrency_takes_effect_at_once_and_takes_nobody_down(
    concurrency: int, most: int
) -> None:
    made = Bench(12, concurrency=2)
    await made.run_while((10.0, lambda: made.control.allow(concurrency)))
    assert made.cloud.most_under_way == most
    assert len(made.sent_between(10.0, 20.0)) == max(0, concurrency - 2)
    assert len(made.sent_between(60.0, 75.0)) == (1 if concurrency == 1 else 2)
    assert made.outcomes == [Outcome.CHANGED] * 12


# --- what another run holds ---


async def test_what_another_run_holds_is_left_alone_and_the_run_says_so() -> None:
    made = Bench(3, concurrency=3)
    assert await made.run(claimed={1: "claimed by run X"}) is RunEnd.HALTED
    assert made.outcomes == [Outcome.CHANGED, Outcome.NOT_STARTED, Outcome.CHANGED]
    assert [event.kind for event in made.recorder.events][:3] == ["run-started", "ended", "wave-started"]
    assert "nb-1" not in made.cloud.looks
    assert made.state.rows()[1].reason == "claimed by run X"


async def test_a_resumed_run_does_what_another_one_held_before() -> None:
    made = Bench(3, concurrency=3)
    await made.run(claimed={1: "claimed by run X"})
    made.control = Control()
    await made.run(earlier=made.state.earlier())
    assert made.outcomes == [Outcome.CHANGED] * 3
    assert [key for key, _ in made.cloud.sent] == ["nb-0", "nb-2", "nb-1"]


async def test_what_had_sent_nothing_and_is_now_held_by_another_run_says_by_which() -> None:
    made = Bench(2, concurrency=1)
    with anyio.move_on_after(2.0):
        await made.run()
    assert made.cloud.sent == []
    made.control = Control()
    await made.run(earlier=made.state.earlier(), claimed={0: "claimed by run X"})
    assert made.outcomes == [Outcome.NOT_STARTED, Outcome.CHANGED]
    assert made.state.rows()[0].reason == "claimed by run X"


async def test_what_was_begun_and_is_now_held_by_another_run_stays_open() -> None:
    made = Bench(2, concurrency=2)
    with anyio.move_on_after(30.0):
        await made.run()
    made.control = Control()
    await made.run(earlier=made.state.earlier(), claimed={0: "claimed by run X"})
    assert made.outcomes == [Outcome.UNKNOWN, Outcome.CHANGED]
    assert made.state.rows()[0].reason == "claimed by run X"
    made.control = Control()
    await made.run(earlier=made.state.earlier())
    assert made.outcomes == [Outcome.CHANGED] * 2


async def test_whoever_steers_finds_the_budgets_that_bind_the_crew_at_work() -> None:
    made, seen = Bench(4, concurrency=2), list[tuple[str, ...]]()

    def look() -> None:
        assert made.control.budgets is not None
        seen.append(made.control.budgets.binding)

    await made.run_while((1.0, look))
    assert seen == [("concurrency 2",)]
