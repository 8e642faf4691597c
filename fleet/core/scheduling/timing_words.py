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


def restart_words(rollout: Rollout) -> str:
    """How a running notebook comes to stand still for its change: restart, at the next stop."""
    patience = duration(rollout.patience)
    forced = rollout.otherwise is Otherwise.FORCE
    match rollout.when:
        case Moment.NEXT_STOP:
            return f"at the next stop, else restart after {patience}" if forced else "at the next stop"
        case Moment.IDLE:
            return f"restart once idle, else after {patience}" if forced else "restart once idle"
        case Moment.NOW:
            return "restart"


def waiting_words(rollout: Rollout, *, disturbs: bool) -> str:
    """What makes a rollout take longer than its work; `disturbs` says that there are running notebooks that
    would have to be stopped. Empty for nothing.
    """
    parts, waits = [], disturbs and rollout.when is not Moment.NOW
    if waits:
        what = "be idle or stop" if rollout.when is Moment.IDLE else "stop"
        parts.append(f"up to {duration(rollout.patience)} a wave for notebooks to {what}")
    lead = 0.0 if rollout.notice is None or rollout.stops_nobody else rollout.notice.lead
    if disturbs and lead:
        meanwhile = "meanwhile " if waits else ""
        parts.append(f"{meanwhile}{duration(lead)} a wave for the notice to be out")
    if rollout.calendar:
        parts.append("for windows to open" if rollout.carry_over else "for the window to open")
    return ", ".join(parts)


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
    if rollout.stops_nobody:
        yield "notice: nobody is told, as nobody is stopped"
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
