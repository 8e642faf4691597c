"""Where a run stands, counted from its events; arithmetic only. `live` and `plain` show it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Any

from fleet.core.duration import duration
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Held,
    Intended,
    Outcome,
    OutOfReach,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Steered,
    Step,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.planning.by_item import Marks, changes_by_item
from fleet.core.planning.plan import Plan
from fleet.core.scheduling.timing import Moment
from fleet.telemetry.remaining import Remaining
from fleet.telemetry.snapshot import Snapshot, Trouble, WaveProgress, WaveState

WINDOW = 10.0  # seconds over which calls are counted
TROUBLES = 3  # how many of the latest ones are kept

_OUTCOMES = ("", *Outcome)  # none, and how a change may end
_STEPS = frozenset(Step)  # requests that are events of their own
_TROUBLE = frozenset({Outcome.FAILED, Outcome.STRANDED, Outcome.UNKNOWN, Outcome.DRIFTED})


def _for(seconds: float) -> str:
    """How long something has been so, once that is news."""
    return f", held for {duration(seconds)}" if seconds >= WINDOW else ""


class _Wave:
    """A wave's counters."""

    def __init__(self, size: int = 0, ended: int = 0, state: WaveState = WaveState.WAITING) -> None:
        self.size, self.ended, self.state = size, ended, state


