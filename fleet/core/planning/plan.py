"""The list of changes that a person reviews and the engine then performs, and nothing else.

The values `before` are the fence: a notebook that no longer holds them is left alone. A plan may hold a
million notebooks, so equal values are kept once. As a file it is sealed: see `plan_file`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fleet.core.changing.saved_image import body_of
from fleet.core.events import Outcome
from fleet.core.notebook import Lease, Status
from fleet.core.patch import When
from fleet.core.planning.guards import CONFIRM_OVER
from fleet.core.rollout import Rollout
from fleet.core.whitelist import Breadth

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One PUT: its body and the run state it is sent in."""

    when: When
    body: Mapping[str, Any]


_Way = tuple[tuple[Phase, ...], Mapping[str, Any], Mapping[str, Any]]

_WAY = ("phases", "before", "after")
_WAYS: dict[str, _Way] = {}
_MOST_WAYS = 1024


def _shared(*way: *_Way) -> _Way:
    """The same values, in the very objects of an equal change met before: most of a plan are alike."""
    if len(_WAYS) >= _MOST_WAYS:
        _WAYS.clear()
    return _WAYS.setdefault(repr(way), way)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a month costs before and after a change, in the currency's units, to the cent.

    `before` and `after` count the part of the month that the notebook ran, as far as that is known; the full
    ones all of it. Plans of earlier versions do not tell these.
    """

    before: Decimal
    after: Decimal
    currency: str
    full_before: Decimal | None = None
    full_after: Decimal | None = None

    @property
    def saved(self) -> Decimal:
        """What a month costs less afterwards; negative when it costs more."""
        return self.before - self.after

    @property
    def saved_full(self) -> Decimal | None:
        """The same if the notebook ran all of the month."""
        if self.full_before is None or self.full_after is None:
            return None
        return self.full_before - self.full_after


@dataclass(frozen=True, slots=True)
class Change:
    """One notebook's planned way.

    `run_state` (RUNNING or STOPPED) and `lease` are what it comes back to; `arriving` is set when the
    notebook was on its way to that state at plan time. `before` and `after` hold the planned fields in
    the form of the PUT body. `why` says for people what asked for this change, `cost` what it costs or saves
    where prices are known. `stage` counts the patches of a staged proposal from 1; `follows` is the item of
    the notebook's stage before it, without whose success this change never starts. `allow` are the forms of
    whitelist entries that it may send. `save` is the image (organization/name) that the environment is saved
    as before the first stop, in the workspace `save_in`; empty when it is not.
    """

    item: int
    scope: str
    id: str
    name: str
    owner: str
    pool: str
    flavor: str
    wave: int
    run_state: Status
    arriving: bool
    may_restart: bool
    phases: tuple[Phase, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    lease: Lease | None = None
    notes: tuple[str, ...] = ()
    why: str = ""
    cost: Cost | None = None
    stage: int = 1
    follows: int | None = None
    allow: tuple[Breadth, ...] = ()
    save: str = ""
    save_in: str = ""

    def __post_init__(self) -> None:
        for name, value in zip(_WAY, _shared(self.phases, self.before, self.after), strict=True):
            object.__setattr__(self, name, value)

    @property
    def needs_restart(self) -> bool:
        """Whether the way leads through the other run state."""
        return any(not phase.when.allows(self.run_state) for phase in self.phases)

    @property
    def save_body(self) -> Mapping[str, str]:
        """The body of the call that saves the environment. Raises InvalidField for what is no image's."""
        return body_of(self.save, self.save_in)

    @property
    def takes_as_found(self) -> bool:
        """Whether it takes the run state that it finds: a later stage comes long after the plan."""
        return self.stage > 1

    @property
    def may_go_away(self) -> bool:
        """Whether its notebook may be taken away: any that runs may turn out to need a restart.

        The cloud can refuse a field while a notebook runs, and one that was stopped when its first stage was
        planned may run when the next one comes.
        """
        may_run = self.run_state is Status.RUNNING or self.takes_as_found
        return self.needs_restart or (self.may_restart and may_run)


