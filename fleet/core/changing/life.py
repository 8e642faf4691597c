"""Where one change stands: the value that the table in `change` moves on.

A `Life` is built from events only, so that a run, its continuation after a crash and a report can all
compute the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from fleet.core.changing.sight import Sight
from fleet.core.differences import differences
from fleet.core.duration import exact
from fleet.core.events import Leave, Outcome, Step
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When, readable
from fleet.core.planning.plan import Change, Phase

HOUR_MS = 3_600_000
LEASE_MIN_MS = HOUR_MS
LEASE_MAX_MS = 72 * HOUR_MS
LEASE_TOLERANCE_MS = 120_000

LOOKS = 3  # how often a write whose fate is open is looked at before the next try
TRIES = 3  # intents of one kind when an answer stayed out
BUSY_TRIES = 6  # intents of one kind when the cloud said "busy"


class Stage(StrEnum):
    """What the change is doing. `*_SENT`: a write has left and its answer is due."""

    ARRIVING = "arriving"  # on its way to a stable state; nothing written
    FENCE = "fence"  # the look right before the first write
    SPARED = "spared"  # it runs and must not be stopped now: to be tried again later
    PUT_OFF = "put off"  # its moment was over before its first write: likewise
    READY = "ready"  # free to decide the next write, or to end
    SAVE_SENT = "save sent"
    SAVE_SETTLE = "save settling"  # whether an image was saved is looked for
    SAVING = "saving"  # as an image, before the first stop
    STOP_SENT = "stop sent"
    STOP_SETTLE = "stop settling"  # stop refused or unanswered: looking what happened
    STOPPING = "stopping"
    PUT_SENT = "put sent"
    PUT_SETTLE = "put settling"
    READ_BACK = "read back"
    START_SENT = "start sent"
    START_SETTLE = "start settling"
    STARTING = "starting"
    VERIFY = "verify"
    LEASE_SENT = "lease sent"
    ENDED = "ended"


class Saving(Enum):
    """How far the environment has been saved as an image."""

    NOT_YET = "not yet"
    SENT = "sent"  # or may have been
    DONE = "done"  # a look showed the image ACTIVE


class Values(Enum):
    """How the planned fields look, seen from the PUT that is due or was just sent."""

    BEFORE = "before"
    DESIRED = "desired"
    MIXED = "mixed"
    OTHER = "other"


class Life(msgspec.Struct, frozen=True):
    """One change under way. It is made anew at every turn: for a Struct that is thirty times cheaper
    than for a dataclass.

    `expected` is what the planned fields should show outside the phase at hand. `debt` is set with the
    intent to stop a running notebook and cleared by a look that shows RUNNING. `mark` holds the
    newest times of lease and update that looks between our writes showed: if a later look shows newer ones,
    somebody else acted. `ending` is an end that is decided while the way home is still to go. Lease times
    are ms, `*_at` wall seconds.
    """

    change: Change
    planned: Status  # the run state of the plan; that of `change` is the one to come back to
    stage: Stage
    phases: tuple[Phase, ...]
    expected: Mapping[str, Any]
    current: Status
    debt: bool = False
    owed: bool = False  # the debt as it stood before the last stop was intended
    doubt: bool = False  # the last kind of write may have been applied
    doubted: bool = False  # `doubt` as it stood before the last intent
    saving: Saving = Saving.NOT_YET
    saved_at: float = 0.0  # when the save was intended
    written: bool = False  # some write was, or may have been, applied
    has_put: bool = False  # and a PUT among them
    proven: bool = False  # the last look showed everything as it should be, and nothing was written since
    restarted: bool = False  # we started it, or may have
    ours: bool = False  # `restarted` as it stood before the last start was intended
    reverting: bool = False
    waited: bool = False  # in vain, for a disk to grow
    refused_state: bool = False  # the last refusal said "not in this state"
    sold_out: bool = False  # the last start was refused for want of machines, not for what we changed
    late: bool = False
    settle: int = 0
    tries: Mapping[Step, int] = MappingProxyType({})
    mark: tuple[int, int] = (0, 0)
    lease: Lease | None = None  # as last seen before our stop
    left: int | None = None  # its time left at that look
    looked_at: float = 0.0
    frozen: int | None = None  # lease time left at our stop
    started_at: float = 0.0
    no_lease_off: bool = False
    lease_due: bool = False  # the last look at it running showed a lease that we have to put right
    lease_theirs: bool = False  # somebody granted it anew since our start
    moved: Mapping[str, When] = MappingProxyType({})
    leave: Leave | None = None
    ending: tuple[Outcome, str] | None = None
    notes: tuple[str, ...] = ()
    trouble: str = ""  # the last refusal, for the reason of a failure
    end: tuple[Outcome, str] | None = None
    ended_in: Stage | None = None  # where it stood then
    recorded: bool = False  # the end is in the journal

    @classmethod
    def begin(cls, change: Change) -> Life:
        """The life of `change` before anything happened."""
        return cls(
            change=change,
            planned=change.run_state,
            stage=Stage.ARRIVING if change.arriving else Stage.FENCE,
            phases=change.phases,
            expected=change.before,
            current=change.run_state,
            lease=change.lease,
        )

    def anew(self) -> Life:
        """As it begins once more, as planned; an environment that was saved stays so."""
        as_planned = self.change.run_state is self.planned
        begun = Life.begin(self.change if as_planned else replace(self.change, run_state=self.planned))
        if self.saving is not Saving.DONE:
            return begun
        return begun._replace(saving=self.saving, notes=self.notes)

    # Like this one but for the changes. Raises TypeError for a name that a life does not have.
    _replace = msgspec.Struct.__replace__  # the bare method of C: a life is replaced at every turn

    def tried(self, step: Step) -> int:
        """How many intents of this kind the change has had."""
        return self.tries.get(step, 0)

    @property
    def most_tries(self) -> int:
        """How many intents of the last kind there may be."""
        return TRIES if self.doubt else BUSY_TRIES

    @property
    def begun(self) -> bool:
        """Whether anything was sent or decided."""
        return bool(self.tries) or self.end is not None

    @property
    def home(self) -> bool:
        """Whether the notebook is in the run state that it came from."""
        return self.current is self.change.run_state

    @property
    def brought_back(self) -> bool:
        """Whether it ran, was stopped by us, and was seen running since our start."""
        return self.restarted and not self.debt and self.change.run_state is Status.RUNNING

    @property
    def fix(self) -> str:
        """The command that brings the notebook back; empty when nothing is owed."""
        if not (self.debt or self.restarted):
            return ""
        where = f"--scope {self.change.scope} {self.change.id}"
        if self.debt:
            query = start_query(self)
            lease = query["duration"]
            kind = f" --type {query['type']}" if "type" in query else ""
            return f"fleet start {where} --duration {lease if lease < 0 else exact(lease / 1000)}{kind}"
        if self.restarted and self.change.run_state is Status.STOPPED and self.current is Status.RUNNING:
            return f"fleet stop {where}"
        return ""


def regroup(phases: tuple[Phase, ...], moved: Mapping[str, When]) -> tuple[Phase, ...]:
    """The phases with `moved` fields sent in the state that the cloud insisted on; one PUT a state."""
    if not moved:
        return phases
    bodies: dict[When, dict[str, Any]] = {}
    for phase in phases:
        for name, value in phase.body.items():
            bodies.setdefault(moved.get(name, phase.when), {})[name] = value
    return tuple(Phase(when, body) for when, body in bodies.items())


def compare(life: Life, sight: Sight) -> Values:
    """How `sight` relates to the PUT at hand. Fields that the cloud never shows count as answered."""
    body, seen = life.phases[0].body if life.phases else {}, sight.values
    for name, value in life.expected.items():
        if name not in body and seen.get(name) != value and readable(name):
            return Values.OTHER
    shown = [name for name in body if readable(name)]
    if not shown:
        return Values.BEFORE if life.doubt or life.stage is not Stage.READ_BACK else Values.DESIRED
    if all(seen.get(name) == body[name] for name in shown):
        return Values.DESIRED
    if all(seen.get(name) == life.expected.get(name) for name in shown):
        return Values.BEFORE
    if all(seen.get(name) in (body[name], life.expected.get(name)) for name in shown):
        return Values.MIXED
    return Values.OTHER


def differs(expected: Mapping[str, Any], sight: Sight) -> bool:
    """Whether a field that the cloud shows is not as expected."""
    return any(sight.values.get(name) != value and readable(name) for name, value in expected.items())


def holds(life: Life, sight: Sight) -> bool:
    """Whether every planned value can be seen, and is."""
    for name, value in life.change.after.items():
        if sight.values.get(name) != value or not readable(name):
            return False
    return True


def difference(expected: Mapping[str, Any], seen: Mapping[str, Any], word: str = "was") -> str:
    """Which fields are not as expected, in words; `word` leads to what they were, or should be."""
    off = [name for name, value in expected.items() if readable(name) and seen.get(name) != value]
    return "; ".join(part for name in off for part in differences(name, seen.get(name), expected[name], word))


def freeze(life: Life, at: float) -> int | None:
    """The lease time left at a stop intended at `at`; None when auto stop is off."""
    if life.left is None:
        return None
    return life.left - int((at - life.looked_at) * 1000)


def wanted_lease(life: Life) -> int | None:
    """The duration (ms) to start with; None for "auto stop off".

    What was left at our stop is given back, at least the one hour that the API allows. A countdown that is
    not known, or ran out on a notebook still running (an IDLE lease that activity keeps alive), is given
    back whole.
    """
    lease = life.lease
    if lease is None:
        return LEASE_MAX_MS
    if not lease.enable:
        return None
    left = life.frozen if life.frozen is not None and life.frozen > 0 else lease.duration
    return min(max(left, LEASE_MIN_MS), LEASE_MAX_MS)


def start_query(life: Life) -> dict[str, Any]:
    """Query of the start call (Start API): duration in ms and type; -1 switches auto stop off.

    A notebook that is only started for a PUT gets the shortest lease: it must not run on if we die.
    """
    if life.change.run_state is Status.STOPPED:
        return {"duration": LEASE_MIN_MS, "type": LeaseType.TIMING.value}
    wanted = wanted_lease(life)
    if wanted is None:
        return {"duration": LEASE_MAX_MS if life.no_lease_off else -1}
    return {"duration": wanted, "type": (life.lease or Lease(enable=True)).type.value}


def lease_off_by(life: Life, sight: Sight, at: float) -> str:
    """How the lease seen at `at` differs from the one to give back; empty when it is right."""
    lease, wanted, seen = life.lease, wanted_lease(life), sight.lease
    if lease is None or seen is None or not life.restarted or life.change.run_state is Status.STOPPED:
        return ""
    if wanted is None:
        if not seen.enable or life.no_lease_off:
            return ""
        return "auto stop is on, it was off"
    if not seen.enable or sight.left is None:
        return "auto stop is off, it was on"
    if seen.type is not lease.type:
        return f"auto stop type is {seen.type}, it was {lease.type}"
    elapsed = int((at - life.started_at) * 1000)
    if not wanted - elapsed - LEASE_TOLERANCE_MS <= sight.left <= wanted + LEASE_TOLERANCE_MS:
        return f"{sight.left // 60_000} minutes of lease left, {wanted // 60_000} were to be given back"
    return ""


def lease_is_theirs(life: Life, sight: Sight) -> bool:
    """Whether the lease is somebody's since our start: granted anew after it, or longer than what we owe.

    Nothing is longer than auto stop being off: whatever is on instead may be what our start left.
    """
    wanted, seen = wanted_lease(life), sight.lease
    if life.lease_theirs or wanted is None or seen is None:
        return life.lease_theirs
    return not seen.enable or sight.left is None or sight.left > wanted + LEASE_TOLERANCE_MS


def over(life: Life, outcome: Outcome, reason: str) -> Life:
    """The change ends here and so. What somebody else changed or deleted is not ours to bring back."""
    if outcome in (Outcome.DRIFTED, Outcome.GONE):
        life = life._replace(debt=False, restarted=False)
    return life._replace(stage=Stage.ENDED, ended_in=life.stage, end=(outcome, reason))


def onward(life: Life) -> Life:
    """What follows a settled step: the next write, the way home, the last look, or the end."""
    if life.ending is not None and not life.reverting:
        life = life._replace(phases=())
    if life.phases or not life.home or life.lease_due:
        return life._replace(stage=Stage.READY, settle=0)
    if not life.proven:
        return life._replace(stage=Stage.VERIFY, settle=0)
    outcome, reason = life.ending or as_planned(life)
    return over(life, outcome, reason)


def as_planned(life: Life) -> tuple[Outcome, str]:
    """The end of a change whose notebook is home with every planned value: by our PUT, or by another hand."""
    return (Outcome.CHANGED, "") if life.has_put else (Outcome.UNCHANGED, "already so")


def homeward(life: Life, outcome: Outcome, reason: str) -> Life:
    """Gives up the rest, brings the notebook back, and then ends so."""
    untouched = life.home and not life.restarted
    return onward(life._replace(ending=(outcome, so_far(life) + reason), phases=(), proven=untouched))


def so_far(life: Life) -> str:
    """What already went wrong, as the beginning of a longer reason."""
    return f"{life.ending[1]}; " if life.ending else ""


def with_note(life: Life, note: str) -> Life:
    return life._replace(notes=(*life.notes, note)) if note and note not in life.notes else life
