"""One execution of a plan: waves, workers, verdicts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial

import anyio

from fleet.core.changing.life import Life
from fleet.core.earlier import Earlier
from fleet.core.errors import CallError, RecordingFailed
from fleet.core.events import (
    Ended,
    Outcome,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
)
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Plan
from fleet.core.scheduling.readiness import Pace
from fleet.engine.brakes import Brakes
from fleet.engine.control import Control
from fleet.engine.crew import Crew, own_error
from fleet.engine.ledger import Ledger
from fleet.engine.pauses import Pauses
from fleet.engine.perform import Surroundings
from fleet.engine.ports import Checker, Clock, Cloud
from fleet.engine.readiness import LONGEST_NAP, SHORTEST_NAP, WaitingRoom
from fleet.engine.readiness_attendants import NOBODY, People, attendants
from fleet.engine.tape import Tape
from fleet.engine.watch import Watch
from fleet.engine.wave_gate import WaveGate

LAST_WORDS = 5.0  # seconds to close the books when everything is being cancelled


async def run_plan(
    plan: Plan,
    run: str,
    clouds: Mapping[str, Cloud],
    tape: Tape,
    clock: Clock,
    control: Control,
    poll: Mapping[str, float],
    earlier: Earlier | None = None,
    claimed: Mapping[int, str] | None = None,
    check: Checker | None = None,
    people: People = NOBODY,
) -> RunEnd:
    """Performs `plan`; `clouds` and `poll` (seconds between list polls) are by scope.

    `earlier` is given when the run goes on after a crash or an early end. `claimed` are the changes that
    another run keeps us from, by item with the reason. `check` runs the gate's command between waves.
    `people` knows the owners of notebooks and what they are at.
    Returns why it ended. Raises RecordingFailed when not even the start could be recorded.
    """
    now, claimed = clock.wall(), claimed or {}
    await tape.commit(RunStarted(now, run, plan.digest) if earlier is None else RunResumed(now))
    earlier = earlier or Earlier()
    past, memory = earlier.lives, earlier.memory
    for change in plan.changes:
        if change.item in claimed:
            tape.note(_left_to_another(change, past.get(change.item), claimed[change.item], now))

    def trouble(error: Exception) -> None:
        control.drain(RunEnd.HALTED, own_error(error), broken=True)

    tape.report_to(trouble)
    ledger = Ledger(clouds, tape, clock)
    try:
        async with anyio.create_task_group() as background:
            if plan.rollout.deadline is not None:
                background.start_soon(_deadline, plan.rollout.deadline, control)
            closes = plan.closes(now if memory.set_out is None else memory.set_out)
            if closes < math.inf:
                background.start_soon(_end_with_window, closes, clock, control)
            brakes = Brakes(plan, tape, clock, control)
            tape.show_to(brakes.__call__)  # bound: Python calls that in place

            def polled(scope: str, error: CallError | None) -> None:
                brakes.polled(scope, error)
                ledger.tell(scope)

            gate = WaveGate(run, plan.rollout, check, tape, clock, control)
            moved: dict[str, When] = {}
            surroundings = {}
            for name, cloud in clouds.items():
                watch = Watch(cloud, clock, poll[name], partial(polled, name), trouble)
                background.start_soon(watch.run)
                surroundings[name] = Surroundings(
                    cloud,
                    watch,
                    tape,
                    clock,
                    plan.rollout.change_deadline,
                    moved,
                    control,
                    lambda reason: control.drain(RunEnd.HALTED, reason, broken=True),
                    brakes,
                    plan.estimate.times,
                )
            pauses = Pauses(plan, tape, clock, control, earlier.waves_ended, closes)
            ends = None if plan.rollout.deadline is None else now + plan.rollout.deadline
            room = WaitingRoom(
                plan.rollout, memory, tape, clock, control, trouble, ends, Pace(plan.estimate.times), closes
            )
            for attend in attendants(
                run, plan, room, memory, clouds, poll, people, tape, clock, control, polled, trouble
            ):
                background.start_soon(attend)
            crew = Crew(plan, surroundings, tape, clock, control, past, brakes, gate, pauses, room, claimed)
            background.start_soon(room.run, crew.release, crew.drop)
            await crew.work_through()
            room.close()
            if left := _left_over(plan, claimed):
                control.drain(RunEnd.HALTED, left)
            background.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        control.drain(RunEnd.INTERRUPTED, "stopped at once")
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LAST_WORDS):
            await _close(control, ledger, tape, clock)
        raise
    return await _close(control, ledger, tape, clock)


async def _deadline(seconds: float, control: Control) -> None:
    await anyio.sleep(seconds)
    control.drain(RunEnd.HALTED, f"the deadline of {seconds:g} s passed")


async def _end_with_window(closes: float, clock: Clock, control: Control) -> None:
    left = closes - clock.wall()
    while left > 0:
        await anyio.sleep(min(max(SHORTEST_NAP, left), LONGEST_NAP))
        left = closes - clock.wall()
    control.drain(RunEnd.HALTED, "the window is over, and rollout.carry_over is false")


async def _close(control: Control, ledger: Ledger, tape: Tape, clock: Clock) -> RunEnd:
    ledger.close()
    end, reason = control.end or (RunEnd.FINISHED, "")
    try:
        await tape.commit(RunEnded(clock.wall(), end, reason))
    except RecordingFailed:
        return RunEnd.HALTED
    return end


def _left_to_another(change: Change, life: Life | None, reason: str, now: float) -> Ended:
    """The end, for this time, of a change that another run keeps us from; what it owes, it goes on owing."""
    if life is None or not life.tries:
        return Ended(change.item, now, Outcome.NOT_STARTED, reason)
    outcome = Outcome.STRANDED if life.debt else Outcome.UNKNOWN
    return Ended(change.item, now, outcome, reason, life.debt, life.fix)


def _left_over(plan: Plan, claimed: Mapping[int, str]) -> str:
    """What is left to other runs and why: changes, and notebooks as wanted already but not brought home."""
    home = (row.reason for row in plan.settled if row.outcome is Outcome.NOT_STARTED)
    reasons = Counter([*claimed.values(), *home])
    return "; ".join(f"{count} left out: {reason}" for reason, count in reasons.most_common())
