"""What happened, as frozen values. The journal stores them, `fold` and `change` read them.

`at` is wall time in seconds since the epoch; `item` is the row of the plan that an event belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Discriminator, TypeAdapter

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.pacing.pace import Limit
from fleet.core.patch import When


class Outcome(StrEnum):
    """How a change ended: the closed list."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    DRIFTED = "drifted"
    GONE = "gone"
    FAILED = "failed"
    STRANDED = "stranded"
    UNKNOWN = "unknown"
    NOT_STARTED = "not-started"


class Step(StrEnum):
    """One call of a change."""

    STOP = "stop"
    PUT = "put"
    START = "start"
    LEASE = "lease"
    LOOK = "get"
    SAVE = "save"


class Fate(StrEnum):
    """What became of a write."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    IN_DOUBT = "in doubt"


class Leave(StrEnum):
    """What a change may do to its notebook while it runs, where persons are to be left alone."""

    SPARE = "spare"  # not stop it: it is changed if it stands still, or needs no stop
    STOP = "stop"  # stop it: as planned, though it waited for its window or its notice
    IDLE = "idle"  # stop it: nobody uses it
    FORCED = "forced"  # stop it: nobody may wait any longer


class RunEnd(StrEnum):
    """Why a run stopped releasing changes."""

    FINISHED = "finished"
    HALTED = "halted"  # by a budget or a deadline
    INTERRUPTED = "interrupted"
    LOCKED_OUT = "credentials lost"


@dataclass(frozen=True, slots=True)
class Began:
    """A change was admitted: from now on it counts as away.

    `moved` is what earlier refusals of the run taught: fields that the cloud wants in another run state. With
    a `leave`, a notebook that its person has stopped since it was planned is changed and stays stopped.
    """

    item: int
    at: float
    moved: Mapping[str, When] = field(default_factory=dict)
    leave: Leave | None = None
    kind: Literal["began"] = "began"


@dataclass(frozen=True, slots=True)
class Intended:
    """A write is about to be sent. Committed before its first byte leaves; alone it means "maybe applied"."""

    item: int
    at: float
    step: Step
    attempt: int
    body: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["intended"] = "intended"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back for the last intent. `status` is the HTTP status, 0 without an answer."""

    item: int
    at: float
    step: Step
    fate: Fate
    meaning: Meaning | None = None
    code: str = ""
    text: str = ""
    status: int = 0
    request_id: str = ""
    sends: int = 1
    kind: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True)
class Saw:
    """A look succeeded."""

    item: int
    at: float
    sight: Sight
    request_id: str = ""
    sends: int = 1
    kind: Literal["saw"] = "saw"


@dataclass(frozen=True, slots=True)
class Blind:
    """A look failed for good."""

    item: int
    at: float
    meaning: Meaning
    text: str
    sends: int = 1
    kind: Literal["blind"] = "blind"


@dataclass(frozen=True, slots=True)
class Late:
    """The change must give up and go home: its deadline passed, or its next write stays `unrecorded`, as the
    journal takes no more."""

    item: int
    at: float
    reason: str = "its time was up"
    unrecorded: bool = False
    kind: Literal["late"] = "late"


@dataclass(frozen=True, slots=True)
class Ended:
    """The final result of one change. `debt` is true when a notebook that we stopped is not back."""

    item: int
    at: float
    outcome: Outcome
    reason: str = ""
    debt: bool = False
    fix: str = ""
    kind: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Reopened:
    """The change is taken up again, by a new process or after a pause.

    What was under way is in doubt until it is looked at. A `leave` takes the place of the one before.
    """

    item: int
    at: float
    leave: Leave | None = None
    kind: Literal["reopened"] = "reopened"


@dataclass(frozen=True, slots=True)
class RunStarted:
    at: float
    run: str
    digest: str
    kind: Literal["run-started"] = "run-started"


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A new process goes on with a run that broke off or was ended early."""

    at: float
    kind: Literal["run-resumed"] = "run-resumed"


@dataclass(frozen=True, slots=True)
class WaveStarted:
    at: float
    wave: int
    changes: int
    kind: Literal["wave-started"] = "wave-started"


@dataclass(frozen=True, slots=True)
class WaveEnded:
    """The wave's verdict: `go` releases the next one after the soak."""

    at: float
    wave: int
    go: bool
    reason: str = ""
    kind: Literal["wave-ended"] = "wave-ended"


@dataclass(frozen=True, slots=True)
class Noticed:
    """The owner was told what will become of his notebooks in `wave`."""

    at: float
    wave: int
    owner: str
    kind: Literal["noticed"] = "noticed"


@dataclass(frozen=True, slots=True)
class Slowed:
    """The cloud's throttling taught us a limit, or made us slow down. `limit` is the one that it named."""

    at: float
    key: str
    text: str
    limit: Limit | None = None
    kind: Literal["slowed"] = "slowed"


@dataclass(frozen=True, slots=True)
class Counted:
    """How many requests left at most in any window (s) of a limit: `most`, of `count` allowed."""

    at: float
    key: str
    policy: str
    window: float
    count: int
    most: int
    kind: Literal["counted"] = "counted"


@dataclass(frozen=True, slots=True)
class Held:
    """New changes of `where` are held back for the reason in `text`; empty: no longer.

    `where` is a scope, a flavor in a scope, a throttle key or a wave that nobody has let pass yet.
    """

    at: float
    where: str
    text: str
    kind: Literal["held"] = "held"


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """No request to `host` has been answered since `since` (wall seconds), for the reason in `text`; empty:
    it answers again."""

    at: float
    host: str
    text: str
    since: float
    kind: Literal["out-of-reach"] = "out-of-reach"


@dataclass(frozen=True, slots=True)
class Steered:
    """Somebody steered the run from outside: paused, resumed, set or cancelled it. `what` says how."""

    at: float
    what: str
    kind: Literal["steered"] = "steered"


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests that left for a scope since the last such event, by operation (put, get, list, login ...).

    Recorded after each list poll and at the end, so a process that is killed leaves the latest ones untold.
    """

    at: float
    scope: str
    requests: Mapping[str, int]
    kind: Literal["spent"] = "spent"


@dataclass(frozen=True, slots=True)
class RunEnded:
    at: float
    end: RunEnd
    reason: str = ""
    kind: Literal["run-ended"] = "run-ended"


ChangeEvent = Began | Intended | Answered | Saw | Blind | Late | Ended | Reopened
RunEvent = (
    RunStarted
    | RunResumed
    | WaveStarted
    | WaveEnded
    | Noticed
    | Slowed
    | Counted
    | Held
    | OutOfReach
    | Steered
    | Spent
    | RunEnded
)
Event = ChangeEvent | RunEvent

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Discriminator("kind")])


def dump_event(event: Event) -> bytes:
    """The event as JSON."""
    return _EVENTS.dump_json(event, exclude_defaults=False)


def load_event(data: bytes | str) -> Event:
    """The event that `dump_event` wrote. Raises ValueError for anything else."""
    return _EVENTS.validate_json(data)