@dataclass(frozen=True, slots=True)
class Settled:
    """A selected notebook that needs no work (`unchanged`) or gets none (`skipped`, with the reason)."""

    item: int
    scope: str
    id: str
    name: str
    owner: str
    outcome: Outcome
    reason: str
    run_state: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """The waves from `wave` on make one patch of a staged proposal, which `does` so much in words.

    `pause` are the seconds that must pass before it, counted from the end of the wave before, in place of the
    soak. It begins `not_before` this instant (wall seconds), where an earlier run made the stage before it.
    """

    number: int
    wave: int
    pause: float
    does: str = ""
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanScope:
    """Where a scope pointed at plan time; `apply` refuses when the configuration says otherwise.

    `rate` is empty where it is yet to be learned.
    """

    name: str
    region: str
    project_id: str
    endpoint: str
    listed: int
    throttle: str
    rate: str


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that a stop and a start took on one flavor, or on those of its category: half of them no longer
    than `stop` and `start`, 95 % no longer than the slow ones. `of` so many were timed.
    """

    stop: float
    start: float
    slow_stop: float
    slow_start: float
    of: int


@dataclass(frozen=True, slots=True)
class Absence:
    """How many notebooks of one owner are stopped and started, and how many seconds they are away in all."""

    owner: str
    notebooks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Effort:
    """Calls and seconds, as in an estimate."""

    reads: int
    writes: int
    lists: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the run will cost: calls, and seconds from the slowest of rate, slots and critical path, with the
    soaks between waves.

    `reads` are those of single notebooks, `lists` about how many pages the list polls take. `seconds` counts
    with stops and starts as half of them were, `slow_seconds` with what 95 % did not exceed: a slow day is
    slow for all. `times` are those that were learned, by flavor; all others are assumed. `away` tells whom
    the run takes notebooks from, the longest first. A rollout that waits for people costs at most so much,
    and as little as `spared` if all who run are stopped by their persons; None where both are the same.
    """

    reads: int
    writes: int
    seconds: float
    lists: int = 0
    slow_seconds: float = 0.0
    times: Mapping[str, Took] = field(default_factory=dict)
    away: tuple[Absence, ...] = ()
    spared: Effort | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `apply` needs, and the seal. `names` says what the image ids in it are called.

    Its rows do not show in its repr, which asyncio makes of whatever its main task returns. `protect` is the
    selector of what must not be touched, kept for plans that come from this one's run. `narrowed` tells what
    else than the selector chose the notebooks. `overrides` has the guards that were lifted, each with the
    reason. More than `confirm_over` notebooks are changed only by who says their number. `stages` are those
    that hold changes, if the job proposes in stages.
    """

    format: int
    job: str
    job_type: str
    select: str
    created_at: float
    engine: str
    scopes: tuple[PlanScope, ...]
    rollout: Rollout
    changes: tuple[Change, ...] = field(repr=False)
    settled: tuple[Settled, ...] = field(repr=False)
    checks: tuple[str, ...]
    estimate: Estimate
    names: Mapping[str, str] = field(default_factory=dict)
    protect: str = ""
    narrowed: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    confirm_over: int = CONFIRM_OVER
    stages: tuple[Stage, ...] = ()
    digest: str = ""

    @property
    def notebooks(self) -> int:
        """How many notebooks it changes."""
        if not self.staged:
            return len(self.changes)
        return len({(change.scope, change.id) for change in self.changes})

    @property
    def waves(self) -> int:
        """How many waves hold changes."""
        return len({change.wave for change in self.changes})

    def pause_before(self, wave: int) -> float:
        """Seconds between the end of the wave before and the beginning of this one."""
        return pause_before(wave, self.rollout, self.stages)

    def closes(self, now: float) -> float:
        """When the window closes with which a run from `now` on ends, infinity if none does (wall s).

        A run that goes on where an earlier one made the stage before has its window once it may begin.
        """
        if self.rollout.carry_over:
            return math.inf
        begins = max(now, self.stages[0].not_before) if self.stages else now
        return next((span.ends for span in self.rollout.calendar.spans(begins)), math.inf)

    @property
    def staged(self) -> bool:
        """Whether some notebook has more than one change."""
        return any(change.follows is not None for change in self.changes)


def heads(changes: Iterable[Change]) -> list[Change]:
    """The first change of every notebook."""
    return [change for change in changes if change.follows is None]


def pause_before(wave: int, rollout: Rollout, stages: Iterable[Stage]) -> float:
    """See `Plan.pause_before`."""
    return next((stage.pause for stage in stages if stage.wave == wave), rollout.soak)
