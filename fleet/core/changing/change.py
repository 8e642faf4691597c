"""The life of one change, as tables: what an observation means, and what to do next.

Theory of operation
-------------------
A change walks one way: a fence look; then for each phase the run state that the phase needs (stop or start;
before the first stop, if the plan says so, the environment is saved as an image, see `saving`),
the PUT and the look that proves it; then back to the run state it came from, with the lease it had, and a
last look that shows both. `decide(life)` says the next move. `advance(life, event)` says what an event
means. Neither waits, sends or reads a clock.

Three rules hold everywhere and nothing else may bend them:

1. Nothing is sent again before a look. A write that was refused as "busy or already there", or that was not
   answered, leads to a SETTLE stage, where only what the cloud shows decides.
2. What somebody else did is never overwritten. A third value or an unexpected restart ends as `drifted`;
   what shows every planned value, back where it came from, is as planned, whoever brought it there.
3. A notebook that we stopped is a debt until a look shows it RUNNING. Every way out of the middle leads home
   first (`homeward`); only when home cannot be reached does the change end `stranded`.

A start has not lasted if, after RUNNING, the notebook shows STARTING, START_FAILED or worse: that is a debt
again, and so is one that nobody saw RUNNING. One that was seen RUNNING after our start and then STOPPED has
been stopped by somebody or by its lease, and stays so: the change ends as it would have, with a note. The
exception is a lease of our start that was shorter than the one owed: when its hour is over, the stop may be
our doing. Of the lease itself only less than is owed is put right, and only if nobody granted it anew.

The same tables serve a run, its continuation and a second worker: they know only events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fleet.core.changing import home_rules, looks, saving
from fleet.core.changing.life import (
    Life,
    Saving,
    Stage,
    freeze,
    homeward,
    onward,
    over,
    regroup,
    so_far,
    start_query,
    with_note,
)
from fleet.core.changing.reopen import OPEN_ENDS, reopened
from fleet.core.errors import FATAL, TRANSIENT, Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Ended,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    Saw,
    Step,
)
from fleet.core.notebook import Status

SETTLE_WAIT = 10.0  # seconds between looks at a write whose fate is open


class Look(msgspec.Struct, frozen=True, gc=False):
    """Read the notebook now, or after `wait` seconds."""

    wait: float = 0.0


class Await(msgspec.Struct, frozen=True, gc=False):
    """Look once the notebook may have left `status`: the shared poll tells when."""

    status: Status


class Write(msgspec.Struct, frozen=True):
    """Send one write: the body of a PUT or a save, or the query of a start or lease call."""

    step: Step
    body: Mapping[str, Any] = msgspec.field(default_factory=dict)


class End(msgspec.Struct, frozen=True, gc=False):
    """The change is over."""

    outcome: Outcome
    reason: str
    debt: bool
    fix: str


Move = Look | Await | Write | End

_PASSING = {
    Stage.SAVING: Status.SNAPSHOTTING,
    Stage.STOPPING: Status.STOPPING,
    Stage.STARTING: Status.STARTING,
}


_WAITING = {
    Stage.SPARED: "runs, and would have to be stopped: it waits",
    Stage.PUT_OFF: "its moment was over before anything was sent: it waits",
}


def decide(life: Life) -> Move:
    """The next move of a change."""
    if life.end is not None:
        outcome, reason = life.end
        if life.notes:
            reason = "; ".join(part for part in (reason, *life.notes) if part)
        return End(outcome, reason, life.debt, life.fix)
    if life.stage is Stage.READY:
        return _next_write(life)
    if life.stage in _WAITING:
        return End(Outcome.NOT_STARTED, _WAITING[life.stage], debt=False, fix="")
    if (passing := _PASSING.get(life.stage)) is not None:
        return Await(passing)
    if life.stage is Stage.ARRIVING and life.current.heading is not None:
        return Await(life.current)
    return Look(SETTLE_WAIT if life.settle else 0.0)


def _next_write(life: Life) -> Write:
    if life.phases and life.phases[0].when.allows(life.current):
        return Write(Step.PUT, life.phases[0].body)
    if life.home and not life.phases:
        return Write(Step.LEASE, start_query(life))
    if life.current is Status.RUNNING:
        return Write(Step.SAVE, life.change.save_body) if saving.is_due(life) else Write(Step.STOP)
    return Write(Step.START, start_query(life))


def advance(life: Life, event: ChangeEvent) -> Life:
    """The life after `event`."""
    return _AFTER[type(event)](life, event)


def _began(life: Life, event: Began) -> Life:
    """What was found before is old if nothing was sent."""
    if not life.tries and not life.debt:
        life = life.anew()
    if not event.moved and event.leave is life.leave and life.phases is life.change.phases:
        return life
    return life._replace(phases=regroup(life.change.phases, event.moved), leave=event.leave)


def _ended(life: Life, event: Ended) -> Life:
    """Whoever never began is ended by the crew alone."""
    if life.end is None and not life.tries and event.outcome not in (Outcome.NOT_STARTED, *OPEN_ENDS):
        life = over(life, event.outcome, event.reason)
    if event.outcome is Outcome.NOT_STARTED and (life.tries or life.end is not None):
        return life.anew()  # as it was, whatever intents say: it can be begun anew
    return life._replace(recorded=True)


# What an intent means: from now on the write may have been applied.

_SENT = {
    Step.SAVE: Stage.SAVE_SENT,
    Step.STOP: Stage.STOP_SENT,
    Step.PUT: Stage.PUT_SENT,
    Step.START: Stage.START_SENT,
    Step.LEASE: Stage.LEASE_SENT,
}


def _intended(life: Life, event: Intended) -> Life:
    life = life._replace(
        stage=_SENT[event.step],
        tries={**life.tries, event.step: life.tried(event.step) + 1},
        settle=0,
        doubt=False,
        doubted=life.doubt,
        proven=False,
        refused_state=False,
        sold_out=False,
        lease_due=life.lease_due and event.step is Step.LEASE,
    )
    if event.step is Step.STOP and life.change.run_state is Status.RUNNING:
        frozen = freeze(life, event.at) if life.frozen is None else life.frozen
        return life._replace(owed=life.debt, debt=True, frozen=frozen)
    if event.step is Step.START:
        return life._replace(started_at=event.at, ours=life.restarted, restarted=True, lease_theirs=False)
    if event.step is Step.SAVE:
        return life._replace(saving=Saving.SENT, saved_at=event.at)
    return life


# What an answer means. Accepted goes on to wait or read back; whatever leaves a question open goes to a
# settling stage; the rest is a refusal, and each step has its own way to take one.

_ACCEPTED = {
    Step.SAVE: Stage.SAVING,
    Step.STOP: Stage.STOPPING,
    Step.PUT: Stage.READ_BACK,
    Step.START: Stage.STARTING,
    Step.LEASE: Stage.VERIFY,
}
_SETTLE = {
    Step.SAVE: Stage.SAVE_SETTLE,
    Step.STOP: Stage.STOP_SETTLE,
    Step.PUT: Stage.PUT_SETTLE,
    Step.START: Stage.START_SETTLE,
    Step.LEASE: Stage.VERIFY,
}
_LOOK_FIRST = TRANSIENT | {Meaning.BUSY, Meaning.WRONG_STATE}


# The cloud is busy with others, or was not reached: no try of ours, but what we looked at may have changed.
_NEVER_HAPPENED = frozenset({Meaning.THROTTLED, Meaning.UNREACHABLE, Meaning.RECOVERING})


def _untried(life: Life, step: Step) -> Life:
    """Takes the try back; the one before it is as much in doubt as it was.

    A change none of whose writes can have arrived has not begun.
    """
    tries = {**life.tries, step: life.tried(step) - 1}
    if step is Step.SAVE:
        life = life._replace(saving=Saving.NOT_YET)
    if not life.written:
        tries = {kind: count for kind, count in tries.items() if count > 0}
    return life._replace(tries=tries, doubt=life.doubted)


def _answered(life: Life, event: Answered) -> Life:
    if event.step is Step.PUT and (event.fate is not Fate.REFUSED or event.meaning is Meaning.BUSY):
        life = life._replace(has_put=True)  # "busy" may mean "already there"
    if event.fate is Fate.ACCEPTED:
        return life._replace(written=True, trouble="", stage=_ACCEPTED[event.step])
    life = life._replace(trouble=" ".join(part for part in (event.code, event.text) if part))
    if event.fate is Fate.IN_DOUBT:
        return life._replace(written=True, doubt=True, stage=_SETTLE[event.step])
    if event.meaning in _NEVER_HAPPENED:
        life = _untried(life, event.step)
    if event.step is Step.STOP:
        life = life._replace(debt=life.owed, frozen=life.frozen if life.owed else None)
    if event.step is Step.START:
        life = life._replace(restarted=life.ours)
    if event.meaning in _NEVER_HAPPENED and not life.tries:
        return life._replace(stage=Stage.FENCE, settle=0)
    if event.step is Step.SAVE and event.meaning in _NEVER_HAPPENED:
        return life._replace(stage=Stage.STOP_SETTLE)  # as before any save: does it still run?
    if event.meaning in _LOOK_FIRST and event.step is not Step.SAVE:
        refused_state = event.meaning is Meaning.WRONG_STATE
        return life._replace(refused_state=refused_state, stage=_SETTLE[event.step])
    if event.meaning is Meaning.GONE:
        return over(life, Outcome.GONE, "deleted by somebody")
    return _REFUSED[event.step](life, event)


def _stop_refused(life: Life, event: Answered) -> Life:
    """An earlier stop that stayed unanswered was looked for and did not happen: nothing is owed."""
    reason = f"stop refused: {life.trouble}"
    if life.change.run_state is Status.STOPPED:
        return over(life, Outcome.STRANDED, so_far(life) + reason)
    return homeward(life._replace(debt=False), Outcome.FAILED, reason)


def _put_refused(life: Life, event: Answered) -> Life:
    if not life.reverting:
        return homeward(life, Outcome.FAILED, f"update refused: {life.trouble}")
    reason = f"the old value could not be put back: {life.trouble}"
    if life.home:
        return homeward(life, Outcome.FAILED, reason)
    return over(life, Outcome.STRANDED, so_far(life) + reason)


def _start_refused(life: Life, event: Answered) -> Life:
    if event.code in _LEASE_REFUSED and start_query(life)["duration"] == -1:
        life = with_note(life, "auto stop was off and could not be switched off again: it is set to 72 hours")
        return onward(life._replace(no_lease_off=True))
    if event.meaning is Meaning.SOLD_OUT and not home_rules.flavor_changed(life):
        return life._replace(stage=Stage.START_SETTLE, sold_out=True)
    if event.meaning in (Meaning.SOLD_OUT, Meaning.QUOTA, Meaning.INVALID):
        return home_rules.cannot_start(life, f"start refused: {life.trouble}")
    return home_rules.stays_stopped(life, f"start refused: {life.trouble}")


# A bad value, and auto stop time or duration missing or out of range (vendor's error codes).
_LEASE_REFUSED = frozenset(f"ModelArts.{number}" for number in ("0104", "6346", "6348", "6349"))


def _lease_refused(life: Life, event: Answered) -> Life:
    return life._replace(stage=Stage.VERIFY)


_REFUSED: Mapping[Step, Callable[[Life, Answered], Life]] = {
    Step.STOP: _stop_refused,
    Step.PUT: _put_refused,
    Step.START: _start_refused,
    Step.LEASE: _lease_refused,
    Step.SAVE: saving.refused,
}


# What it means when nothing can be seen any more, or the time is up.


def _blind(life: Life, event: Blind) -> Life:
    """What failed for a reason that all share, before anything was sent, begins anew when that is mended."""
    reason = f"{so_far(life)}could not be read: {event.text}"
    if life.tries:
        return over(life, Outcome.UNKNOWN, reason)
    return over(life, Outcome.NOT_STARTED if event.meaning in FATAL else Outcome.FAILED, reason)


def _late(life: Life, event: Late) -> Life:
    """The first time the change gives up and goes home; the second time it ends where it is."""
    if not life.tries:
        return over(life, Outcome.SKIPPED, f"{event.reason} before anything was sent")
    if life.stage in saving.STAGES:
        return saving.failed(life, f"{event.reason} in stage: {life.stage}")
    if life.late:
        outcome = Outcome.STRANDED if life.debt else Outcome.UNKNOWN
        return over(life, outcome, f"{so_far(life)}{event.reason}, still in stage: {life.stage}")
    if event.unrecorded and life.home and life.has_put:
        return over(life, Outcome.UNKNOWN, f"{so_far(life)}not followed to its end: {event.reason}")
    life = life._replace(late=True, ending=life.ending or _given_up(life, event))
    return onward(life) if life.stage is Stage.READY else life


def _disturbed(life: Life) -> str:
    """What a change without a PUT has done to its notebook all the same."""
    if life.home and not life.restarted:
        return "left as it was"
    was_running = life.change.run_state is Status.RUNNING
    return f"{'stopped and started' if was_running else 'started and stopped'} again without a change"


def _given_up(life: Life, event: Late) -> tuple[Outcome, str]:
    """A change that got to no PUT for want of a journal was not begun: it can be, once there is room."""
    if event.unrecorded and not life.has_put:
        return Outcome.NOT_STARTED, f"{_disturbed(life)}: {event.reason}"
    return Outcome.FAILED, f"{event.reason} in stage: {life.stage}"


_AFTER: Mapping[type[ChangeEvent], Callable[[Life, Any], Life]] = {
    Began: _began,
    Intended: _intended,
    Answered: _answered,
    Saw: looks.after_look,
    Blind: _blind,
    Late: _late,
    Reopened: lambda life, event: reopened(life, event.leave),
    Ended: _ended,
}
