"""The sealed list of changes that a person reviews and the engine then performs, and nothing else.

A plan is a file. Its digest covers everything in it, so that a changed byte is noticed; the values `before`
are the fence: a notebook that no longer holds them is left alone. It may hold a million notebooks: equal
values are kept once, and the file is written and read row by row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from io import BytesIO
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from fleet.core.changing.saved_image import body_of
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.notebook import Lease, Status
from fleet.core.patch import Breadth, InvalidField, When, endpoints_of, from_body, opens_to_world
from fleet.core.planning.guards import CONFIRM_OVER
from fleet.core.planning.members import members
from fleet.core.rollout import Rollout

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
    """What a month costs before and after a change, in the currency's units, to the cent."""

    before: Decimal
    after: Decimal
    currency: str

    @property
    def saved(self) -> Decimal:
        """What a month costs less afterwards; negative when it costs more."""
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class Change:
    """One notebook's planned way.

    `run_state` (RUNNING or STOPPED) and `lease` are what it comes back to; `arriving` is set when the
    notebook was on its way to that state at plan time. `before` and `after` hold the planned fields in
    the form of the PUT body. `why` says for people what asked for this change, `cost` what it costs or saves
    where prices are known. `stage` counts the patches of a staged proposal from 1; `follows` is the item of
    the notebook's stage before it, without whose success this change never starts. `allow` are the forms of
    whitelist entries that it may send. `save` is the image (organization/name) that the environment is saved
    as before the first stop; empty when it is not.
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

    def __post_init__(self) -> None:
        for name, value in zip(_WAY, _shared(self.phases, self.before, self.after), strict=True):
            object.__setattr__(self, name, value)

    @property
    def needs_restart(self) -> bool:
        """Whether the way leads through the other run state."""
        return any(not phase.when.allows(self.run_state) for phase in self.phases)

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
class Estimate:
    """What the run will cost: calls, and seconds from the slowest of rate, slots and critical path.

    `reads` are those of single notebooks, `lists` about how many pages the list polls take. `seconds` counts
    with stops and starts as half of them were, `slow_seconds` with what 95 % did not exceed: a slow day is
    slow for all. `times` are those that were learned, by flavor; all others are assumed. `away` tells whom
    the run takes notebooks from, the longest first.
    """

    reads: int
    writes: int
    seconds: float
    lists: int = 0
    slow_seconds: float = 0.0
    times: Mapping[str, Took] = field(default_factory=dict)
    away: tuple[Absence, ...] = ()


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
        return len({(change.scope, change.id) for change in self.changes})

    @property
    def waves(self) -> int:
        """How many waves hold changes."""
        return len({change.wave for change in self.changes})

    def pause_before(self, wave: int) -> float:
        """Seconds between the end of the wave before and the beginning of this one."""
        return pause_before(wave, self.rollout, self.stages)

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


_PLANS: TypeAdapter[Plan] = TypeAdapter(Plan)
_CHANGES, _ITEM = b'"changes": [', b'{"item":'  # where the changes begin, and each of them
_LEFT_OUT = b'"outcome":"not-started"'
_ROWS: Mapping[str, TypeAdapter[Any]] = {"changes": TypeAdapter(Change), "settled": TypeAdapter(Settled)}


def seal(plan: Plan) -> Plan:
    """The same plan with its digest."""
    seal = _Seal()
    for key, value in _head(plan).items():
        seal.cover(key, _json(value))
    for key in _ROWS:
        for row in _rows(plan, key):
            seal.cover(key, row)
    return replace(plan, digest=seal.digest)


def dump_plan(plan: Plan) -> bytes:
    """The plan's file as one piece."""
    whole = BytesIO()  # joining would hold every piece beside the whole
    whole.writelines(plan_pieces(plan))
    return whole.getvalue()


def plan_pieces(plan: Plan) -> Iterator[bytes]:
    """The plan's file piece by piece: JSON that a person can read, with a line for each notebook."""
    mark = b"{\n"
    for key, value in _head(plan).items():
        yield b'%s"%s": %s' % (mark, key.encode(), _json(value))
        mark = b",\n"
    for key in _ROWS:
        yield b'%s"%s": [' % (mark, key.encode())
        mark = b"\n"
        for row in _rows(plan, key):
            yield mark + row
            mark = b",\n"
        yield b"\n]"
        mark = b",\n"
    yield b"\n}\n"


