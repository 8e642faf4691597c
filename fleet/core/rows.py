"""The row of one selected notebook: what the plan said of it, and what the events of its change add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

from fleet.core.changing.change import advance
from fleet.core.changing.life import Life
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Ended,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    Saw,
    Step,
)
from fleet.core.notebook import Lease, LeaseType
from fleet.core.patch import readable
from fleet.core.planning.plan import Change, Settled


@dataclass(frozen=True, slots=True)
class Calls:
    """Requests sent, by kind. A write without an answer counts as sent. List polls are not a notebook's."""

    put: int = 0
    stop: int = 0
    start: int = 0
    get: int = 0
    lease: int = 0
    save: int = 0

    @property
    def by_kind(self) -> dict[str, int]:
        """The numbers by name. `asdict` copies deeply, which takes ten times as long."""
        return {kind: getattr(self, kind) for kind in self.__slots__}


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
    the look that showed RUNNING again, or to the end when there was none. `idle_s` are the seconds between
    its stages, in which nothing was done; `queued_s` those before the end of a first look, nearly all of them
    in line for a place under the rate. `stages_done` is the number of the last stage that went well, where
    there are several. `written` says that a PUT was accepted or may have been. `fix` pays the `debt`.
    `run_state_before` is the one to come back to, `run_state_after` the one seen last: empty where the run
    has not looked, or not since its stop. Of notebooks without a change both are as the plan saw them.
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
    idle_s: float = 0.0
    queued_s: float = 0.0
    stages_done: int = 0
    calls: Calls = Calls()
    request_ids: tuple[str, ...] = ()
    written: bool = False
    debt: bool = False
    fix: str = ""


@dataclass(slots=True)
class Track:
    """One change as its events come in. `life` is the very value that the engine acted on."""

    change: Change
    life: Life
    after: dict[str, Any]
    run_state: str  # seen last, or empty
    lease_before: LeaseLeft | None
    lease_after: LeaseLeft | None
    started_at: float | None = None
    looked_at: float | None = None  # when the first look was over
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
        if self.looked_at is None and isinstance(event, Saw | Blind):
            self.looked_at = event.at
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
        began, looked = self.started_at, self.looked_at
        before = self.life.change.run_state.value
        queued = 0.0 if began is None or looked is None else max(0.0, looked - began)
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
            run_state_before=before,
            run_state_after="" if self.life.debt and self.run_state == before else self.run_state,
            lease_before=self.lease_before,
            lease_after=self.lease_after,
            started_at=self.started_at,
            finished_at=self.finished_at,
            away_s=round(self.away_s + owed, 3),
            queued_s=round(queued, 3),
            calls=Calls(**{step.value: count for step, count in self.calls.items()}),
            request_ids=tuple(self.request_ids),
            written=self._may_have_written(),
            debt=self.life.debt,
            fix=self.life.fix,
        )


def track_of(change: Change, planned_at: float) -> Track:
    lease = _planned_lease(change.lease, planned_at)
    return Track(change, Life.begin(change), dict(change.before), "", lease, lease)


WELL = frozenset({Outcome.CHANGED, Outcome.UNCHANGED})


def joined(stages: Mapping[int, Row]) -> Row:
    """The one row of a notebook that was changed in `stages`, in their order by number.

    The first stage that did not go well decides. Run state and lease are those of the latest stage that sent
    anything: between two stages they are the owner's to change.
    """
    if len(stages) == 1:
        return next(iter(stages.values()))
    rows = list(stages.values())
    begun = [row for row in rows if row.calls != Calls()] or rows[:1]
    number, deciding = next(((n, row) for n, row in stages.items() if row.outcome not in WELL), (0, rows[-1]))
    done = max((n for n in stages if not number or n < number), default=0)
    outcome = deciding.outcome
    if outcome in WELL:
        outcome = Outcome.CHANGED if any(row.outcome is Outcome.CHANGED for row in rows) else outcome
    before = {name: value for row in reversed(rows) for name, value in row.before.items()}
    return replace(
        begun[-1],
        item=rows[0].item,
        wave=deciding.wave,
        outcome=outcome,
        reason=_reason(deciding, number, done) if number else deciding.reason,
        before=before,
        after=before | {name: value for row in begun for name, value in row.after.items()},
        started_at=begun[0].started_at,
        finished_at=None if outcome is None else begun[-1].finished_at,
        away_s=round(sum(row.away_s for row in rows), 3),
        idle_s=round(sum(_between(one, other) for one, other in pairwise(begun)), 3),
        queued_s=round(sum(row.queued_s for row in rows), 3),
        stages_done=done,
        calls=sum_of(row.calls for row in rows),
        request_ids=tuple(dict.fromkeys(chain.from_iterable(row.request_ids for row in rows))),
        written=any(row.written for row in rows),
        debt=any(row.debt for row in rows),
        fix=next((row.fix for row in rows if row.fix), ""),
    )


def _reason(row: Row, number: int, done: int) -> str:
    """What became of stage `number`, and that those up to `done` are behind it: their values are written."""
    begun = " not started" if row.outcome is Outcome.NOT_STARTED else ""
    told = f"stage {number}{begun}: {row.reason}" if row.reason else ""
    return "; ".join(filter(None, (stages_words(done) if done else "", told)))


def stages_words(done: int) -> str:
    """For people: what a notebook has behind it that has `done` so many stages."""
    return "stage 1 done" if done == 1 else f"stages 1 to {done} done"


def _between(one: Row, other: Row) -> float:
    """Seconds from the end of a stage to the beginning of the next."""
    if one.finished_at is None or other.started_at is None:
        return 0.0
    return max(0.0, other.started_at - one.finished_at)


def sum_of(calls: Iterable[Calls]) -> Calls:
    """All calls together."""
    totals = Counter[str]()
    for one in calls:
        totals.update(one.by_kind)
    return Calls(**totals)


def settled_row(settled: Settled, planned_at: float) -> Row:
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
