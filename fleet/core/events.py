"""What happened, as frozen values. The journal stores them, `fold` and `change` read them.

`at` is wall time in seconds since the epoch; `item` is the row of the plan that an event belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.pacing.limits import Limit, Rate
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


def _kind(name: str) -> str:
    """RunStarted is told as run-started."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower()


class _Told(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=_kind):
    """What all events share: a value that is made, written and read six times cheaper than a dataclass."""

    @property
    def kind(self) -> str:
        """The word for it in the journal."""
        return str(self.__struct_config__.tag)


class Began(_Told, frozen=True):
    """A change was admitted: from now on it counts as away.

    `moved` is what earlier refusals of the run taught: fields that the cloud wants in another run state. With
    a `leave`, a notebook that its person has stopped since it was planned is changed and stays stopped.
    """

    item: int
    at: float
    moved: Mapping[str, When] = msgspec.field(default_factory=dict)
    leave: Leave | None = None


class Intended(_Told, frozen=True):
    """A write is about to be sent. Committed before its first byte leaves; alone it means "maybe applied"."""

    item: int
    at: float
    step: Step
    attempt: int
    body: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Answered(_Told, frozen=True):
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


class Saw(_Told, frozen=True):
    """A look succeeded. `listed_at` is when a list last showed the notebook on its way, if one did.

    Of its `sends`, the question for a saved image included, `repeats` were sent because one had failed.
    """

    item: int
    at: float
    sight: Sight
    request_id: str = ""
    sends: int = 1
    repeats: int = 0
    listed_at: float | None = None


class Blind(_Told, frozen=True):
    """A look failed for good."""

    item: int
    at: float
    meaning: Meaning
    text: str
    sends: int = 1


class Late(_Told, frozen=True):
    """The change must give up and go home: its deadline passed, or its next write stays `unrecorded`, as the
    journal takes no more."""

    item: int
    at: float
    reason: str = "its time was up"
    unrecorded: bool = False


class Ended(_Told, frozen=True):
    """The final result of one change. `debt` is true when a notebook that we stopped is not back."""

    item: int
    at: float
    outcome: Outcome
    reason: str = ""
    debt: bool = False
    fix: str = ""


class Reopened(_Told, frozen=True):
    """The change is taken up again, by a new process or after a pause.

    What was under way is in doubt until it is looked at. A `leave` takes the place of the one before.
    """

    item: int
    at: float
    leave: Leave | None = None


class RunStarted(_Told, frozen=True):
    at: float
    run: str
    digest: str


class RunResumed(_Told, frozen=True):
    """A new process goes on with a run that broke off or was ended early."""

    at: float


class WaveStarted(_Told, frozen=True):
    """Changes of the wave may begin. `stand_ins` are items of the next one that go first, in its stead."""

    at: float
    wave: int
    changes: int
    stand_ins: tuple[int, ...] = ()


class WaveEnded(_Told, frozen=True):
    """The wave's verdict: `go` releases the next one after the soak."""

    at: float
    wave: int
    go: bool
    reason: str = ""


class Noticed(_Told, frozen=True):
    """The owner was told what will become of his notebooks in `wave`."""

    at: float
    wave: int
    owner: str


class Slowed(_Told, frozen=True):
    """The cloud's throttling taught us a limit, or made us slow down. `limit` is the one that it named."""

    at: float
    key: str
    text: str
    limit: Limit | None = None


class Counted(_Told, frozen=True):
    """How many requests left at most in any window (s) of a limit: `most`, of `count` allowed."""

    at: float
    key: str
    policy: str
    window: float
    count: int
    most: int


class Held(_Told, frozen=True):
    """New changes of `where` are held back for the reason in `text`; empty: no longer.

    `where` is a scope, a flavor in a scope, a throttle key or a wave that nobody has let pass yet. It is over
    `until` this wall second at the latest, where that is known.
    """

    at: float
    where: str
    text: str
    until: float | None = None


class Used(_Told, frozen=True):
    """How notebooks are used whose changes wait for them to be idle: what was found of each, by item.

    Told of those that were found otherwise before. The number is that of the moment.
    """

    at: float
    found: Mapping[int, str]


class OutOfReach(_Told, frozen=True):
    """No request to `host` has been answered since `since` (wall seconds), for the reason in `text`; empty:
    it answers again."""

    at: float
    host: str
    text: str
    since: float


class Steered(_Told, frozen=True):
    """Somebody steered the run from outside: paused, resumed, set or cancelled it. `what` says how.

    `rates` were set, by scope, for all that share its throttle key. `shut` says until which wall second
    nothing leaves under them, by throttle key and class.
    """

    at: float
    what: str
    rates: Mapping[str, Rate] = {}
    shut: Mapping[str, float] = {}


class Spent(_Told, frozen=True):
    """Requests that left for a scope since the last such event, by operation (put, get, list, login ...).

    Recorded after each list poll and at the end, so a process that is killed leaves the latest ones untold.
    """

    at: float
    scope: str
    requests: Mapping[str, int]


class RunEnded(_Told, frozen=True):
    at: float
    end: RunEnd
    reason: str = ""


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
    | Used
    | OutOfReach
    | Steered
    | Spent
    | RunEnded
)
Event = ChangeEvent | RunEvent

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def dump_event(event: Event) -> bytes:
    """The event as JSON, without what is as by default. Raises ValueError for text without a UTF-8 form."""
    return _ENCODER.encode(event)


def load_event(data: bytes | str) -> Event:
    """The event that `dump_event` wrote. Raises ValueError for anything else."""
    return _DECODER.decode(data)
