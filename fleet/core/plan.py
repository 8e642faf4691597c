"""The sealed list of changes that a person reviews and the engine then performs, and nothing else.

A plan is a file. Its digest covers everything in it, so that a changed byte is noticed; the values `before`
are the fence: a notebook that no longer holds them is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.notebook import Lease, Status
from fleet.core.patch import InvalidField, When, endpoints_of, from_body, opens_to_world
from fleet.core.rollout import Rollout

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One PUT: its body and the run state it is sent in."""

    when: When
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One notebook's planned way.

    `run_state` (RUNNING or STOPPED) and `lease` are what it comes back to; `arriving` is set when the
    notebook was on its way to that state at plan time. `before` and `after` hold the planned fields in
    the form of the PUT body.
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

    @property
    def needs_restart(self) -> bool:
        """Whether the way leads through the other run state."""
        return any(not phase.when.allows(self.run_state) for phase in self.phases)

    @property
    def may_go_away(self) -> bool:
        """Whether its notebook may be taken away: any that runs may turn out to need a restart.

        The cloud can refuse a field while a notebook runs.
        """
        return self.needs_restart or (self.may_restart and self.run_state is Status.RUNNING)


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
class Estimate:
    """What the run will cost: calls, and seconds from the slowest of rate, slots and critical path.

    `reads` are those of single notebooks, `lists` about how many pages the list polls take.
    """

    reads: int
    writes: int
    seconds: float
    lists: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `apply` needs, and the seal. `names` says what the image ids in it are called.

    `protect` is the selector of what must not be touched, kept for plans that come from this one's run.
    """

    format: int
    job: str
    job_type: str
    select: str
    created_at: float
    engine: str
    scopes: tuple[PlanScope, ...]
    rollout: Rollout
    changes: tuple[Change, ...]
    settled: tuple[Settled, ...]
    checks: tuple[str, ...]
    estimate: Estimate
    names: Mapping[str, str] = field(default_factory=dict)
    protect: str = ""
    digest: str = ""

    @property
    def waves(self) -> int:
        """How many waves hold changes."""
        return len({change.wave for change in self.changes})


_PLANS: TypeAdapter[Plan] = TypeAdapter(Plan)


def seal(plan: Plan) -> Plan:
    """The same plan with its digest."""
    return replace(plan, digest=_digest(_PLANS.dump_python(plan, mode="json")))


def dump_plan(plan: Plan) -> bytes:
    """The plan as JSON a person can read."""
    return json.dumps(_PLANS.dump_python(plan, mode="json"), indent=1).encode() + b"\n"


def load_plan(data: bytes, where: str) -> Plan:
    """The plan in `data`. Raises UsageError when it is no plan, of another format, or was altered."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError(
            f"{where}: not a plan file (no JSON); make one with: fleet plan JOB -o FILE"
        ) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise UsageError(f"{where}: not a plan of format {FORMAT}; make one with: fleet plan JOB -o FILE")
    if raw.get("digest") != _digest(raw):
        raise UsageError(f"{where}: the plan was altered after it was sealed; plan again")
    try:
        plan = _PLANS.validate_python(raw)
        for change in plan.changes:
            _check_change(change)
        return plan
    except InvalidField as problem:
        raise UsageError(f"{where}: {problem}; plan again") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {place}: {first['msg']}; plan again") from None


def _check_change(change: Change) -> None:
    """The rules of the update and of whitelists, once more: a file may have been sealed by anybody."""
    for phase in change.phases:
        patch = from_body(phase.body)
        if patch.endpoints is not None:
            opened = opens_to_world(endpoints_of(change.before.get("endpoints", [])), patch.endpoints)
            if opened:
                raise InvalidField("endpoints", opened)


def _digest(raw: Mapping[str, Any]) -> str:
    sealed = {key: value for key, value in raw.items() if key != "digest"}
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
