"""What a look at a notebook means for its change: one rule for every stage and status.

The table at the end is complete: every stage in which a look can arrive has a rule for every documented
status and for a word that nobody knows. The rules of the way out are in `look_rules`, those of the way home
in `home_rules`, those of a save in `saving`; what every look leaves behind, whatever the rule, and what holds
in every stage is here. `change` owns the theory and the moves.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet.core.changing import home_rules as home
from fleet.core.changing import look_rules as rules
from fleet.core.changing import saving
from fleet.core.changing.home_rules import Rule, look_again
from fleet.core.changing.life import Life, Stage, over, so_far
from fleet.core.changing.sight import Sight, mark
from fleet.core.events import Outcome, Saw, Step
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
    theirs, debt = _grants(life, saw.sight), _owes(life, saw.sight.status)
    life = _applied_late(life, saw.sight)
    if theirs is not life.lease_theirs or debt is not life.debt:  # as good as never
        life = life._replace(lease_theirs=theirs, debt=debt)
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


def _grants(life: Life, sight: Sight) -> bool:
    """Whether somebody granted the lease anew, after a look that showed the one of our start."""
    ours_alone = life.brought_back and life.tried(Step.LEASE) == 0
    if life.lease_theirs or not ours_alone:
        return life.lease_theirs
    return sight.status is Status.RUNNING and mark(sight, life.mark)[0] != life.mark[0]


def _remember(life: Life, stage: Stage, saw: Saw) -> Life:
    """Keeps what later looks are compared with, and the lease as long as it is not of our making."""
    if stage in _MAY_STILL_STOP:
        return life
    sight = saw.sight
    newest = mark(sight, life.mark)
    if life.debt or life.restarted or sight.lease is None:
        return life if newest == life.mark else life._replace(mark=newest)
    return life._replace(mark=newest, lease=sight.lease, left=sight.left, looked_at=saw.at)


# --- in every stage alike -----------------------------------------------------------------------------------


def wait(life: Life, saw: Saw) -> Life:
    return life


def gone(life: Life, saw: Saw) -> Life:
    reason = "is being deleted" if saw.sight.status is Status.DELETING else "deleted by somebody"
    return over(life, Outcome.GONE, reason)


def lost(life: Life, saw: Saw) -> Life:
    """FROZEN, ERROR and the like in the middle of our work: nothing that we could send would help."""
    reason = f"{so_far(life)}status {saw.sight.status}{saw.sight.because}"
    if life.debt or life.restarted:
        return over(life, Outcome.STRANDED, reason)
    return over(life._replace(current=saw.sight.status), Outcome.FAILED, reason)


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
        Status.DELETING: gone,
        Status.RUNNING: running,
        Status.STOPPED: stopped,
        Status.SNAPSHOTTING: busy,
        Status.CREATE_FAILED: broken,
        Status.START_FAILED: start_failed,
        Status.DELETE_FAILED: broken,
        Status.ERROR: broken,
        Status.DELETED: gone,
        Status.FROZEN: broken,
        Status.STRANGE: strange,
    }


def _stage(
    running: Rule,
    stopped: Rule,
    *,
    starting: Rule = look_again,
    stopping: Rule = look_again,
    start_failed: Rule = lost,
) -> Mapping[Status, Rule]:
    """A stage after a write: what is passing or unknown is looked at again, what is broken is lost."""
    return _row(
        running=running,
        stopped=stopped,
        starting=starting,
        stopping=stopping,
        busy=look_again,
        start_failed=start_failed,
        broken=lost,
        strange=look_again,
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
    Stage.STOPPING: _stage(rules.still_running, rules.has_stopped, starting=wait, stopping=wait),
    Stage.PUT_SETTLE: _AFTER_PUT,
    Stage.READ_BACK: _AFTER_PUT,
    Stage.START_SETTLE: _stage(
        home.runs, home.still_stopped, starting=home.starts, start_failed=home.start_failed
    ),
    Stage.STARTING: _stage(home.runs, home.still_stopped, starting=wait, start_failed=home.start_failed),
    Stage.VERIFY: _stage(
        home.verified,
        home.verified,
        starting=home.of_one_to_run(home.starts),
        start_failed=home.of_one_to_run(home.start_failed),
    ),
}
