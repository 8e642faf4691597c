"""Whether the next wave may go once this one has ended well: first a program's word, then a person's.

Decided without awaiting: `next_move` says what is still to be found out, `engine.wave_gate` finds it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleet.core.events import Outcome
from fleet.core.rollout import FAILURES, NOT_BACK, GateCommand


class Finding(StrEnum):
    """What the program of a rollout found."""

    GO = "go"
    STOP = "stop"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Check:
    """How the program ended, in words."""

    finding: Finding
    reason: str


def check_of(code: int, said: str = "") -> Check:
    """What an exit code means; `said` is the last line that the program wrote."""
    finding = {0: Finding.GO, 1: Finding.STOP}.get(code, Finding.INCONCLUSIVE)
    how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    return Check(finding, f"the gate's command says {finding} ({how}{said and f': {said}'})")


def no_check(why: str) -> Check:
    """A program that came to no end of its own."""
    return Check(Finding.INCONCLUSIVE, f"the gate's command says {Finding.INCONCLUSIVE} ({why})")


def environment(run: str, wave: int, counts: Mapping[str, int]) -> dict[str, str]:
    """What the program is told: the run, the wave that ended, and the run's changes so far by outcome."""
    return {"FLEET_RUN": run, "FLEET_WAVE": str(wave), "FLEET_COUNTS": json.dumps(counts)}


@dataclass(frozen=True, slots=True)
class Question:
    """What is known so far. `wanted` says that a person must approve, `attended` that one can be asked."""

    command: GateCommand | None
    wanted: bool
    attended: bool
    check: Check | None = None
    approved: bool = False
    run: str = ""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Let the program judge."""

    command: GateCommand


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Wait until a person approves; `why` is what there is to know."""

    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the next wave may go."""

    go: bool
    reason: str


def next_move(question: Question) -> RunCommand | AskPerson | Decision:
    """What to do next to find out whether the next wave may go."""
    check = question.check
    if question.command is not None and check is None:
        return RunCommand(question.command)
    said = check.reason if check is not None else ""
    if check is not None and check.finding is Finding.STOP:
        return Decision(False, said)
    if question.approved:
        return Decision(True, "; ".join(part for part in (said, "approved by a person") if part))
    if question.wanted:
        return AskPerson(said)
    if check is not None and check.finding is Finding.INCONCLUSIVE:
        return AskPerson(said) if question.attended else Decision(False, f"{said}; {_alone(question.run)}")
    return Decision(True, said)


def _alone(run: str) -> str:
    return f"nobody could be asked: at a terminal this asks again, and you may approve: fleet resume {run}"


PROOFS = frozenset({Outcome.CHANGED, Outcome.UNCHANGED})


def verdict(outcomes: Mapping[Outcome, int], exhausted: str | None) -> str | None:
    """Why no further wave may be released after one with so many `outcomes`; None means "go"."""
    if exhausted is not None:
        return exhausted
    lost = sum(outcomes.get(outcome, 0) for outcome in NOT_BACK)
    if lost:
        return f"{lost} stranded or unknown"
    failed = sum(outcomes.get(outcome, 0) for outcome in FAILURES)
    if failed and not outcomes.get(Outcome.CHANGED):
        return f"none of the wave was changed, {failed} failed"
    return None


def trial_size(waves: Iterable[tuple[int, Mapping[Outcome, int]]]) -> int | None:
    """How many changes may go next after `waves`, each its size and outcomes; None: as many as planned.

    A wave none of whose notebooks came to hold what was planned proves nothing, and no larger one may follow.
    """
    size = None
    for planned, outcomes in waves:
        proven = any(outcomes.get(outcome) for outcome in PROOFS)
        size = None if proven else min(planned, size or planned)
    return size
