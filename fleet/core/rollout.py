"""How a plan is released, as the job says it: waves, gates, budgets, windows. `admission` holds to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, chain

from fleet.core.events import Outcome
from fleet.core.scheduling.calendar import Calendar
from fleet.core.scheduling.timing import Idleness, Moment, Notice, Otherwise


class Disruption(StrEnum):
    """What a change may do to a running notebook."""

    NONE = "none"
    RESTART = "restart"


class ReleaseOrder(StrEnum):
    """Who goes first. The first of each kind leads in any case, so that the first wave proves the most."""

    LONGEST_FIRST = "longest-first"
    BY_OWNER = "by-owner"
    BY_POOL = "by-pool"
    BY_ID = "by-id"


@dataclass(frozen=True, slots=True)
class Share:
    """A number or a percentage of the changes."""

    amount: int
    percent: bool = False

    def of(self, total: int) -> int:
        """The number meant, rounded down but at least one for a share above zero."""
        if not self.percent:
            return self.amount
        return max(1, total * self.amount // 100) if self.amount else 0

    def __str__(self) -> str:
        return f"{self.amount}%" if self.percent else str(self.amount)


EVERYTHING = Share(100, percent=True)


@dataclass(frozen=True, slots=True)
class GateCommand:
    """A program that says whether the next wave may go; it gets `timeout` seconds."""

    command: tuple[str, ...]
    timeout: float = 120.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a plan is released. Durations in seconds; `max_unavailable` by group (see GROUPS).

    `gate` is asked after every wave but the last. `approve` names the waves after which a person decides.
    `when` says when a running notebook may be stopped, and `patience` how long after the begin of its wave
    that moment may come; `otherwise` is what happens then. Without `carry_over` a run ends with its window.
    With `accept_sold_out` a notebook is stopped although no other machine of its flavor is left.
    """

    waves: tuple[Share, ...] = (EVERYTHING,)
    soak: float = 0.0
    concurrency: int = 20
    max_failures: Share | None = None
    max_unavailable: Mapping[str, Share] = field(default_factory=dict)
    order: ReleaseOrder = ReleaseOrder.LONGEST_FIRST
    disruption: Disruption = Disruption.NONE
    accept_sold_out: bool = False
    deadline: float | None = None
    change_deadline: float = 1800.0
    gate: GateCommand | None = None
    approve: tuple[int, ...] = ()
    calendar: Calendar = field(default_factory=Calendar)
    carry_over: bool = True
    when: Moment = Moment.NOW
    patience: float = 0.0
    otherwise: Otherwise = Otherwise.SKIP
    idle: Idleness = field(default_factory=Idleness)
    notice: Notice | None = None

    @property
    def stops_nobody(self) -> bool:
        """Whether no running notebook is stopped, whatever the changes ask for."""
        return self.when is Moment.NEXT_STOP and self.otherwise is Otherwise.SKIP


def wave_sizes(total: int, waves: Sequence[Share]) -> list[int]:
    """How many changes each wave releases. The entries are running totals: `[1, 5%, 100%]` releases one
    change, then up to five percent of all, then the rest. Waves that would be empty are dropped.
    """
    return [size for size in _sizes(total, waves) if size]


def empty_waves(total: int, waves: Sequence[Share]) -> tuple[int, ...]:
    """Which entries of `waves`, counted from 1, release none of `total` changes."""
    return tuple(number for number, size in enumerate(_sizes(total, waves), start=1) if not size)


def without_empty_waves(rollout: Rollout, *totals: int) -> Rollout:
    """The rollout as it will be walked: later waves, and the approvals after them, move up.

    Each of `totals` changes is released in waves of its own, one after the other; waves are counted through.
    """
    sizes = [list(_sizes(total, rollout.waves)) for total in totals if total]
    walked = list(accumulate(bool(size) for size in chain.from_iterable(sizes)))
    if not walked or walked[-1] == len(walked):
        return rollout
    kept = tuple(share for at, share in enumerate(rollout.waves) if any(stage[at] for stage in sizes))
    moved = dict.fromkeys(walked[wave - 1] for wave in rollout.approve if wave <= len(walked))
    return replace(rollout, waves=kept, approve=tuple(wave for wave in moved if wave < walked[-1]))


def _sizes(total: int, waves: Sequence[Share]) -> Iterator[int]:
    released = 0
    for share in waves:
        upto = max(released, min(total, share.of(total)))
        yield upto - released
        released = upto
    if released < total:
        yield total - released


GROUPS = ("fleet", "scope", "owner", "pool", "flavor")


FAILURES = frozenset({Outcome.FAILED, Outcome.STRANDED, Outcome.UNKNOWN})
NOT_BACK = frozenset({Outcome.STRANDED, Outcome.UNKNOWN})