class Progress:
    """Counts the events of one run of `plan`, those of an earlier part of the run included.

    A notebook is away from the moment when we mean to stop it until its change ended with it back; a debt
    stays away.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._changes = changes_by_item(plan.changes)
        self._waves: dict[int, _Wave] = {}
        for change in sorted(plan.changes, key=lambda change: change.wave):
            self._waves.setdefault(change.wave, _Wave()).size += 1
        self._remaining = Remaining(plan)
        self._total = len(plan.changes)
        self._settled = 0  # changes that ended and of which nothing more is known
        self._begun: set[int] = set()
        self._ended = Marks()  # places in _OUTCOMES
        self._outcomes: Counter[Outcome] = Counter()
        self._away: set[int] = set()
        self._debts: set[int] = set()
        self._calls: deque[tuple[float, int]] = deque()
        self._soak_from: float | None = None
        self._held: dict[str, Held] = {}
        self._out_of_reach: dict[str, OutOfReach] = {}
        self._troubles: deque[Trouble] = deque(maxlen=TROUBLES)
        self._run = self._slowed = self._steered = self._reason = ""
        self._started_at: float | None = None
        self._end: RunEnd | None = None
        self._end_at: float | None = None

    def apply(self, event: Event) -> None:
        """Counts one event; one about a change that is not in the plan counts for nothing."""
        match event:
            case Saw() | Answered() | Blind():
                self._called(event.at, event.sends)
                if not isinstance(event, Blind):
                    self._remaining.call(event)
            case Intended():
                if event.step is Step.STOP and self._is_running(event.item):
                    self._away.add(event.item)
            case Began() | Reopened() if event.item in self._changes:
                self._begin(event)
            case Ended() if event.item in self._changes:
                self._finish(event)
            case RunStarted():
                self._run = event.run
                self._started_at = event.at if self._started_at is None else self._started_at
                self._end = self._end_at = None
            case RunResumed():
                self._go_on(event.at)
            case WaveStarted():
                self._set_wave(event.wave, WaveState.RUNNING)
                self._soak_from = None
            case WaveEnded():
                self._set_wave(event.wave, WaveState.GO if event.go else WaveState.HALTED)
                self._soak_from = event.at if event.go else None
            case Slowed():
                self._slowed = event.text
            case Held():
                self._held.pop(event.where, None)
                if event.text:
                    self._held[event.where] = event
            case OutOfReach():
                self._out_of_reach.pop(event.host, None)
                if event.text:
                    self._out_of_reach[event.host] = event
            case Spent():
                self._called(event.at, sum(n for kind, n in event.requests.items() if kind not in _STEPS))
            case Steered():
                self._steered = event.what
                self._remaining.steer(event)
            case RunEnded():
                self._end, self._end_at, self._reason = event.end, event.at, event.reason
                self._held.clear()

    def dump(self, items: Collection[int]) -> dict[str, Any]:
        """What was counted, as JSON; of single changes only what concerns `items`.

        Nothing more may happen to the others that have begun or ended.
        """
        ended = [(item, _OUTCOMES[mark]) for item in items if (mark := self._ended[item])]
        return {
            "total": self._total,
            "settled": self._settled + self._ended.size - len(ended),
            "items": list(items),
            "ended": ended,
            "begun": list(self._begun),
            "away": list(self._away),
            "debts": list(self._debts),
            "outcomes": dict(self._outcomes),
            "calls": list(self._calls),
            "waves": [[number, one.size, one.ended, one.state] for number, one in self._waves.items()],
            "soak_from": self._soak_from,
            "held": [[event.at, event.where, event.text, event.until] for event in self._held.values()],
            "out_of_reach": [
                [event.at, event.host, event.text, event.since] for event in self._out_of_reach.values()
            ],
            "troubles": [[one.scope, one.name, one.outcome, one.reason] for one in self._troubles],
            "words": [self._run, self._slowed, self._steered, self._reason],
            "times": [self._started_at, self._end, self._end_at],
            "remaining": self._remaining.dump(items),
        }

    @classmethod
    def loaded(cls, plan: Plan, dumped: Mapping[str, Any]) -> Progress:
        """Goes on from what `dump` wrote. `plan` need hold no change but the dumped items and those that
        events to come are about.
        """
        made = cls(plan)
        made._total, made._settled = dumped["total"], dumped["settled"]
        for item, outcome in dumped["ended"]:
            made._ended[item] = _OUTCOMES.index(outcome)
        made._begun, made._away = set(dumped["begun"]), set(dumped["away"])
        made._debts = set(dumped["debts"])
        made._outcomes.update({Outcome(outcome): n for outcome, n in dumped["outcomes"].items()})
        made._calls.extend((at, sends) for at, sends in dumped["calls"])
        made._waves = {
            number: _Wave(size, ended, WaveState(word)) for number, size, ended, word in dumped["waves"]
        }
        made._soak_from = dumped["soak_from"]
        made._held = {held[1]: Held(*held) for held in dumped["held"]}
        made._out_of_reach = {
            host: OutOfReach(at, host, text, since) for at, host, text, since in dumped["out_of_reach"]
        }
        made._troubles.extend(
            Trouble(scope, name, Outcome(outcome), reason)
            for scope, name, outcome, reason in dumped["troubles"]
        )
        made._run, made._slowed, made._steered, made._reason = dumped["words"]
        made._started_at, end, made._end_at = dumped["times"]
        made._end = None if end is None else RunEnd(end)
        made._remaining.load(dumped["remaining"], dumped["items"])
        return made

    def snapshot(self, now: float) -> Snapshot:
        """The run as it stands at wall time `now`."""
        until = self._end_at if self._end_at is not None else now
        return Snapshot(
            run=self._run,
            job=self._plan.job,
            total=self._total,
            ended=self._settled + self._ended.size,
            under_way=len(self._begun),
            away=len(self._away),
            debts=len(self._debts),
            outcomes={outcome: self._outcomes[outcome] for outcome in Outcome if self._outcomes[outcome]},
            calls_per_second=self._rate(now),
            elapsed=max(0.0, until - self._started_at) if self._started_at is not None else 0.0,
            left=self._left(now),
            work=self._work(now),
            waits_until=self._waits_until(now),
            waits_later=self._waits_later(),
            waves=tuple(
                WaveProgress(number, wave.size, wave.ended, wave.state)
                for number, wave in enumerate(self._waves.values(), start=1)
            ),
            troubles=tuple(self._troubles),
            slowed=self._slowed,
            steered=self._steered,
            end=self._end,
            reason=self._reason,
            held=tuple(
                f"{where}: {event.text}{_for(max(0.0, until - event.at))}"
                for where, event in self._held.items()
            ),
            out_of_reach=tuple(
                f"{event.text}, for {duration(max(0.0, until - event.since))}"
                for event in self._out_of_reach.values()
            ),
        )

    def _go_on(self, at: float) -> None:
        """Another process takes the run up: what was not started waits for its turn again."""
        self._end = self._end_at = None
        self._reason = ""
        self._out_of_reach.clear()
        self._held.clear()
        self._remaining.go_on(at)
        for wave in self._waves.values():
            wave.state = WaveState.RUNNING if wave.state is WaveState.HALTED else wave.state
        for item in self._ended.items(_OUTCOMES.index(Outcome.NOT_STARTED)):
            self._reopen(item)
            self._remaining.wait_again(item)

    def _begin(self, event: Began | Reopened) -> None:
        item = event.item
        self._remaining.begin(event)
        self._reopen(item)
        self._begun.add(item)

    def _finish(self, event: Ended) -> None:
        item = event.item
        self._remaining.end(event)
        self._begun.discard(item)
        self._reopen(item)
        self._ended[item] = _OUTCOMES.index(event.outcome)
        self._outcomes[event.outcome] += 1
        self._wave_of(item).ended += 1
        if event.debt:
            self._debts.add(item)
            self._away.add(item)
        else:
            self._debts.discard(item)
            self._away.discard(item)
        if event.outcome in _TROUBLE:
            change = self._changes[item]
            self._troubles.append(Trouble(change.scope, change.name, event.outcome, event.reason))

    def _reopen(self, item: int) -> None:
        """Takes back the end that was counted, if there was one: a resumed run takes the change up again."""
        mark = self._ended[item]
        if mark:
            self._ended[item] = 0
            self._outcomes[_OUTCOMES[mark]] -= 1
            self._wave_of(item).ended -= 1

    def _called(self, at: float, sends: int) -> None:
        if self._calls and self._calls[-1][0] == at:
            sends += self._calls.pop()[1]
        self._calls.append((at, sends))
        while self._calls and self._calls[0][0] <= at - WINDOW:
            self._calls.popleft()

    def _rate(self, now: float) -> float:
        """Requests in the last WINDOW seconds, a second; those of a list poll count when it is over."""
        return sum(sends for at, sends in self._calls if now - WINDOW < at <= now) / WINDOW

    @property
    def _halted(self) -> bool:
        return any(wave.state is WaveState.HALTED for wave in self._waves.values())

    def _work(self, now: float) -> float | None:
        """Seconds of work to go; None when the run has ended."""
        return None if self._end is not None else self._remaining.seconds(now, halted=self._halted)

    def _left(self, now: float) -> float | None:
        """Seconds to go, the pauses still to come included; None when the run has ended."""
        left = self._work(now)
        if left is None or self._halted:
            return left
        pauses = [self._plan.pause_before(wave) for wave in self._to_come()]
        if self._soak_from is not None and pauses:
            pauses[0] -= min(max(0.0, now - self._soak_from), pauses[0])
        return left + sum(pauses)

    def _to_come(self) -> list[int]:
        """The waves that have not begun; the first of all has nothing to wait for."""
        return [
            number
            for place, (number, wave) in enumerate(self._waves.items())
            if place and wave.state is WaveState.WAITING
        ]

    def _waits_until(self, now: float) -> float | None:
        untils = [event.until for event in self._held.values() if event.until is not None]
        return max((until for until in untils if until > now), default=None)

    def _waits_later(self) -> float:
        """Seconds; the pause that goes on is no longer one of them."""
        if self._end is not None or self._halted:
            return 0.0
        rollout, waves = self._plan.rollout, self._to_come()
        patience = 0.0 if rollout.when is Moment.NOW else rollout.patience * len(waves)
        soaking = 1 if self._soak_from is not None else 0
        return patience + sum(self._plan.pause_before(wave) for wave in waves[soaking:])

    def _wave_of(self, item: int) -> _Wave:
        return self._waves[self._changes[item].wave]

    def _set_wave(self, wave: int, state: WaveState) -> None:
        if wave in self._waves:
            self._waves[wave].state = state

    def _is_running(self, item: int) -> bool:
        change = self._changes.get(item)
        return change is not None and change.run_state is Status.RUNNING
