"""One execution of a plan: waves, workers, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import anyio

from fleet.core.errors import RecordingFailed
from fleet.core.events import Outcome, RunEnd, RunEnded, RunResumed, RunStarted, WaveEnded, WaveStarted
from fleet.core.life import Life
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.plan import Change, Plan
from fleet.core.reopen import is_open
from fleet.core.rollout import FAILURES, NOT_BACK, Admission, verdict
from fleet.engine.control import Control
from fleet.engine.perform import Performance, Site
from fleet.engine.ports import Clock, Cloud
from fleet.engine.tape import Tape
from fleet.engine.watch import Watch

LAST_WORDS = 5.0  # seconds to close the books when everything is being cancelled


async def run_plan(
    plan: Plan,
    run: str,
    clouds: Mapping[str, Cloud],
    tape: Tape,
    clock: Clock,
    control: Control,
    poll: Mapping[str, float],
    past: Mapping[int, Life] | None = None,
) -> RunEnd:
    """Performs `plan`; `clouds` and `poll` (seconds between list polls) are by scope.

    `past` is given when the run goes on after a crash or an early end: where every change that had begun
    stands, by item. Returns why it ended. Raises RecordingFailed when not even the start could be recorded.
    """
    now = clock.wall()
    await tape.commit(RunStarted(now, run, plan.digest) if past is None else RunResumed(now))
    try:
        async with anyio.create_task_group() as background:
            if plan.rollout.deadline is not None:
                background.start_soon(_deadline, plan.rollout.deadline, control)
            moved: dict[str, When] = {}
            sites = {}
            for name, cloud in clouds.items():
                watch = Watch(cloud, clock, poll[name])
                background.start_soon(watch.run)
                sites[name] = Site(
                    cloud,
                    watch,
                    tape,
                    clock,
                    plan.rollout.change_deadline,
                    moved,
                    lambda reason: control.drain(RunEnd.HALTED, reason),
                )
            await _Crew(plan, sites, tape, clock, control, past or {}).work_through()
            background.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        control.drain(RunEnd.INTERRUPTED, "stopped at once")
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LAST_WORDS):
            await _close(control, tape, clock)
        raise
    return await _close(control, tape, clock)


async def _deadline(seconds: float, control: Control) -> None:
    await anyio.sleep(seconds)
    control.drain(RunEnd.HALTED, f"the deadline of {seconds:g} s passed")


async def _close(control: Control, tape: Tape, clock: Clock) -> RunEnd:
    end, reason = control.end or (RunEnd.FINISHED, "")
    try:
        await tape.commit(RunEnded(clock.wall(), end, reason))
    except RecordingFailed:
        return RunEnd.HALTED
    return end


def _may_go_away(change: Change) -> bool:
    """Any running notebook may turn out to need a restart: the cloud can refuse a field while it runs."""
    return change.needs_restart or (change.may_restart and change.run_state is Status.RUNNING)


class _Crew:
    """The workers of a run. They pull from one admission, so a freed slot is filled at once."""

    def __init__(
        self,
        plan: Plan,
        sites: Mapping[str, Site],
        tape: Tape,
        clock: Clock,
        control: Control,
        past: Mapping[int, Life],
    ) -> None:
        self._plan = plan
        self._sites = sites
        self._tape = tape
        self._clock = clock
        self._control = control
        self._past = past
        self._admission: Admission[Change] = Admission(plan.rollout, plan.changes, away=_may_go_away)
        self._outcomes: list[Outcome] = []
        self._someone_ended = anyio.Event()

    async def work_through(self) -> None:
        await self._finish_the_past()
        fresh = [change for change in self._plan.changes if change.item not in self._past]
        waves = [(wave, list(part)) for wave, part in groupby(fresh, lambda one: one.wave)]
        for wave, changes in waves:
            if wave != waves[0][0] and self._plan.rollout.soak:
                with anyio.move_on_after(self._plan.rollout.soak):
                    await self._control.draining.wait()
            if self._control.end is not None:
                return
            await self._work_wave(wave, changes, last=wave == waves[-1][0])

    async def _finish_the_past(self) -> None:
        """Brings home what an earlier process left under way, debts first, before anything new is stopped."""
        for change in self._plan.changes:
            life = self._past.get(change.item)
            if life is not None and life.end is not None and not is_open(life):
                self._admission.count_past(failed=life.end[0] in FAILURES)
        opened = [
            change
            for change in self._plan.changes
            if change.item in self._past and is_open(self._past[change.item])
        ]
        if opened:
            opened.sort(key=lambda change: not self._past[change.item].debt)
            self._admission.release(opened, overdue=True)
            await self._work_released(len(opened))

    async def _work_wave(self, wave: int, changes: Sequence[Change], *, last: bool) -> None:
        self._tape.note(WaveStarted(self._clock.wall(), wave, len(changes)))
        self._outcomes.clear()
        self._admission.release(changes)
        await self._work_released(len(changes))
        no_go = verdict(self._outcomes, self._admission.exhausted or self._admission.stuck)
        if no_go is not None and (self._admission.pending or not last):
            self._control.drain(RunEnd.HALTED, no_go)
        self._tape.note(WaveEnded(self._clock.wall(), wave, no_go is None, no_go or ""))

    async def _work_released(self, changes: int) -> None:
        async with anyio.create_task_group() as workers:
            for _ in range(min(self._plan.rollout.concurrency, changes)):
                workers.start_soon(self._work)

    async def _work(self) -> None:
        while (change := await self._next()) is not None:
            site, past = self._sites[change.scope], self._past.get(change.item)
            life = await Performance(change, site, past).run()
            outcome = life.end[0] if life.end is not None else Outcome.UNKNOWN
            self._outcomes.append(outcome)
            self._admission.ended(change, failed=outcome in FAILURES, back=outcome not in NOT_BACK)
            self._someone_ended.set()
            self._someone_ended = anyio.Event()

    async def _next(self) -> Change | None:
        """The next change to start; None when this worker will not be needed in this wave any more.

        A worker waits only while others have changes under way, so the end of one wakes all. What is overdue
        goes home even when the run is told to end.
        """
        while self._control.end is None or self._admission.overdue:
            change = self._admission.next()
            if change is not None:
                return change
            if not self._admission.may_yet_start:
                return None
            await self._someone_ended.wait()
        return None
