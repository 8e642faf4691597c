"""What one look means on the way out: at the fence, after a stop, after a PUT.

The way home has its rules in `home_rules`; the table of all is in `looks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fleet.core.changing.home_rules import fulfilled, look_again
from fleet.core.changing.life import (
    BUSY_TRIES,
    LOOKS,
    Life,
    Stage,
    Values,
    compare,
    difference,
    differs,
    holds,
    homeward,
    onward,
    over,
    regroup,
    so_far,
    with_note,
)
from fleet.core.changing.sight import Sight, mark
from fleet.core.events import Leave, Outcome, Saw, Step
from fleet.core.notebook import Status
from fleet.core.patch import When

GROW_LOOKS = 60  # a disk takes its time
STOPS_IN_DOUBT = 2

# --- before the first write ----------------------------------------------------------------------------


def fence(life: Life, saw: Saw) -> Life:
    life = _as_found(life, saw)
    change, sight = life.change, saw.sight
    already = holds(life, sight)
    if not already and differs(change.before, sight):
        return over(life, Outcome.DRIFTED, difference(change.before, sight.values))
    if sight.status is not change.run_state:
        # Perhaps by our own hand, if a journal lost its end: a notebook left stopped is never a success.
        outcome = Outcome.SKIPPED if change.arriving and not already else Outcome.DRIFTED
        so = "already so, but " if already else ""
        return over(life, outcome, f"{so}is {sight.status}, not {change.run_state} as planned")
    if already:
        return over(life, Outcome.UNCHANGED, "already so")
    moved = [name for phase in life.phases if not phase.when.allows(change.run_state) for name in phase.body]
    if sight.status is Status.RUNNING and _to_spare(life):
        return life._replace(stage=Stage.SPARED)
    if moved and change.run_state is Status.STOPPED is not life.planned:
        return over(life, Outcome.SKIPPED, f"stopped since the plan; {', '.join(moved)}: needs it running")
    if moved and not change.may_restart:
        return over(life, Outcome.SKIPPED, _no_restart(moved))
    if moved and sight.status is Status.RUNNING:
        life = with_note(life, _STOPPED_AS.get(life.leave, ""))
    return onward(life._replace(current=sight.status))


BY_FORCE = "stopped by force: the patience was over"
_STOPPED_AS: Mapping[Leave | None, str] = {
    Leave.IDLE: "it was idle when it was stopped",
    Leave.FORCED: BY_FORCE,
}


def _as_found(life: Life, saw: Saw) -> Life:
    """Where persons are left alone, a notebook that its person has stopped since the plan is to stay so.

    So it is between two stages, which may be days apart: in which state the second one finds a notebook is
    its owner's affair.
    """
    as_it_is = life.leave is not None or life.change.takes_as_found
    if not as_it_is or saw.sight.status not in (Status.RUNNING, Status.STOPPED):
        return life
    return life._replace(change=replace(life.change, run_state=saw.sight.status))


def _to_spare(life: Life) -> bool:
    """Whether the next steps would stop a notebook that a person uses."""
    in_the_way = any(not phase.when.allows(Status.RUNNING) for phase in life.phases)
    return life.leave is Leave.SPARE and in_the_way


def _no_restart(fields: Iterable[str]) -> str:
    return f"{', '.join(fields)}: needs a restart; disruption is none"


def not_now(life: Life, saw: Saw) -> Life:
    word = saw.sight.word or saw.sight.status.value
    life = life._replace(current=saw.sight.status)
    return over(life, Outcome.SKIPPED, f"status {word}{saw.sight.because}")


def arriving(life: Life, saw: Saw) -> Life:
    if saw.sight.status.heading is Status.RUNNING and _to_spare(life):
        return life._replace(stage=Stage.SPARED)
    return life._replace(stage=Stage.ARRIVING, current=saw.sight.status)


def arrived(life: Life, saw: Saw) -> Life:
    return life._replace(stage=Stage.FENCE, settle=0)


# --- before a later write ------------------------------------------------------------------------------


def unsettled(life: Life, sight: Sight) -> Stage | None:
    """Where the life goes if the write that is due no longer fits what is seen; None if it does.

    The write had to wait for its turn, and the look before it had grown old.
    """
    if life.home and not life.phases:
        return Stage.VERIFY  # it is the lease that is due, if nobody has set it meanwhile
    down = sight.status is Status.START_FAILED and (life.debt or life.reverting)
    same = (Status.STOPPED if down else sight.status) is life.current
    if life.phases and life.phases[0].when.allows(life.current):
        fits = same and compare(life, sight) in (Values.BEFORE, Values.MIXED)
        return None if fits else Stage.PUT_SETTLE
    if life.current is Status.RUNNING:
        return None if same and not _restarted(life, sight) else Stage.STOP_SETTLE
    return None


def spared(life: Life) -> Life:
    """What may stop no running notebook waits again before a stop, be it that a stop of ours did not happen.

    What was written already cannot be begun anew: it ends as it is.
    """
    if life.leave is not Leave.SPARE or life.stage is not Stage.READY or life.restarted:
        return life
    runs = life.current is life.change.run_state is Status.RUNNING
    if not runs or not life.phases or life.phases[0].when.allows(Status.RUNNING):
        return life
    if life.has_put:
        return homeward(life._replace(debt=False), Outcome.FAILED, must_wait(life.phases[0].body))
    return life._replace(stage=Stage.SPARED, tries={}, debt=False)


def must_wait(fields: Iterable[str]) -> str:
    return f"{', '.join(fields)}: needs a stop, which must wait"


# --- after a stop --------------------------------------------------------------------------------------


def still_running(life: Life, saw: Saw) -> Life:
    restarted = _restarted(life, saw.sight)
    if not restarted and life.settle + 1 < LOOKS:
        return look_again(life, saw)
    if life.change.run_state is Status.RUNNING and holds(life, saw.sight):
        # We stop only for values that a running notebook does not take: it was stopped, and runs again.
        return fulfilled(life._replace(current=Status.RUNNING), saw)
    if restarted:  # somebody wants it to run, with the old values: to stop it again would undo their start
        return over(life, Outcome.DRIFTED, "restarted by somebody after our stop")
    accepted_or_doubt = life.doubt or life.stage is Stage.STOPPING
    going_home = life.change.run_state is Status.STOPPED
    tries = STOPS_IN_DOUBT if accepted_or_doubt else BUSY_TRIES
    if life.tried(Step.STOP) < tries and (going_home or not life.late):
        return life._replace(stage=Stage.READY, settle=0)
    life = life._replace(debt=False)
    reason = f"would not stop: {life.trouble or 'still RUNNING'}"
    if going_home:
        return over(life, Outcome.STRANDED, so_far(life) + reason)
    return homeward(life, Outcome.FAILED if life.written else Outcome.SKIPPED, reason)


def _restarted(life: Life, sight: Sight) -> bool:
    """Whether somebody started the notebook again after our stop.

    The lease is granted anew with a start. Where our stop was not answered, any touch since is somebody's.
    """
    now = mark(sight, life.mark)
    return now != life.mark if life.doubt else now[0] != life.mark[0]


def has_stopped(life: Life, saw: Saw) -> Life:
    if not life.debt and life.change.run_state is Status.RUNNING:
        return over(life, Outcome.DRIFTED, "stopped by somebody just before us")
    life = life._replace(current=Status.STOPPED, settle=0)
    if differs(life.expected, saw.sight):
        if holds(life, saw.sight):
            return fulfilled(life, saw)
        return homeward(life, Outcome.DRIFTED, difference(life.expected, saw.sight.values))
    return onward(life)


def is_stopping(life: Life, saw: Saw) -> Life:
    """Ours if a stop stayed unanswered; somebody else's if the cloud refused it."""
    return life._replace(stage=Stage.STOPPING, settle=0) if life.debt else look_again(life, saw)


