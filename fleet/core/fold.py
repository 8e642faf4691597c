"""What the events of a run add up to: one row for every selected notebook, and the run's own end.

The journal stores events; this is the only place that says what they mean for a report, for the exit code
and for what we still owe. It takes any sequence of events, also one with gaps from a damaged journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fleet.core.change import advance
from fleet.core.errors import Exit
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Counted,
    Ended,
    Event,
    Fate,
    Intended,
    Late,
    Outcome,
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
)
from fleet.core.life import Life
from fleet.core.notebook import Lease, LeaseType
from fleet.core.pace import Limit
from fleet.core.patch import readable
from fleet.core.plan import Change, Plan, Settled


@dataclass(frozen=True, slots=True)
class Calls:
    """Requests sent, by kind. A write without an answer counts as sent. List polls are not a notebook's."""

    put: int = 0
    stop: int = 0
    start: int = 0
    get: int = 0
    lease: int = 0


@dataclass(frozen=True, slots=True)
class LeaseLeft:
    """Auto stop as it stood at one moment; `left_s` is None when it was off."""

    enable: bool
    type: LeaseType
    left_s: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one selected notebook.

    `outcome` is None while the change is open. Instants are wall seconds; `away_s` counts from our stop to
    the look that showed RUNNING again, or to the end when there was none. `written` says that a PUT was
    accepted or may have been. `fix` pays the `debt`.
    """

    item: int
    scope: str
    id: str
    name: str
    owner: str
    wave: int | None
    outcome: Outcome | None
    reason: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    run_state_before: str
    run_state_after: str
    lease_before: LeaseLeft | None
    lease_after: LeaseLeft | None
    started_at: float | None = None
    finished_at: float | None = None
    away_s: float = 0.0
    calls: Calls = Calls()
    request_ids: tuple[str, ...] = ()
    written: bool = False
    debt: bool = False
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Debt:
    """A notebook that we stopped `at` (wall seconds) and have not brought back; `fix` is the command."""

    item: int
    scope: str
    id: str
    name: str
    at: float
    fix: str


@dataclass(slots=True)
class _Track:
    """One change as its events come in. `life` is the very value that the engine acted on."""

    change: Change
    life: Life
    after: dict[str, Any]
    run_state: str
    lease_before: LeaseLeft | None
    lease_after: LeaseLeft | None
    started_at: float | None = None
    finished_at: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    calls: Counter[Step] = field(default_factory=Counter)
    request_ids: dict[str, None] = field(default_factory=dict)
    intent: Intended | None = None  # not answered yet
    written: bool = False
    owed_since: float | None = None
    away_s: float = 0.0

    def apply(self, event: ChangeEvent) -> None:
        if self.started_at is None:
            self.started_at = event.at
        match event:
            case Began() | Reopened():
                self._unanswered()
                self.outcome, self.finished_at, self.reason = None, None, ""
            case Intended():
                self._unanswered()
                self.intent = event
                self.calls[event.step] += 1
            case Answered():
                self._answered(event)
            case Saw():
                self._saw(event)
            case Blind():
                self.calls[Step.LOOK] += event.sends
            case Late():
                self._unsent()
            case Ended():
                if event.outcome is Outcome.NOT_STARTED:
                    self._unsent()
                self.outcome, self.reason, self.finished_at = event.outcome, event.reason, event.at
        self.life = advance(self.life, event)
        if isinstance(event, Ended):
            self.life = self.life._replace(debt=event.debt)
        self._book_absence(event)

    def _book_absence(self, event: ChangeEvent) -> None:
        """Counts the time from the intent of a stop to the look that showed the notebook back."""
        stops = isinstance(event, Intended) and event.step is Step.STOP  # it was seen RUNNING until now
        if self.life.debt and (self.owed_since is None or stops):
            self.owed_since = event.at
        elif not self.life.debt and self.owed_since is not None:
            if not isinstance(event, Answered):  # a stop that was refused took nothing away
                self.away_s += max(0.0, event.at - self.owed_since)
            self.owed_since = None

    def _unanswered(self) -> None:
        """Nothing more will be heard of the last intent: it may have been applied."""
        self.written, self.intent = self._may_have_written(), None

    def _may_have_written(self) -> bool:
        return self.written or (self.intent is not None and self.intent.step is Step.PUT)

    def _unsent(self) -> None:
        """The last intent got no further than the journal: whatever is sent is answered before this."""
        if self.intent is not None:
            self.calls[self.intent.step] -= 1
            self.intent = None

    def _answered(self, event: Answered) -> None:
        self.written |= event.step is Step.PUT and event.fate is not Fate.REFUSED
        self._note_request(event.request_id)
        self.calls[event.step] += event.sends
        intent, self.intent = self.intent, None
        if intent is None or intent.step is not event.step:
            return
        self.calls[event.step] -= 1
        if event.step is Step.PUT and event.fate is Fate.ACCEPTED:
            # No look will ever show these fields: the answer is all the proof there is.
            self.after.update({name: value for name, value in intent.body.items() if not readable(name)})

    def _saw(self, event: Saw) -> None:
        sight = event.sight
        self.calls[Step.LOOK] += event.sends
        self._note_request(event.request_id)
        self.after.update(sight.values)
        self.run_state = sight.word or sight.status.value
        if sight.lease is not None:
            self.lease_after = _lease_left(sight.lease, sight.left)
            if not self.life.tries:
                self.lease_before = self.lease_after

    def _note_request(self, request_id: str) -> None:
        if request_id:
            self.request_ids[request_id] = None

    def row(self, now: float) -> Row:
        """The row as of `now`, the latest instant known."""
        change, until = self.change, now if self.finished_at is None else self.finished_at
        owed = max(0.0, until - self.owed_since) if self.owed_since is not None else 0.0
        return Row(
            item=change.item,
            scope=change.scope,
            id=change.id,
            name=change.name,
            owner=change.owner,
            wave=change.wave,
            outcome=self.outcome,
            reason=self.reason,
            before=change.before,
            after=dict(self.after),
            run_state_before=change.run_state.value,
            run_state_after=self.run_state,
            lease_before=self.lease_before,
            lease_after=self.lease_after,
            started_at=self.started_at,
            finished_at=self.finished_at,
            away_s=round(self.away_s + owed, 3),
            calls=Calls(**{step.value: count for step, count in self.calls.items()}),
            request_ids=tuple(self.request_ids),
            written=self._may_have_written(),
            debt=self.life.debt,
            fix=self.life.fix,
        )


@dataclass(slots=True)
class RunState:
    """A run as its events tell it. `apply` takes them one by one; the order must be that of the journal.

    `started_at`, `finished_at` and `at`, the latest instant known, are wall seconds. `limits` holds the
    latest limit that the cloud named for each policy and window, by throttle key; `throttled` the last news
    of a key that named none. `spent` counts requests by operation, `peaks` the most that left in any
    window of a limit; `broke_off` says that a process ended without telling its last ones. `disturbed` says
    that somebody steered the run or took it up again. `gaps` is set by whoever knows that events were lost:
    then nobody can tell what was not started.
    """

    plan: Plan
    run: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    at: float = 0.0
    end: RunEnd | None = None
    reason: str = ""
    limits: dict[str, dict[tuple[str, float], Limit]] = field(default_factory=dict)
    throttled: dict[str, str] = field(default_factory=dict)
    spent: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, dict[Limit, int]] = field(default_factory=dict)
    broke_off: bool = False
    disturbed: bool = False
    gaps: bool = False
    _changes: dict[int, Change] = field(init=False, repr=False, compare=False)
    _tracks: dict[int, _Track] = field(default_factory=dict, init=False)  # of changes that have begun

    def __post_init__(self) -> None:
        self._changes = {change.item: change for change in self.plan.changes}

    def apply(self, event: Event) -> None:
        """Takes in the next event. Raises ValueError when it is about no change of the plan."""
        self.at = max(self.at, event.at)
        if isinstance(event, ChangeEvent):
            change = self._changes.get(event.item)
            if change is None:
                raise ValueError(f"an event is about item {event.item}, which is no change of the plan")
            track = self._tracks[event.item] = self._track(change)
            track.apply(event)
            return
        match event:
            case RunStarted():
                self.run = event.run
                self.started_at = event.at if self.started_at is None else self.started_at
                self.finished_at, self.end, self.reason = None, None, ""
            case RunEnded():
                self.finished_at, self.end, self.reason = event.at, event.end, event.reason
            case Slowed():
                self._slowed(event)
            case Counted():
                self._counted(event)
            case Spent():
                self.spent.update(event.requests)
            case Steered():
                self.disturbed = True
            case RunResumed():
                self.disturbed = True
                self.broke_off |= self.end is None
                self.finished_at, self.end, self.reason = None, None, ""

    def _track(self, change: Change) -> _Track:
        """What is known of the change. Its track is kept only once it began: each takes a kilobyte."""
        return self._tracks.get(change.item) or _track(change, self.plan.created_at)

    def _counted(self, event: Counted) -> None:
        limits = self.peaks.setdefault(event.key, {})
        limit = Limit(event.policy, event.count, event.window)
        limits[limit] = max(event.most, limits.get(limit, 0))

    def _slowed(self, event: Slowed) -> None:
        if event.limit is None:
            self.throttled[event.key] = event.text
        else:
            self.limits.setdefault(event.key, {})[event.limit.policy, event.limit.window] = event.limit

    def lives(self) -> dict[int, Life]:
        """Where every change that began stands, by item."""
        return {item: track.life for item, track in self._tracks.items()}

    def outcomes(self) -> dict[int, Outcome | None]:
        """How every change that began has ended, by item; None while it is open."""
        return {item: track.outcome for item, track in self._tracks.items()}

    def rows(self, *, over: bool = False) -> tuple[Row, ...]:
        """One row for every selected notebook, in the order of the plan.

        When the run is over, which its recorded end says or the caller (`over`), rows that are still open
        get the outcome that an operator must assume.
        """
        rows = [self._track(change).row(self.at) for change in self.plan.changes]
        if over or self.end is not None:
            rows = [row if row.outcome is not None else self._closed(row) for row in rows]
        rows += [_settled_row(settled, self.plan.created_at) for settled in self.plan.settled]
        return tuple(sorted(rows, key=lambda row: row.item))

    def _closed(self, row: Row) -> Row:
        why = f"{_ENDS[self.end]}: {self.reason}" if self.reason else _ENDS[self.end]
        if row.debt:
            reason = f"stopped by us and not seen RUNNING since; {why}"
            return replace(row, outcome=Outcome.STRANDED, reason=reason)
        if row.started_at is not None:
            return replace(row, outcome=Outcome.UNKNOWN, reason=f"not followed to its end; {why}")
        if self.gaps:
            return replace(row, outcome=Outcome.UNKNOWN, reason=f"the journal has gaps; {why}")
        return replace(row, outcome=Outcome.NOT_STARTED, reason=why)


_ENDS = {
    RunEnd.FINISHED: "the run finished",
    RunEnd.HALTED: "the run was halted",
    RunEnd.INTERRUPTED: "the run was interrupted",
    RunEnd.LOCKED_OUT: "the run lost its credentials",
    None: "the run broke off",
}


def fold(plan: Plan, events: Iterable[Event]) -> RunState:
    """The state of the run of `plan` after `events`."""
    state = RunState(plan)
    for event in events:
        state.apply(event)
    return state


def debts(state: RunState) -> tuple[Debt, ...]:
    """What is owed, in the order of the plan, with the command that pays each debt."""
    return tuple(
        Debt(one.item, one.scope, one.id, one.name, track.owed_since or 0.0, track.life.fix)
        for one in state.plan.changes
        if (track := state._tracks.get(one.item)) is not None and track.life.debt
    )


def exit_code(rows: Iterable[Row], end: RunEnd | None) -> Exit:
    """The exit code of a run that is over; where several hold, the largest. `end` None: it broke off."""
    codes = {Exit.DONE, _END_CODES[end]}
    for row in rows:
        codes.add(Exit.STRANDED if row.debt else _OUTCOME_CODES.get(row.outcome, Exit.DONE))
    return max(codes)


_END_CODES = {
    RunEnd.FINISHED: Exit.DONE,
    RunEnd.HALTED: Exit.STOPPED_BY_GUARD,
    RunEnd.LOCKED_OUT: Exit.STOPPED_BY_GUARD,
    RunEnd.INTERRUPTED: Exit.INTERRUPTED,
    None: Exit.INTERRUPTED,
}
_OUTCOME_CODES: Mapping[Outcome | None, Exit] = {
    Outcome.FAILED: Exit.SOME_FAILED,
    Outcome.DRIFTED: Exit.SOME_DRIFTED,
    Outcome.GONE: Exit.SOME_DRIFTED,
    Outcome.STRANDED: Exit.STRANDED,
    Outcome.UNKNOWN: Exit.STRANDED,
}


def count(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows have each outcome, all of the closed list; `open` besides when some have none yet."""
    found = Counter("open" if row.outcome is None else row.outcome.value for row in rows)
    counts = {outcome.value: found[outcome.value] for outcome in Outcome}
    return {**counts, "open": found["open"]} if found["open"] else counts


def _track(change: Change, planned_at: float) -> _Track:
    lease = _planned_lease(change.lease, planned_at)
    return _Track(change, Life.begin(change), dict(change.before), change.run_state.value, lease, lease)


def _settled_row(settled: Settled, planned_at: float) -> Row:
    lease = _planned_lease(settled.lease, planned_at)
    return Row(
        item=settled.item,
        scope=settled.scope,
        id=settled.id,
        name=settled.name,
        owner=settled.owner,
        wave=None,
        outcome=settled.outcome,
        reason=settled.reason,
        before=settled.values,
        after=settled.values,
        run_state_before=settled.run_state,
        run_state_after=settled.run_state,
        lease_before=lease,
        lease_after=lease,
    )


def _planned_lease(lease: Lease | None, planned_at: float) -> LeaseLeft | None:
    if lease is None:
        return None
    return _lease_left(lease, lease.left(int(planned_at * 1000)) if lease.enable else None)


def _lease_left(lease: Lease, left: int | None) -> LeaseLeft:
    return LeaseLeft(lease.enable, lease.type, None if left is None else round(left / 1000))