def load_plan(data: bytes, where: str) -> Plan:
    """The plan in `data`. Raises UsageError when it is no plan, of another format, or was altered."""
    rows: dict[str, list[Any]] = {key: [] for key in _ROWS}

    def keep(key: str, row: Any) -> None:
        with suppress(ValidationError):  # told below, after the seal
            row = _ROWS[key].validate_python(row)
        rows[key].append(row)

    head = _unsealed(data, where, keep)
    try:
        plan = _PLANS.validate_python({**head, **rows})
        for change in plan.changes:
            _check_change(change)
        if plan.staged:
            _check_stages(plan.changes)
        return plan
    except InvalidField as problem:
        raise UsageError(f"{where}: {problem}; plan again") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {place}: {first['msg']}; plan again") from None


def plan_excerpt(lines: Iterable[bytes], items: Collection[int]) -> Plan:
    """The plan whose file has these lines, with the changes `items`, what it left out (settled as
    not-started), and no other row.

    The lines are those of `plan_pieces`, and nothing looks at the seal: the caller knows that they are whole.
    Raises ValueError when a change is missing.
    """
    wanted, head, changes = set(items), list[bytes](), list[Any]()
    passing = iter(lines)
    for line in passing:
        if line == _CHANGES:
            break
        head.append(line)
    for line in passing:
        if not line.startswith(_ITEM):
            break
        if int(line[len(_ITEM) : line.index(b",")]) in wanted:
            changes.append(json.loads(line.removesuffix(b",")))
    if len(changes) != len(wanted):
        raise ValueError("some changes are not in the plan")
    settled = [json.loads(line.removesuffix(b",")) for line in passing if _LEFT_OUT in line]
    known = json.loads(b"".join(head).removesuffix(b",") + b"}")
    return _PLANS.validate_python({**known, "changes": changes, "settled": settled})


def plan_digest(data: bytes, where: str) -> str:
    """The digest of the plan in `data`; raises as `load_plan`, but looks at nothing beyond the seal."""
    return str(_unsealed(data, where, lambda key, row: None)["digest"])


def _unsealed(data: bytes, where: str, take: Callable[[str, Any], None]) -> dict[str, Any]:
    """The members of the plan in `data` but for its rows, which `take` gets before the seal is checked."""
    head: dict[str, Any] = {}
    seal = _Seal()
    try:
        for key, value in members(data.decode(), _ROWS):
            seal.cover(key, _json(value))
            if key in _ROWS:
                take(key, value)
            else:
                head[key] = value
    except (ValueError, RecursionError):
        raise UsageError(
            f"{where}: not a plan file (no JSON); make one with: fleet plan JOB -o FILE"
        ) from None
    if head.get("format") != FORMAT:
        raise UsageError(f"{where}: not a plan of format {FORMAT}; make one with: fleet plan JOB -o FILE")
    if head.get("digest") != seal.digest:
        raise UsageError(f"{where}: the plan was altered after it was sealed; plan again")
    return head


def _check_change(change: Change) -> None:
    """The rules of the update and of whitelists, once more: a file may have been sealed by anybody."""
    if change.save:
        body_of(change.save)
    for phase in change.phases:
        patch = from_body(phase.body, change.allow)
        if patch.endpoints is not None:
            opened = opens_to_world(endpoints_of(change.before.get("endpoints", [])), patch.endpoints)
            if opened:
                raise InvalidField("endpoints", opened)


def _check_stages(changes: Iterable[Change]) -> None:
    """No stage may come before the one that it follows, or follow another notebook's."""
    earlier: dict[int, Change] = {}
    for change in changes:
        if change.follows is not None:
            before = earlier.get(change.follows)
            whose = None if before is None or before.wave >= change.wave else (before.scope, before.id)
            if whose != (change.scope, change.id):
                raise InvalidField("follows", f"item {change.item} follows no earlier stage of its notebook")
        earlier[change.item] = change


class _Seal:
    """What the digest is made of: every member in its order but the digest itself, each row as a member."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def cover(self, key: str, value: bytes) -> None:
        if key != "digest":
            self._hash.update(b"%s: %s\n" % (_json(key), value))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _head(plan: Plan) -> dict[str, Any]:
    """The members of the plan but for its rows."""
    head: dict[str, Any] = _PLANS.dump_python(plan, mode="json", exclude=set(_ROWS))
    return head


def _rows(plan: Plan, key: str) -> Iterator[bytes]:
    return (_ROWS[key].dump_json(row, ensure_ascii=True) for row in getattr(plan, key))


def _json(value: Any) -> bytes:
    return to_json(value, ensure_ascii=True)