# --- after a PUT ---------------------------------------------------------------------------------------


def values(life: Life, saw: Saw) -> Life:
    found = compare(life, saw.sight)
    if saw.sight.status is Status.START_FAILED and (life.debt or life.reverting):
        life = life._replace(current=Status.STOPPED)  # as good as stopped, and ours to bring back
    elif saw.sight.status is not life.current:
        return _meddled(life._replace(current=saw.sight.status), saw, found)
    give_up = life.late and not life.reverting
    match found:
        case Values.DESIRED | Values.OTHER if _come_true(life, saw.sight, found):
            return fulfilled(life, saw)
        case Values.DESIRED:
            return _phase_done(life)
        case Values.OTHER:
            wanted = {**life.expected, **life.phases[0].body}
            return homeward(life, Outcome.DRIFTED, difference(wanted, saw.sight.values, "not"))
    if life.refused_state and not life.reverting:
        return _other_state(life, saw.sight.status)
    if life.settle + 1 < _looks(life) and not give_up:
        return look_again(life, saw)
    if life.stage is Stage.PUT_SETTLE and life.tried(Step.PUT) < life.most_tries and not give_up:
        return life._replace(stage=Stage.READY, settle=0)
    reason = f"update not applied: {life.trouble or 'accepted, but the old value is still shown'}"
    if life.reverting and not life.home:
        return over(life, Outcome.STRANDED, so_far(life) + reason)
    if _may_yet_grow(life):
        return _unknown(life, reason)
    return homeward(life, Outcome.FAILED, reason)


