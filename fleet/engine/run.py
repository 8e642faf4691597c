"""One execution of a plan: waves, workers, verdicts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import groupby

import anyio

from fleet.core.errors import CallError, RecordingFailed
from fleet.core.events import Ended, Outcome, RunEnd, RunEnded, RunResumed, RunStarted, WaveEnded, WaveStarted
from fleet.core.life import Life
from fleet.core.patch import When
from fleet.core.plan import Change, Plan
from fleet.core.reopen import is_open
from fleet.core.rollout import FAILURES, NOT_BACK, Admission, verdict
from fleet.core.wave_gate import Decision
from fleet.engine.brakes import Brakes
from fleet.engine.control import Control
from fleet.engine.ledger import Ledger
from fleet.engine.perform import Performance, Surroundings
from fleet.engine.ports import Checker, Clock, Cloud
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
    past: Mapping[int, Life] | None = None,
    claimed: Mapping[int, str] | None = None,
    check: Checker | None = None,
) -> RunEnd:
    """Performs `plan`; `clouds` and `poll` (seconds between list polls) are by scope.

    `past` is given when the run goes on after a crash or an early end: where every change that had begun
    stands, by item. `claimed` are the changes that another run keeps us from, by item with the reason.
    `check` runs the gate's command between waves.
    Returns why it ended. Raises RecordingFailed when not even the start could be recorded.
    """
    now = clock.wall()
    await tape.commit(RunStarted(now, run, plan.digest) if past is None else RunResumed(now))
    past, claimed = past or {}, claimed or {}
    for change in plan.changes:
        if change.item in claimed:
            tape.note(_left_to_another(change, past.get(change.item), claimed[change.item], now))

    def trouble(error: Exception) -> None:
        control.drain(RunEnd.HALTED, _own_error(error), broken=True)

    tape.report_to(trouble)
    ledger = Ledger(clouds, tape, clock)
    try:
        async with anyio.create_task_group() as background:
            if plan.rollout.deadline is not None:
                background.start_soon(_deadline, plan.rollout.deadline, control)
            brakes = Brakes(plan, tape, clock, control)
            tape.show_to(brakes)

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
                )
            crew = _Crew(plan, surroundings, tape, clock, control, past, brakes, gate, claimed)
            await crew.work_through()
            if claimed:
                control.drain(RunEnd.HALTED, f"{len(claimed)} left to another run, which claims them")
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


async def _close(control: Control, ledger: Ledger, tape: Tape, clock: Clock) -> RunEnd:
    ledger.close()
    end, reason = control.end or (RunEnd.FINISHED, "")
    try:
        await tape.commit(RunEnded(clock.wall(), end, reason))
    except RecordingFailed:
        return RunEnd.HALTED
    return end


def _own_error(error: Exception) -> str:
    return f"an error of our own: {type(error).__name__}: {error}"


def _left_to_another(change: Change, life: Life | None, reason: str, now: float) -> Ended:
    """The end, for this time, of a change that another run keeps us from; what it owes, it goes on owing."""
    if life is None or not life.tries:
        return Ended(change.item, now, Outcome.NOT_STARTED, reason)
    outcome = Outcome.STRANDED if life.debt else Outcome.UNKNOWN
    return Ended(change.item, now, outcome, reason, life.debt, life.fix)


def _has_begun(life: Life | None) -> bool:
    """Whether anything was sent or decided: if not, the change takes its turn like one that is new."""
    return life is not None and (bool(life.tries) or life.end is not None)


def _outcome(life: Life) -> Outcome:
    return life.end[0] if life.end is not None else Outcome.UNKNOWN


def _failed(life: Life) -> bool:
    return _outcome(life) in FAILURES


def _is_back(life: Life) -> bool:
    """Whether the notebook is available again: neither lost, nor failed in another state than it had."""
    if life.end is None or life.end[0] in NOT_BACK:
        return False
    return life.end[0] is not Outcome.FAILED or life.home


def _wave_behind(changes: Sequence[Change], fresh: Sequence[Change]) -> int | None:
    """The wave that an earlier process worked to its end without beginning the next one, or None.

    Nobody knows whether its verdict still holds, so it is judged anew.
    """
    if not fresh:
        return None
    left = {change.item for change in fresh}
    begun = {change.wave for change in changes if change.item not in left}
    return max(begun) if begun and fresh[0].wave not in begun else None


class _Crew:
    """The workers of a run. One admission hands out the changes, so a freed slot is filled at once."""

    def __init__(
        self,
        plan: Plan,
        surroundings: Mapping[str, Surroundings],
        tape: Tape,
        clock: Clock,
        control: Control,
        past: Mapping[int, Life],
        brakes: Brakes,
        gate: WaveGate,
        claimed: Collection[int],
    ) -> None:
        self._plan = plan
        self._surroundings = surroundings
        self._tape = tape
        self._clock = clock
        self._control = control
        self._past = past
        self._brakes = brakes
        self._gate = gate
        self._admission: Admission[Change] = Admission(
            plan.rollout,
            plan.changes,
            away=lambda one: one.may_go_away,
            admits=brakes.admits,
            barred=brakes.barred,
        )
        self._claimed = claimed
        # Of the whole run, an earlier part of it included.
        self._outcomes: defaultdict[int, list[Outcome]] = defaultdict(list)  # by wave
        self._counts: Counter[Outcome] = Counter()

    async def work_through(self) -> None:
        await self._finish_the_past()
        fresh = [
            change
            for change in self._plan.changes
            if change.item not in self._claimed and not _has_begun(self._past.get(change.item))
        ]
        waves = [(wave, list(part)) for wave, part in groupby(fresh, lambda one: one.wave)]
        behind = _wave_behind(self._plan.changes, fresh)
        if behind is not None:
            await self._judge(behind, last=False)
        for wave, changes in waves:
            if wave != waves[0][0] and self._plan.rollout.soak:
                with anyio.move_on_after(self._plan.rollout.soak):
                    await self._control.draining.wait()
            if self._control.end is not None:
                return
            await self._work_wave(wave, changes, last=wave == waves[-1][0])
        if self._counts[Outcome.NOT_STARTED]:
            self._control.drain(RunEnd.HALTED, self._brakes.reasons)
        elif not self._admission.pending:
            self._control.all_done()

    async def _finish_the_past(self) -> None:
        """Brings home what an earlier process left under way, debts first, before anything new is stopped."""
        opened = []
        for change in self._plan.changes:
            life = self._past.get(change.item)
            if life is None or not _has_begun(life):
                continue
            if not is_open(life):
                self._book(change, life)
                self._admission.count_past(change, failed=_failed(life), back=_is_back(life))
            elif change.item in self._claimed:  # somebody else's by now, but away and unproven all the same
                self._admission.count_past(change, failed=True, back=False)
                self._outcomes[change.wave].append(Outcome.UNKNOWN)
            else:
                opened.append(change)
        for owed in (True, False):
            part = [change for change in opened if self._past[change.item].debt is owed]
            if part:
                self._admission.release(part, overdue=True)
                await self._work_released()

    async def _work_wave(self, wave: int, changes: Sequence[Change], *, last: bool) -> None:
        self._tape.note(WaveStarted(self._clock.wall(), wave, len(changes)))
        self._admission.release(changes)
        await self._work_released()
        await self._judge(wave, last=last)

    async def _judge(self, wave: int, *, last: bool) -> None:
        """Decides whether the run may go on after `wave`."""
        self._leave_out()
        stopped = self._admission.exhausted or self._admission.stuck or self._cut_short(wave, last=last)
        no_go = verdict(self._outcomes[wave], stopped)
        decision = Decision(no_go is None, no_go or "")
        if decision.go and not last and self._control.end is None:
            decision = await self._gate.decision(wave, self._counts_by_name())
        if not decision.go and (self._admission.pending or not last):
            self._control.drain(RunEnd.HALTED, decision.reason)
        self._tape.note(WaveEnded(self._clock.wall(), wave, decision.go, decision.reason))

    def _cut_short(self, wave: int, *, last: bool) -> str | None:
        """Why the run was told to end before the wave had begun all its changes or the next one came."""
        if self._control.end is None:
            return None
        whole = not self._admission.pending and Outcome.NOT_STARTED not in self._outcomes[wave]
        return None if whole and last else self._control.end[1]

    def _leave_out(self) -> None:
        """Tells of the changes that never start because their group was closed."""
        for change, reason in self._admission.shut_out():
            self._counts[Outcome.NOT_STARTED] += 1
            self._tape.note(Ended(change.item, self._clock.wall(), Outcome.NOT_STARTED, reason))

    def _book(self, change: Change, life: Life) -> None:
        outcome = _outcome(life)
        self._counts[outcome] += 1
        self._outcomes[change.wave].append(outcome)

    def _counts_by_name(self) -> dict[str, int]:
        return {outcome.value: self._counts[outcome] for outcome in Outcome}

    async def _work_released(self) -> None:
        async with anyio.create_task_group() as workers:
            while (change := await self._next()) is not None:
                workers.start_soon(self._work, change)

    async def _work(self, change: Change) -> None:
        """Performs the change, then in the same task whatever may start next: tasks cost more than steps."""
        following: Change | None = change
        while following is not None:
            await self._perform(following)
            following = self._take()
            if self._admission.has_room:
                self._control.stir()

    async def _perform(self, change: Change) -> None:
        here, past = self._surroundings[change.scope], self._past.get(change.item)
        performance = Performance(change, here, past)
        try:
            life = await performance.run()
        except Exception as error:  # whatever it is, it must not leave the others stopped
            life = performance.give_up(error)
            self._control.drain(RunEnd.HALTED, _own_error(error), broken=True)
        self._book(change, life)
        self._admission.ended(change, failed=_failed(life), back=_is_back(life))

    async def _next(self) -> Change | None:
        """The next change to start; None when no further one will start in this wave.

        Waits only for the end of a change that is under way, or for whoever steers.
        """
        while self._control.end is None or self._admission.overdue:
            change = self._take()
            if change is not None:
                return change
            held = self._control.paused and not self._admission.overdue
            if not (self._admission.pending if held else self._admission.may_yet_start):
                return None
            with anyio.move_on_after(self._brakes.wait()):
                await self._control.stirred()
        return None

    def _take(self) -> Change | None:
        """The next change that may start at this moment.

        What is overdue goes home even when the run is paused or told to end.
        """
        if (self._control.paused or self._control.end is not None) and not self._admission.overdue:
            return None
        self._admission.concurrency = self._control.concurrency or self._plan.rollout.concurrency
        change = self._admission.next()
        if change is not None:
            self._brakes.began(change)
        return change
