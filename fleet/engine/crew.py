"""The workers of a run: wave by wave, each change as soon as budgets, brakes and its own moment allow."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence

import anyio

from fleet.core.admission import Admission
from fleet.core.changing.life import Life, Stage
from fleet.core.changing.reopen import is_open
from fleet.core.events import (
    Ended,
    Held,
    Leave,
    Outcome,
    RunEnd,
    WaveEnded,
    WaveStarted,
)
from fleet.core.planning.plan import Change, Plan, heads
from fleet.core.rollout import FAILURES, NOT_BACK
from fleet.core.rows import WELL
from fleet.core.scheduling.readiness import Drop, Go
from fleet.core.wave_gate import Decision, trial_size, verdict
from fleet.engine.brakes import Brakes
from fleet.engine.control import Control
from fleet.engine.pauses import Pauses
from fleet.engine.perform import Performance, Surroundings
from fleet.engine.ports import Clock
from fleet.engine.readiness import WaitingRoom
from fleet.engine.tape import Tape
from fleet.engine.wave_gate import WaveGate


def own_error(error: Exception) -> str:
    """A bug of ours, in words."""
    return f"an error of our own: {type(error).__name__}: {error}"


def _sent_nothing(change: Change, now: float) -> Ended:
    reason = "had sent nothing when the run broke off"
    return Ended(change.item, now, Outcome.NOT_STARTED, reason)


def _has_begun(life: Life | None) -> bool:
    """If it has not, the change takes its turn like one that is new."""
    return life is not None and life.begun


def _outcome(life: Life) -> Outcome:
    return life.end[0] if life.end is not None else Outcome.UNKNOWN


def _failed(life: Life) -> bool:
    return _outcome(life) in FAILURES


def _is_back(life: Life) -> bool:
    """Whether the notebook is available: neither lost nor broken, nor failed in another state than it had."""
    if life.end is None or life.end[0] in NOT_BACK or life.current.broken:
        return False
    return life.end[0] is not Outcome.FAILED or life.home


def _wave_behind(waves: Iterable[int], fresh: Collection[int], opened: Collection[int]) -> int | None:
    """The wave that is over without the next one having begun, by an earlier process or for other runs.

    Nobody knows whether its verdict still holds, so it is judged anew. `fresh` are waves with changes left.
    """
    first = next(iter(fresh), None)
    if first is None or first in opened:
        return None
    return max((wave for wave in waves if wave < first), default=None)


class Crew:
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
        pauses: Pauses,
        room: WaitingRoom,
        claimed: Collection[int],
    ) -> None:
        self._plan = plan
        self._surroundings = surroundings
        self._tape = tape
        self._clock = clock
        self._control = control
        self._past = dict(past)
        self._brakes = brakes
        self._gate = gate
        self._pauses = pauses
        self._room = room
        self._leaves: dict[int, Leave | None] = {}  # of changes that were told to start
        self._catching_up = True  # with what an earlier process left; nobody is waited for
        self._paying = False  # what an earlier process owes
        self._admission: Admission[Change] = Admission(
            plan.rollout,
            heads(plan.changes),
            away=lambda one: one.may_go_away,
            admits=brakes.admits,
            barred=brakes.barred,
        )
        control.budgets = self._admission
        self._claimed = claimed
        self._sizes = Counter(change.wave for change in plan.changes)
        self._stages = {change.wave: change.stage for change in plan.changes}
        self._waves: dict[int, deque[Change]] = {}  # that are still to come
        # Of the whole run, an earlier part of it included.
        self._outcomes: defaultdict[int, Counter[Outcome]] = defaultdict(Counter)  # by wave
        self._counts: Counter[Outcome] = Counter()
        self._ends: dict[int, Outcome] = {}  # by item, of changes that a later stage may follow

    async def work_through(self) -> None:
        await self._finish_the_past()
        self._catching_up = False
        for change in self._plan.changes:
            if change.item not in self._claimed and not _has_begun(self._past.get(change.item)):
                self._waves.setdefault(change.wave, deque()).append(change)
        behind = _wave_behind(self._sizes, self._waves, self._room.opened)
        if behind is not None:
            await self._see_off(behind)
        while self._waves:
            if self._control.end is not None:
                return
            wave = next(iter(self._waves))
            if not await self._work_wave(wave, self._waves.pop(wave)):
                return
            await self._see_off(wave)
        if self._counts[Outcome.NOT_STARTED]:
            self._control.drain(RunEnd.HALTED, self._brakes.reasons)
        elif not self._left:
            self._control.all_done()

    def _may_follow(self, change: Change) -> bool:
        """Whether the stage before this change, if there is one, went well; if not, it never starts."""
        if change.follows is None:
            return True
        how = self._ends.get(change.follows, Outcome.NOT_STARTED)
        if how in WELL:
            return True
        self._counts[Outcome.SKIPPED] += 1
        reason = f"the stage before it ended as {how}"
        self._tape.note(Ended(change.item, self._clock.wall(), Outcome.SKIPPED, reason))
        return False

    async def _finish_the_past(self) -> None:
        """Brings home what an earlier process left under way, debts first, before anything new is stopped."""
        opened = []
        for change in self._plan.changes:
            life = self._past.get(change.item)
            if life is None or not _has_begun(life):
                if life is not None and not life.recorded and change.item not in self._claimed:
                    self._tape.note(_sent_nothing(change, self._clock.wall()))  # unless its turn comes
                continue
            if not is_open(life):
                self._book(change, life)
                self._admission.count_past(change, failed=_failed(life), back=_is_back(life))
            elif change.item in self._claimed:  # somebody else's by now, but away and unproven all the same
                self._admission.count_past(change, failed=True, back=False)
                self._outcomes[self._wave_of(change)][Outcome.UNKNOWN] += 1
            else:
                opened.append(change)
        debts = [change for change in opened if self._past[change.item].debt]
        others = [change for change in opened if not self._past[change.item].debt]
        for part in (debts, others):
            self._paying = part is debts
            if part:
                self._admission.release(part, overdue=True)
                await self._work_released()
        for wave in {self._wave_of(change) for change in opened}:
            self._pauses.begun(wave)
            self._pauses.ended(wave)

    async def _work_wave(self, wave: int, changes: Iterable[Change]) -> bool:
        """Works these as part of the wave; False when the run was told to end before they began."""
        ready = [change for change in changes if self._may_follow(change)]
        del changes  # while a large wave is worked, one list of what is left of it is enough
        if ready:
            await self._pauses.before(ready[0].wave)
        if self._control.end is not None:
            return False
        stand_ins = tuple(change.item for change in ready if change.wave != wave)
        started = WaveStarted(self._clock.wall(), wave, len(ready), stand_ins)
        self._tape.note(started)
        if ready:
            self._pauses.begun(wave)
        ready = self._room.open_wave(started, ready)
        self._admission.release(ready)
        del ready
        await self._work_released()
        self._leave_out()
        return True

    async def _see_off(self, wave: int) -> None:
        """Judges a wave that was worked. Where it proved nothing, some of the next stand in for it.

        They are of the next wave all the same: they begin when that may, and the rest once they are judged.
        """
        await self._judge(wave)
        while changes := self._stand_ins(wave):
            why = f"it proved nothing: {len(changes)} of the next wave stand in for it"
            self._tape.note(Held(self._clock.wall(), f"wave {wave}", why))
            await self._work_wave(wave, changes)
            self._tape.note(Held(self._clock.wall(), f"wave {wave}", ""))
            if self._trial_size(wave) is None or self._no_go(wave) is not None:
                await self._judge(wave)

    def _stand_ins(self, wave: int) -> list[Change]:
        """The changes of a larger next wave that must go first, as long as nothing is proven."""
        if not self._waves or self._control.end is not None:
            return []
        coming, size = next(iter(self._waves)), self._trial_size(wave)
        if self._stages[coming] != self._stages[wave]:  # those follow what was proven, or not at all
            return []
        if size is None or size >= len(self._waves[coming]):
            return []
        return [self._waves[coming].popleft() for _ in range(size)]

    def _trial_size(self, wave: int) -> int | None:
        """How many changes may go after `wave`; None: as many as planned."""
        waves = [one for one in self._sizes if one <= wave and self._stages[one] == self._stages[wave]]
        return trial_size((self._sizes[one], self._outcomes[one]) for one in waves)

    def _wave_of(self, change: Change) -> int:
        """The wave that a change counts for: before its own has begun, that in which it stands in."""
        if self._catching_up:
            return self._room.counts_for(change)
        opened = self._room.opened
        return change.wave if change.wave in opened or not opened else max(opened)

    def release(self, changes: Sequence[Change]) -> None:
        """These have waited for their moment, which has come."""
        self._admission.release(changes)
        self._control.stir()

    def drop(self, change: Change, end: Drop) -> None:
        """This one has waited, and never starts."""
        self._tape.note(Ended(change.item, self._clock.wall(), end.outcome, end.reason))
        if self._plan.stages:
            self._ends[change.item] = end.outcome
        self._counts[end.outcome] += 1
        self._outcomes[self._wave_of(change)][end.outcome] += 1
        self._control.stir()

    @property
    def _left(self) -> int:
        """How many changes of the waves so far have not started."""
        return self._admission.pending + self._room.waiting

    def _no_go(self, wave: int) -> str | None:
        """Why nothing more may be released after `wave`, by the health of the run; None means "go"."""
        stopped = self._admission.exhausted or self._admission.stuck or self._cut_short(wave)
        return verdict(self._outcomes[wave], stopped)

    async def _judge(self, wave: int) -> None:
        """Decides whether the run may go on after `wave`."""
        no_go, last = self._no_go(wave), not self._waves
        decision = Decision(no_go is None, no_go or "")
        if decision.go and not last and self._control.end is None:
            decision = await self._gate.decision(wave, self._counts_by_name())
        if not decision.go and (self._left or not last):
            self._control.drain(RunEnd.HALTED, decision.reason)
        self._tape.note(WaveEnded(self._clock.wall(), wave, decision.go, decision.reason))
        self._pauses.ended(wave)

    def _cut_short(self, wave: int) -> str | None:
        """Why the run was told to end before the wave had begun all its changes or the next one came."""
        if self._control.end is None:
            return None
        whole = not self._left and Outcome.NOT_STARTED not in self._outcomes[wave]
        return None if whole and not self._waves else self._control.end[1]

    def _leave_out(self) -> None:
        """Tells of the changes that never start because their group was closed."""
        for change, reason in self._admission.shut_out():
            self._counts[Outcome.NOT_STARTED] += 1
            self._tape.note(Ended(change.item, self._clock.wall(), Outcome.NOT_STARTED, reason))

    def _book(self, change: Change, life: Life) -> None:
        outcome = _outcome(life)
        if self._plan.stages:
            self._ends[change.item] = outcome
        self._counts[outcome] += 1
        self._outcomes[self._wave_of(change)][outcome] += 1

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
        leave = self._leaves.pop(change.item, None)
        performance = Performance(change, here, past, leave, self._room.still)
        here.watch.under_way += 1
        try:
            life = await performance.run()
        except Exception as error:  # whatever it is, it must not leave the others stopped
            life = performance.give_up(error)
            self._control.drain(RunEnd.HALTED, own_error(error), broken=True)
        finally:
            here.watch.under_way -= 1
        if life.stage in (Stage.SPARED, Stage.PUT_OFF):
            self._give_back(change, life)
            return
        if self._catching_up and _outcome(life) is Outcome.NOT_STARTED:  # there was no room for its journal
            self._give_back(change, life.anew())
            return
        if _outcome(life) is Outcome.CHANGED and performance.sent_at is not None:
            self._room.took(life.change, self._clock.monotonic() - performance.sent_at)
        self._book(change, life)
        self._admission.ended(change, failed=_failed(life), back=_is_back(life))

    def _give_back(self, change: Change, life: Life) -> None:
        """Lets a change wait again that was told to start and sent nothing, or nothing that was applied.

        While we catch up it need not: it is as one that has not begun, and comes with its wave.
        """
        self._past[change.item] = life
        self._admission.ended(change, failed=False, back=True)
        if self._catching_up:
            return
        if life.stage is Stage.SPARED:
            self._room.enter(change, stops=True)
        else:
            self._room.put_off(change)

    async def _next(self) -> Change | None:
        """The next change to start; None when no further one will start in this wave.

        Waits only for the end of a change that is under way, for the moment of others, or for whoever steers.
        """
        while self._control.end is None or self._admission.overdue:
            change = self._take()
            if change is not None:
                return change
            held = self._control.paused and not self._admission.overdue
            may_start = self._admission.pending if held else self._admission.may_yet_start
            if not may_start and not self._more_may_come():
                return None
            with anyio.move_on_after(self._brakes.wait()):
                await self._control.stirred()
        return None

    def _more_may_come(self) -> bool:
        """Whether the waiting room may yet let somebody in, or take somebody back who is under way."""
        if self._catching_up or self._admission.exhausted is not None:
            return False
        return self._room.waiting > 0 or (self._room.takes_back and self._admission.in_flight > 0)

    def _leave(self, change: Change, going: Go) -> Leave | None:
        """While debts are paid nothing is stopped anew: a stop that did not happen comes with its wave."""
        if self._paying and not self._past[change.item].has_put:
            return Leave.SPARE
        return going.leave

    def _take(self) -> Change | None:
        """The next change that may start at this moment.

        What is overdue goes home even when the run is paused or told to end.
        """
        if (self._control.paused or self._control.end is not None) and not self._admission.overdue:
            return None
        self._admission.concurrency = self._control.concurrency or self._plan.rollout.concurrency
        while (change := self._admission.next()) is not None:
            going = self._room.take(change)
            if going is not None:
                self._leaves[change.item] = self._leave(change, going)
                self._brakes.began(change)
                return change
            self._admission.ended(change, failed=False, back=True)  # it waits again
        return None
