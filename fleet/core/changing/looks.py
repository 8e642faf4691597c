"""What a look at a notebook means for its change: one rule for every stage and status.

The table at the end is complete: every stage in which a look can arrive has a rule for every documented
status and for a word that nobody knows. The rules themselves are in `look_rules` and `saving`; what every
look leaves behind, whatever the rule, is here. `change` owns the theory and the moves.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet.core.changing import look_rules as rules
from fleet.core.changing import saving
from fleet.core.changing.life import Life, Stage
from fleet.core.changing.look_rules import Rule
from fleet.core.changing.sight import Sight
from fleet.core.events import Saw
from fleet.core.notebook import Status
from fleet.core.patch import readable


def after_look(life: Life, saw: Saw) -> Life:
    """The life after a look."""
    if life.stage is Stage.READY:
        settling = rules.unsettled(life, saw.sight)
        if settling is None:
            return _remember(life, life.stage, saw)
        life = life._replace(stage=settling, settle=0, refused_state=False)
    row = TABLE.get(life.stage)
    if row is None:
        return life
    life = _applied_late(life, saw.sight)._replace(debt=_owes(life, saw.sight.status))
    return _remember(rules.spared(row[saw.sight.status](life, saw)), life.stage, saw)


def _applied_late(life: Life, sight: Sight) -> Life:
    """On the way home after a PUT that seemed to do nothing: what shows its values is our doing, no drift."""
    if life.ending is None or life.phases or life.reverting or not life.has_put:
        return life
    late = {
        name: value
        for name, value in life.change.after.items()
        if readable(name) and life.expected.get(name) != value and sight.values.get(name) == value
    }
    if not late:
        return life
    outcome, reason = life.ending
    reason = f"{reason}; it was applied later after all: {', '.join(late)}"
    return life._replace(expected={**life.expected, **late}, ending=(outcome, reason))


# A RUNNING seen here may be older than our stop, and an unknown touch may be somebody's.
_MAY_STILL_STOP = frozenset({Stage.STOP_SETTLE, Stage.STOPPING})

# What a notebook shows whose start did not last.
_FALLEN = frozenset(
    {
        Status.STARTING,
        Status.START_FAILED,
        Status.CREATE_FAILED,
        Status.DELETE_FAILED,
        Status.ERROR,
        Status.FROZEN,
    }
)


def _owes(life: Life, status: Status) -> bool:
    """A debt is paid by RUNNING, and back if the notebook that we started turns out not to run."""
    if status is Status.RUNNING and life.stage not in _MAY_STILL_STOP:
        return False
    if status in _FALLEN and life.restarted and life.change.run_state is Status.RUNNING:
        return True
    return life.debt


def _remember(life: Life, stage: Stage, saw: Saw) -> Life:
    """Keeps what later looks are compared with, and the lease as long as it is not of our making."""
    if stage in _MAY_STILL_STOP:
        return life
    life = life._replace(mark=rules.mark(saw.sight, life.mark))
    if life.debt or life.restarted or saw.sight.lease is None:
        return life
    return life._replace(lease=saw.sight.lease, left=saw.sight.left, looked_at=saw.at)


# --- the table -----------------------------------------------------------------------------------------


def _row(
    *,
    running: Rule,
    stopped: Rule,
    starting: Rule,
    stopping: Rule,
    busy: Rule,
    start_failed: Rule,
    broken: Rule,
    strange: Rule,
) -> Mapping[Status, Rule]:
    """One stage's rules; a notebook that is going or gone ends every stage alike."""
    return {
        Status.INIT: busy,
        Status.CREATING: busy,
        Status.STARTING: starting,
        Status.STOPPING: stopping,
        Status.DELETING: rules.gone,
        Status.RUNNING: running,
        Status.STOPPED: stopped,
        Status.SNAPSHOTTING: busy,
        Status.CREATE_FAILED: broken,
        Status.START_FAILED: start_failed,
        Status.DELETE_FAILED: broken,
        Status.ERROR: broken,
        Status.DELETED: rules.gone,
        Status.FROZEN: broken,
        Status.STRANGE: strange,
    }


def _stage(
    running: Rule,
    stopped: Rule,
    *,
    starting: Rule = rules.look_again,
    stopping: Rule = rules.look_again,
    start_failed: Rule = rules.lost,
) -> Mapping[Status, Rule]:
    """A stage after a write: what is passing or unknown is looked at again, what is broken is lost."""
    return _row(
        running=running,
        stopped=stopped,
        starting=starting,
        stopping=stopping,
        busy=rules.look_again,
        start_failed=start_failed,
        broken=rules.lost,
        strange=rules.look_again,
    )


def _before_write(settled: Rule) -> Mapping[Status, Rule]:
    """A stage before the first write: what is passing is waited for, what is broken is left alone."""
    return _row(
        running=settled,
        stopped=settled,
        starting=rules.arriving,
        stopping=rules.arriving,
        busy=rules.arriving,
        start_failed=rules.not_now,
        broken=rules.not_now,
        strange=rules.not_now,
    )


_AFTER_PUT = _stage(
    rules.values, rules.values, starting=rules.passes_by, stopping=rules.passes_by, start_failed=rules.values
)

_SAVING = {
    **_row(
        running=saving.running,
        stopped=saving.stopped,
        starting=saving.unsettled,
        stopping=saving.unsettled,
        busy=saving.unsettled,
        start_failed=saving.broken,
        broken=saving.broken,
        strange=saving.unsettled,
    ),
    Status.SNAPSHOTTING: saving.under_way,
}

TABLE: Mapping[Stage, Mapping[Status, Rule]] = {
    Stage.ARRIVING: _before_write(rules.arrived),
    Stage.FENCE: _before_write(rules.fence),
    Stage.SAVE_SETTLE: _SAVING,
    Stage.SAVING: _SAVING,
    Stage.STOP_SETTLE: _stage(rules.still_running, rules.has_stopped, stopping=rules.is_stopping),
    Stage.STOPPING: _stage(rules.still_running, rules.has_stopped, starting=rules.wait, stopping=rules.wait),
    Stage.PUT_SETTLE: _AFTER_PUT,
    Stage.READ_BACK: _AFTER_PUT,
    Stage.START_SETTLE: _stage(
        rules.runs, rules.still_stopped, starting=rules.starts, start_failed=rules.start_failed
    ),
    Stage.STARTING: _stage(
        rules.runs, rules.still_stopped, starting=rules.wait, start_failed=rules.start_failed
    ),
    Stage.VERIFY: _stage(
        rules.verified,
        rules.verified,
        starting=rules.of_one_to_run(rules.starts),
        start_failed=rules.of_one_to_run(rules.start_failed),
    ),
}
