"""How a change is taken up again by a new process: whatever was under way is settled by looking first."""

from __future__ import annotations

from fleet.core.changing.life import Life, Saving, Stage
from fleet.core.events import Leave, Outcome, Step
from fleet.core.notebook import Status

# A write whose answer nobody waited for may have been applied.
_UNANSWERED = {
    Stage.SAVE_SENT: (Step.SAVE, Stage.SAVE_SETTLE),
    Stage.STOP_SENT: (Step.STOP, Stage.STOP_SETTLE),
    Stage.PUT_SENT: (Step.PUT, Stage.PUT_SETTLE),
    Stage.START_SENT: (Step.START, Stage.START_SETTLE),
    Stage.LEASE_SENT: (Step.LEASE, Stage.VERIFY),
}

# Ends that a later look may better.
OPEN_ENDS = frozenset({Outcome.STRANDED, Outcome.UNKNOWN})


def is_open(life: Life) -> bool:
    """Whether there is anything left to do, to find out or to record."""
    return life.end is None or life.end[0] in OPEN_ENDS or not life.recorded


def reopened(life: Life, leave: Leave | None = None) -> Life:
    """The life as a new process goes on with it: in a stage that waits for a look, not in one that sends.

    `leave` is what it may do from now on, None what it was allowed before.
    """
    if life.end is not None and life.end[0] not in OPEN_ENDS:
        return life  # decided by the last look, and only to be recorded
    leave = leave or life.leave
    life = life._replace(late=False, settle=0, recorded=False, leave=leave, ending=_by_now(life))
    if life.stage in _UNANSWERED:
        step, settling = _UNANSWERED[life.stage]
        tries = {**life.tries, step: life.tried(step) - 1}  # that we died says nothing about the cloud
        has_put = life.has_put or step is Step.PUT
        return life._replace(stage=settling, tries=tries, doubt=True, written=True, has_put=has_put)
    if life.end is not None:
        life = life._replace(end=None, tries=dict.fromkeys(life.tries, 0), stage=_taken_up(life))
    if life.stage is not Stage.READY:
        return life
    if not life.tries:
        return life._replace(stage=Stage.FENCE)
    return life._replace(stage=_looking_stage(life), doubt=True)


def _taken_up(life: Life) -> Stage:
    """A PUT that is not proven is looked for where it was left: a disk that grows is not told so twice."""
    open_put = life.ended_in in (Stage.READ_BACK, Stage.PUT_SETTLE) and life.phases
    return life.ended_in if life.ended_in is not None and open_put else Stage.READY


def _by_now(life: Life) -> tuple[Outcome, str] | None:
    """How a change that was given up ends.

    One that was too late, but had not given up its PUT yet, has its time anew. What could not be known on the
    way home is known by now: a last look shows it, or it failed.
    """
    if life.phases and not life.reverting:
        return None
    if life.ending is not None and life.ending[0] is Outcome.UNKNOWN:
        return Outcome.FAILED, life.ending[1]
    return life.ending


def _looking_stage(life: Life) -> Stage:
    """Where a look tells what the next write must be."""
    if life.saving is Saving.SENT:
        return Stage.SAVE_SETTLE
    if life.restarted:
        return Stage.START_SETTLE
    if life.change.run_state is Status.RUNNING and (life.debt or life.current is Status.STOPPED):
        return Stage.STOP_SETTLE if life.phases and not life.reverting else Stage.START_SETTLE
    if life.phases:
        return Stage.PUT_SETTLE
    return Stage.VERIFY
