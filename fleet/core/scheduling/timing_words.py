"""The timing of a rollout, for a person who has to say yes or no."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.core.duration import duration
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment, Otherwise
from fleet.core.text import clean

_OVER = {
    Otherwise.SKIP: "is left as it is",
    Otherwise.FORCE: "is stopped and changed all the same",
}


def timing_lines(rollout: Rollout) -> Iterator[str]:
    """When running notebooks are stopped, and what their owners hear of it."""
    patience, over = duration(rollout.patience), _OVER[rollout.otherwise]
    if rollout.when is Moment.NEXT_STOP:
        yield (
            "when: a running notebook is changed once it has stopped by itself, and stays stopped; what has "
            f"not stopped {patience} after its wave began {over}"
        )
    if rollout.when is Moment.IDLE:
        yield (
            f"when: a running notebook is stopped once it was idle for {duration(rollout.idle.lasting)}; one "
            f"that stops by itself stays stopped; what was neither {patience} after its wave began {over}"
        )
    notice = rollout.notice
    if notice is None:
        return
    yield (
        f"notice: {clean(notice.way)} tells each owner {duration(notice.lead)} before the first stop of a "
        "wave; whose owner cannot be told is not stopped"
    )
    if notice.postponed:
        yield f"postponed: owners in {clean(notice.postponed)} are left alone until the time that it gives"


def timing_remarks(rollout: Rollout) -> Iterator[str]:
    """What may surprise a person in it."""
    deadline, notice = rollout.deadline, rollout.notice
    if deadline is None:
        return
    if rollout.when is not Moment.NOW and deadline < rollout.patience:
        yield (
            f"the deadline of {duration(deadline)} ends the run before its patience of "
            f"{duration(rollout.patience)} is over: who is not ready by then is not started"
        )
    if notice is not None and not rollout.stops_nobody and deadline <= notice.lead:
        yield (
            f"the deadline of {duration(deadline)} ends the run before the notice of {duration(notice.lead)} "
            "is over: nobody is stopped"
        )
