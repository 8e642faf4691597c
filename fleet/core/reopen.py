"""How a change is taken up again by a new process: whatever was under way is settled by looking first."""

from __future__ import annotations

from dataclasses import replace

from fleet.core.events import Outcome
from fleet.core.life import Life, Stage
from fleet.core.notebook import Status

# A write whose answer nobody waited for may have been applied.
_UNANSWERED = {
    Stage.STOP_SENT: Stage.STOP_SETTLE,
    Stage.PUT_SENT: Stage.PUT_SETTLE,
    Stage.START_SENT: Stage.START_SETTLE,
    Stage.LEASE_SENT: Stage.VERIFY,
}

# Ends that a later look may better.
OPEN_ENDS = frozenset({Outcome.STRANDED, Outcome.UNKNOWN})


def is_open(life: Life) -> bool:
    """Whether there is anything left to do or to find out."""
    return life.end is None or life.end[0] in OPEN_ENDS


def reopened(life: Life) -> Life:
    """The life as a new process goes on with it: in a stage that waits for a look, not in one that sends."""
    life = replace(life, late=False, settle=0)
    if life.stage in _UNANSWERED:
        return replace(life, stage=_UNANSWERED[life.stage], doubt=True, written=True)
    if life.end is not None:
        life = replace(life, end=None, tries=dict.fromkeys(life.tries, 0), stage=Stage.READY)
    if life.stage is not Stage.READY:
        return life
    if not life.tries:
        return replace(life, stage=Stage.FENCE)
    return replace(life, stage=_looking_stage(life), doubt=True)


def _looking_stage(life: Life) -> Stage:
    """Where a look tells what the next write must be."""
    if life.restarted:
        return Stage.START_SETTLE
    if life.change.run_state is Status.RUNNING and (life.debt or life.current is Status.STOPPED):
        return Stage.STOP_SETTLE if life.phases and not life.reverting else Stage.START_SETTLE
    if life.phases:
        return Stage.PUT_SETTLE
    return Stage.VERIFY
