"""What one look means on the way home: after a start, where old values are put back, at the last look.

The way out has its rules in `look_rules`; the table of all is in `looks`.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet.core.changing.life import (
    LEASE_MIN_MS,
    LOOKS,
    Life,
    Stage,
    as_planned,
    difference,
    differs,
    holds,
    homeward,
    lease_is_theirs,
    lease_off_by,
    onward,
    over,
    so_far,
    with_note,
)
from fleet.core.changing.sight import Sight
from fleet.core.events import Outcome, Saw, Step
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase

Rule = Callable[[Life, Saw], Life]


def look_again(life: Life, saw: Saw) -> Life:
    return life._replace(settle=life.settle + 1)


# --- after a start -------------------------------------------------------------------------------------


def runs(life: Life, saw: Saw) -> Life:
    if not life.restarted and life.change.run_state is Status.STOPPED:
        return over(life, Outcome.DRIFTED, "started by somebody just before us")
    if not (life.restarted or life.doubt):
        life = with_note(life, "started by somebody else, with a lease of their own")
    life = life._replace(current=Status.RUNNING, settle=0, proven=False)
    if not life.phases and life.ending is None and life.home:
        return verified(life, saw)  # where it was to come back to: this is the last look already
    if life.phases and holds(life, saw.sight):
        return fulfilled(life, saw)
    if life.phases and differs(life.expected, saw.sight):
        return homeward(life, Outcome.DRIFTED, difference(life.expected, saw.sight.values))
    return onward(life)


def starts(life: Life, saw: Saw) -> Life:
    return life._replace(stage=Stage.STARTING, settle=0)


def still_stopped(life: Life, saw: Saw) -> Life:
    if life.settle + 1 < LOOKS:
        return look_again(life, saw)
    if life.brought_back:
        return stopped_again(life, saw)
    if life.change.run_state is Status.STOPPED and holds(life, saw.sight):
        return fulfilled(life._replace(current=Status.STOPPED), saw)
    life = _drifted(life, saw.sight)
    if life.tried(Step.START) < life.most_tries or (life.sold_out and not life.late):
        return onward(life._replace(current=Status.STOPPED))
    give_up = stays_stopped if life.sold_out else cannot_start
    return give_up(life, f"would not start: {life.trouble or 'still STOPPED'}")


def stopped_again(life: Life, saw: Saw) -> Life:
    """It ran since our start: whoever stopped it then is not undone.

    Unless our own start may have: the hour that it ran for instead of the lease that is owed.
    """
    life = life._replace(current=Status.STOPPED)
    if life.lease_due and saw.at >= life.started_at + LEASE_MIN_MS / 1000:
        return onward(life._replace(debt=True))
    if differs(life.expected, saw.sight):
        return over(life, Outcome.DRIFTED, so_far(life) + difference(life.expected, saw.sight.values))
    if life.phases:
        return over(life, Outcome.DRIFTED, f"{so_far(life)}stopped by somebody meanwhile")
    life = with_note(life, "stopped by somebody after our start, or at the end of its lease")
    return over(life, *(life.ending or as_planned(life)))


def start_failed(life: Life, saw: Saw) -> Life:
    life = _drifted(life, saw.sight)
    reason = f"{saw.sight.status}{saw.sight.because}"
    if _old_values(life) and not life.reverting:
        return cannot_start(life, reason)
    return over(life, Outcome.STRANDED, so_far(life) + reason)


def _drifted(life: Life, sight: Sight) -> Life:
    """Takes in that somebody changed the notebook on its way home; it is still brought there."""
    if not differs(life.expected, sight) or _has_drifted(life):
        return life
    return life._replace(ending=(Outcome.DRIFTED, so_far(life) + difference(life.expected, sight.values)))


def _has_drifted(life: Life) -> bool:
    return life.ending is not None and life.ending[0] is Outcome.DRIFTED


def stays_stopped(life: Life, reason: str) -> Life:
    """No start will help: stranded, unless the notebook was stopped when we came."""
    if life.change.run_state is Status.STOPPED:
        return homeward(life, Outcome.FAILED, reason)
    return over(life, Outcome.STRANDED, so_far(life) + reason)


def cannot_start(life: Life, reason: str) -> Life:
    """Puts the old values back once and starts again; after that the notebook stays as it is."""
    old = _old_values(life)
    if life.reverting or not old:
        return stays_stopped(life, reason)
    return onward(
        life._replace(
            current=Status.STOPPED,
            phases=(Phase(When.STOPPED, old),),
            reverting=True,
            restarted=False,
            tries={**life.tries, Step.PUT: 0, Step.START: 0},
            ending=(Outcome.FAILED, so_far(life) + reason),
        )
    )


def _old_values(life: Life) -> dict[str, object]:
    """What the fields that we changed for a stopped notebook held before; growth cannot be undone.

    Nothing, once somebody else has changed them: that is not ours to replace.
    """
    if _has_drifted(life) or not life.has_put:
        return {}
    return {
        name: life.change.before[name]
        for name, value in life.expected.items()
        if name in ("image_id", "flavor") and value != life.change.before.get(name)
    }


def flavor_changed(life: Life) -> bool:
    """Whether the notebook now asks for another flavor than it had."""
    return "flavor" in _old_values(life)


# --- the last look -------------------------------------------------------------------------------------


def verified(life: Life, saw: Saw) -> Life:
    life = life._replace(current=saw.sight.status)
    if life.brought_back and life.current is Status.STOPPED:
        return stopped_again(life, saw)
    if not life.home:
        by = "stopped" if saw.sight.status is Status.STOPPED else "started"
        return over(life, Outcome.DRIFTED, f"{so_far(life)}{by} by somebody meanwhile")
    if differs(life.expected, saw.sight):
        if holds(life, saw.sight):
            return fulfilled(life, saw)
        return over(life, Outcome.DRIFTED, so_far(life) + difference(life.expected, saw.sight.values))
    off = lease_off_by(life, saw.sight, saw.at)
    theirs = lease_is_theirs(life, saw.sight)
    if off and not theirs and life.tried(Step.LEASE) == 0:
        return onward(life._replace(lease_due=True))
    whose = "lease left as somebody set it" if theirs else "lease"
    return onward(with_note(life, off and f"{whose}: {off}")._replace(lease_due=False, proven=True))


def fulfilled(life: Life, saw: Saw) -> Life:
    """Every planned value is there, perhaps by another hand: what is left is the way home.

    A run that died may find so what a later run or a person finished in its place.
    """
    life = life._replace(phases=(), expected=life.change.after, ending=None, reverting=False, doubt=False)
    return verified(life._replace(debt=False), saw) if life.home else onward(life)


def of_one_to_run(rule: Rule) -> Rule:
    """Only a notebook that is to run is waited for and helped; another one was started by somebody."""

    def checked(life: Life, saw: Saw) -> Life:
        return (verified if life.change.run_state is Status.STOPPED else rule)(life, saw)

    return checked
