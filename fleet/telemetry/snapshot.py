"""What can be shown of a run at one moment. `progress` makes it from events, `live` and `plain` show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleet.core.events import (
    Outcome,
    RunEnd,
)


class WaveState(StrEnum):
    """Where a wave stands."""

    WAITING = "waiting"
    RUNNING = "running"
    GO = "go"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """One wave; `number` counts from 1 among the waves that hold changes."""

    number: int
    size: int
    ended: int
    state: WaveState


@dataclass(frozen=True, slots=True)
class Trouble:
    """A change that did not end well. The name is foreign text."""

    scope: str
    name: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one instant. Durations in seconds; `left` is the estimate, None after the end.

    It holds `work` and the pauses to come, but nobody knows how long persons keep their notebooks:
    `waits_until` is the wall second at which what is held now is over at the latest, where that is known, and
    `waits_later` is what later waves wait at most, for their soaks and for persons.
    `steered` is what somebody told the run last. `out_of_reach` says why hosts do not answer, and how long.
    """

    run: str
    job: str
    total: int
    ended: int
    under_way: int
    away: int
    debts: int
    outcomes: Mapping[Outcome, int]
    calls_per_second: float
    elapsed: float
    left: float | None
    work: float | None
    waits_until: float | None
    waits_later: float
    waves: tuple[WaveProgress, ...]
    troubles: tuple[Trouble, ...]
    slowed: str
    steered: str
    end: RunEnd | None
    reason: str
    held: tuple[str, ...] = ()
    out_of_reach: tuple[str, ...] = ()

    @property
    def wave(self) -> WaveProgress | None:
        """The wave that was started last."""
        return next((w for w in reversed(self.waves) if w.state is not WaveState.WAITING), None)
