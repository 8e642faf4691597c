"""What the events of a run add up to: one row for every selected notebook, and the run's own end.

The journal stores events; this is the only place that says what they mean for a report, for the exit code
and for what we still owe. It takes any sequence of events, also one with gaps from a damaged journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.core.changing.life import Life
from fleet.core.changing.look_rules import BY_FORCE
from fleet.core.earlier import Earlier
from fleet.core.errors import Exit
from fleet.core.events import (
    Began,
    ChangeEvent,
    Counted,
    Event,
    Outcome,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Slowed,
    Spent,
    Steered,
    Used,
    WaveEnded,
    WaveStarted,
)
from fleet.core.pacing.limits import Limit
from fleet.core.planning.by_item import changes_by_item
from fleet.core.planning.plan import Change, Plan
from fleet.core.rows import WELL, Row, Track, joined, settled_row, track_of
from fleet.core.scheduling.timing import Memory
from fleet.core.text import brief


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
class RunState:
    """A run as its events tell it. `apply` takes them one by one; the order must be that of the journal.

    `started_at`, `finished_at` and `at`, the latest instant known, are wall seconds. `limits` holds the
    latest limit that the cloud named for each policy and window, by throttle key; `throttled` the last news
    of a key that named none. `spent` counts requests by operation, `peaks` the most that left in any
    window of a limit; `broke_off` says that a process ended without telling its last ones. `disturbed` says
    that somebody steered the run or took it up again. `waves_ended` are the instants at which waves ended in
    which nothing has happened since, `memory` is what waiting changes need, `uses` says of each that waits
    for its notebook to be idle what was found. `gaps` is set by whoever knows
    that events were lost: then nobody can tell what was not started. `damaged` likewise, of a journal that
    no process goes on with.
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
    waves_ended: dict[int, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    uses: dict[int, str] = field(default_factory=dict)
    gaps: bool = False
    damaged: bool = False
    _changes: Mapping[int, Change] = field(init=False, repr=False, compare=False)
    _tracks: dict[int, Track] = field(default_factory=dict, init=False)  # of changes that have begun

    def __post_init__(self) -> None:
        self._changes = changes_by_item(self.plan.changes)

    def apply(self, event: Event) -> None:
        """Takes in the next event. Raises ValueError when it is about no change of the plan."""
        self.at = max(self.at, event.at)
        if isinstance(event, ChangeEvent):
            change = self._changes.get(event.item)
            if change is None:
                raise ValueError(f"an event is about item {event.item}, which is no change of the plan")
            track = self._tracks[event.item] = self._track(change)
            track.apply(event)
            if isinstance(event, Began | Reopened):
                self.waves_ended.pop(change.wave, None)
            if isinstance(event, Began) and change.wave in self.memory.began:
                self.memory.stand_ins.pop(event.item, None)  # it was to stand in, and began with its own wave
            return
        self.memory.see(event)
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
            case WaveStarted():
                self.waves_ended.pop(event.wave, None)
            case Used():
                self.uses.update(event.found)
            case WaveEnded():
                self.waves_ended.setdefault(event.wave, event.at)
            case Steered():
                self.disturbed = True
            case RunResumed():
                self.disturbed = True
                self.broke_off |= self.end is None
                self.finished_at, self.end, self.reason = None, None, ""

    def _track(self, change: Change) -> Track:
        """What is known of the change. Its track is kept only once it began: each takes a kilobyte."""
        return self._tracks.get(change.item) or track_of(change, self.plan.created_at)

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

    def earlier(self) -> Earlier:
        """What this run leaves to the process that takes it up."""
        return Earlier(self.lives(), self.waves_ended, self.memory)

    def outcomes(self) -> dict[int, Outcome | None]:
        """How every change that began has ended, by item; None while it is open."""
        return {item: track.outcome for item, track in self._tracks.items()}

    def rows(self, *, over: bool = False) -> tuple[Row, ...]:
        """One row for every selected notebook, in the order of the plan.

        When the run is over, which its recorded end says or the caller (`over`), rows that are still open
        get the outcome that an operator must assume. A run that broke off can be taken up again: what it had
        begun stays open, and only its reason says more.
        """
        rows = list(self._joined(self.change_rows(over=over)))
        rows += [settled_row(settled, self.plan.created_at) for settled in self.plan.settled]
        return tuple(sorted(rows, key=lambda row: row.item))

    def change_rows(self, *, over: bool = False) -> list[Row]:
        """As `rows`, but one for every change: a notebook that is changed in stages has several."""
        rows = [self._row(change) for change in self.plan.changes]
        if over or self.end is not None:
            rows = [row if row.outcome is not None else self._closed(row) for row in rows]
        return rows

    def _row(self, change: Change) -> Row:
        row = self._track(change).row(self.at)
        use = self.uses.get(change.item)
        if use is None:
            return row
        if row.started_at is None:
            return replace(row, reason=f"waits for its notebook to be idle: {use}")
        return replace(row, reason=row.reason.replace(BY_FORCE, f"{BY_FORCE}; last known use: {use}"))

    def _joined(self, rows: Sequence[Row]) -> Iterable[Row]:
        """The rows of the changes, those of one notebook in one."""
        if not self.plan.staged:
            return rows
        firsts: dict[int, int] = {}
        notebooks: dict[int, dict[int, Row]] = {}
        for change, row in zip(self.plan.changes, rows, strict=True):
            first = change.item if change.follows is None else firsts[change.follows]
            firsts[change.item] = first
            notebooks.setdefault(first, {})[change.stage] = row
        return map(joined, notebooks.values())

    def _closed(self, row: Row) -> Row:
        why = f"{_ENDS[self.end]}: {brief(self.reason)}" if self.reason else _ENDS[self.end]
        resumable = self.end is None and not (self.gaps or self.damaged)
        if row.debt:
            reason = f"stopped by us and not seen RUNNING since; {why}"
            return replace(row, outcome=None if resumable else Outcome.STRANDED, reason=reason)
        if row.started_at is not None:
            reason = f"not followed to its end; {why}"
            return replace(row, outcome=None if resumable else Outcome.UNKNOWN, reason=reason)
        if self.gaps:
            return replace(row, outcome=Outcome.UNKNOWN, reason=f"the journal has gaps; {why}")
        return replace(row, outcome=Outcome.NOT_STARTED, reason="; ".join(filter(None, (why, row.reason))))


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


def between_stages(rows: Iterable[Row]) -> dict[int, int]:
    """How many notebooks have so many stages done and not their last."""
    found = Counter(row.stages_done for row in rows if row.stages_done and row.outcome not in WELL)
    return dict(sorted(found.items()))


def count(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows have each outcome, all of the closed list; `open` besides when some have none yet."""
    found = Counter("open" if row.outcome is None else row.outcome.value for row in rows)
    counts = {outcome.value: found[outcome.value] for outcome in Outcome}
    return {**counts, "open": found["open"]} if found["open"] else counts
