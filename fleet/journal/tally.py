"""The numbers of a run as it is written, so that nobody need read every event again to see how it stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
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
    Step,
)
from fleet.core.planning.plan import Plan

# Ends that a resumed run may better; nothing follows the others.
_NOT_FINAL = frozenset({Outcome.STRANDED, Outcome.UNKNOWN, Outcome.NOT_STARTED})
_LOOKS = frozenset({Saw, Blind})
_TAKES_BACK = frozenset({Ended, Began, Reopened})  # the end that was counted before
_OF_CHANGES = frozenset(get_args(ChangeEvent))  # by their type: to ask for it costs least, six times a change


@dataclass(slots=True)
class Tally:
    """Counts outcomes from the few events that decide them, and remembers which events still matter.

    `counts` has every end so far, and the notebooks without a change. `seq` is the number of the last event,
    `at` the latest instant. `open` holds changes that have begun and not ended, `final` a bit for each that
    nothing follows any more. Of all others, `ended` says how they ended and `seqs` are the numbers of their
    events; `course` are those that begin and end the run. `written`: a PUT was accepted or may have been.
    `certain` ends when something did follow: then only all the events can tell.
    """

    untouched: int
    counts: Counter[Outcome]
    final: bytearray
    started_at: float | None = None
    finished_at: float | None = None
    end: RunEnd | None = None
    seq: int = 0
    at: float = 0.0
    written: bool = False
    certain: bool = True
    ended: dict[int, Outcome] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    seqs: dict[int, list[int]] = field(default_factory=dict)
    course: list[int] = field(default_factory=list)
    _at_rest: set[int] = field(default_factory=set)  # of `seqs`: ended, with nothing owed
    _unanswered: set[int] = field(default_factory=set)  # PUTs

    @classmethod
    def of(cls, plan: Plan) -> Tally:
        """Before anything happened."""
        size = max((change.item for change in plan.changes), default=0) // 8 + 1
        counts = Counter(row.outcome for row in plan.settled)
        # Counted are changes. Where a notebook has several, only all the events tell how it ended.
        return cls(len(plan.changes), counts, bytearray(size), certain=not plan.staged)

    def take(self, event: Event) -> None:
        """Takes in the next event."""
        self.seq += 1
        if event.at > self.at:
            self.at = event.at
        if type(event) in _OF_CHANGES:
            self._follow(cast(ChangeEvent, event))
            return
        match event:
            case RunStarted() | RunResumed():
                self.started_at = event.at if self.started_at is None else self.started_at
                self.finished_at, self.end = None, None
                self.course.append(self.seq)
            case RunEnded():
                self.finished_at, self.end = event.at, event.end
                self.course.append(self.seq)

    def _follow(self, event: ChangeEvent) -> None:
        item = event.item
        seqs = self.seqs.get(item)
        if seqs is not None:
            seqs.append(self.seq)
        elif is_final(self.final, item):
            self.certain = False
            return
        else:
            self.seqs[item] = [self.seq]
            self.untouched -= 1
        if self._at_rest:
            self._at_rest.discard(item)
        kind = type(event)
        if kind in _LOOKS:  # as most are; a look decides nothing here
            if item not in self.ended:
                self.open.add(item)
            return
        self._note_put(event)
        if kind in _TAKES_BACK and item in self.ended:
            self.counts[self.ended.pop(item)] -= 1
        if isinstance(event, Ended):
            self._end(event)
        elif item not in self.ended:
            self.open.add(item)

    def _end(self, event: Ended) -> None:
        item = event.item
        self.open.discard(item)
        self.counts[event.outcome] += 1
        if event.outcome not in _NOT_FINAL and not event.debt:
            self.final[item >> 3] |= 1 << (item & 7)
            self.written |= item in self._unanswered
            self._unanswered.discard(item)
            del self.seqs[item]
            return
        self.ended[item] = event.outcome
        if not event.debt:
            self._at_rest.add(item)

    def _note_put(self, event: ChangeEvent) -> None:
        """As `Track` does: a PUT of which nothing more will be heard may have been applied."""
        item = event.item
        if isinstance(event, Answered):
            self.written |= event.step is Step.PUT and event.fate is not Fate.REFUSED
            self._unanswered.discard(item)
            return
        if item in self._unanswered:
            if isinstance(event, Late) or (isinstance(event, Ended) and event.outcome is Outcome.NOT_STARTED):
                self._unanswered.discard(item)
            elif not isinstance(event, Ended):  # what ended may be told to have been late, as long as it may
                self.written = True
                self._unanswered.discard(item)
        if isinstance(event, Intended) and event.step is Step.PUT:
            self._unanswered.add(item)

    def summary(self) -> dict[str, Any] | None:
        """The final numbers; None when a change was cut off, so that only the events can tell."""
        if self.open or self.end is None or not self.certain:
            return None
        found = Counter(self.counts)
        found[Outcome.NOT_STARTED] += self.untouched
        return {
            "end": self.end,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "counts": {outcome.value: found[outcome] for outcome in Outcome},
        }

    def dump(self) -> dict[str, Any]:
        """What events to come can be added to, as JSON.

        `pending` are the events of changes under way or owed, whose ends are not in `counts`; `resting` those
        of changes that ended, but may be taken up again, with the outcome.
        """
        pending = {item: seqs for item, seqs in self.seqs.items() if item not in self._at_rest}
        counts = Counter(self.counts)
        counts.subtract(self.ended[item] for item in pending if item in self.ended)
        return {
            "seq": self.seq,
            "at": self.at,
            "written": self.written or not self._unanswered.isdisjoint(self._at_rest),
            "course": self.course,
            "pending": list(pending.items()),
            "resting": [[item, self.ended[item], self.seqs[item]] for item in self._at_rest],
            "counts": {outcome.value: number for outcome, number in counts.items() if number},
            "untouched": self.untouched,
            "final": self.final.hex(),
        }


def is_final(final: bytes | bytearray, item: int) -> bool:
    """Whether nothing follows any more of the change, by the bits of a tally."""
    return bool(final[item >> 3] >> (item & 7) & 1)