def _come_true(life: Life, sight: Sight, found: Values) -> bool:
    """Whether every planned value is there although the change was given up, or by another hand."""
    given_up = life.ending is not None and not life.reverting
    return (given_up or found is Values.OTHER) and holds(life, sight)


def _may_yet_grow(life: Life) -> bool:
    """A disk takes its time; once a later process has waited in vain as well, it is not believed any more."""
    return "storage_new_size" in life.phases[0].body and life.has_put and not life.waited


def _unknown(life: Life, reason: str) -> Life:
    """Nobody can tell yet; whoever takes the run up again goes on looking, or sees it at the last look."""
    if not life.home:
        return homeward(life, Outcome.UNKNOWN, reason)
    return over(life._replace(waited=True), Outcome.UNKNOWN, so_far(life) + reason)


def passes_by(life: Life, saw: Saw) -> Life:
    """Somebody starts or stops the notebook while our PUT is open."""
    return look_again(life._replace(current=saw.sight.status), saw)


def _meddled(life: Life, saw: Saw, found: Values) -> Life:
    """Somebody started or stopped the notebook around our PUT: all is well if nothing is left to do."""
    if life.home and holds(life, saw.sight):
        return fulfilled(life, saw)
    if found is Values.DESIRED and life.home and len(life.phases) == 1 and life.ending is None:
        return _phase_done(life)
    by = "stopped" if life.current is Status.STOPPED else "started"
    reason = f"{so_far(life)}{by} by somebody meanwhile"
    if life.debt and life.current is Status.STOPPED:  # it was stopped before, by us: that is still owed
        return homeward(life, Outcome.DRIFTED, reason)
    return over(life, Outcome.DRIFTED, reason)


def _looks(life: Life) -> int:
    return GROW_LOOKS if "storage_new_size" in life.phases[0].body else LOOKS


def _phase_done(life: Life) -> Life:
    ending = life.ending
    if life.reverting and ending is not None:
        ending = ending[0], f"{ending[1]}; the old value was put back"
    return onward(
        life._replace(
            expected={**life.expected, **life.phases[0].body},
            phases=life.phases[1:],
            settle=0,
            doubt=False,
            ending=ending,
            tries={**life.tries, Step.PUT: 0},
            proven=not life.restarted,
        )
    )


def _other_state(life: Life, status: Status) -> Life:
    """Refused for the state that the notebook really is in: the fields belong to the other one."""
    body = life.phases[0].body
    if status not in (Status.RUNNING, Status.STOPPED):  # a failed start teaches nothing about fields
        return homeward(life, Outcome.FAILED, f"update refused: {life.trouble}")
    if any(name in life.moved for name in body):
        return homeward(life, Outcome.FAILED, f"update refused in either state: {life.trouble}")
    other = When.RUNNING if life.current is Status.STOPPED else When.STOPPED
    life = life._replace(moved={**life.moved, **dict.fromkeys(body, other)})
    if not life.change.may_restart:
        outcome = Outcome.FAILED if life.written else Outcome.SKIPPED
        return homeward(life, outcome, _no_restart(body))
    if life.leave is Leave.SPARE and status is life.change.run_state is Status.RUNNING:
        if not life.written:
            return life._replace(stage=Stage.SPARED, tries={})
        return homeward(life, Outcome.FAILED, must_wait(body))
    return onward(life._replace(tries={**life.tries, Step.PUT: 0}, phases=regroup(life.phases, life.moved)))
