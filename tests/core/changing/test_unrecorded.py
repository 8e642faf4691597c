"""What becomes of a change when the journal cannot be written: told as not begun only where that is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleet.core.changing.change import advance
from fleet.core.changing.life import LOOKS, Life
from fleet.core.changing.reopen import is_open
from fleet.core.events import Ended, Late, Outcome
from fleet.core.pacing.breaker import cause_of
from fleet.core.planning.plan import Change

Planned = Callable[..., Change]
Walking = Callable[..., Any]

NO_ROOM = "the journal cannot be written"


def unrecorded(walked: Any) -> Any:
    """The write that is due next finds no journal."""
    walked.life = advance(walked.life, Late(0, walked.at, NO_ROOM, unrecorded=True))
    return walked


def test_before_its_put_it_comes_home_and_was_not_begun(planned: Planned, walk: Walking) -> None:
    walked = unrecorded(walk(planned())("RUNNING", "stop ok", "STOPPED"))
    end = walked("start ok", "RUNNING", "RUNNING").end
    assert (end.outcome, end.debt) == (Outcome.NOT_STARTED, False)
    assert end.reason == f"stopped and started again without a change: {NO_ROOM}"


def test_what_never_stopped_is_told_as_left_as_it_was(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop busy", *("RUNNING",) * LOOKS)
    assert walked.move == "stop"
    end = unrecorded(walked)("RUNNING").end
    assert (end.outcome, end.debt) == (Outcome.NOT_STARTED, False)
    assert end.reason == f"left as it was: {NO_ROOM}"


def test_what_was_not_begun_is_begun_anew(planned: Planned, walk: Walking) -> None:
    walked = unrecorded(walk(planned())("RUNNING", "stop ok", "STOPPED"))
    walked("start ok", "RUNNING", "RUNNING")
    life = advance(walked.life, Ended(0, walked.at, Outcome.NOT_STARTED, NO_ROOM))
    assert life == Life.begin(walked.life.change)


def test_once_a_put_was_sent_it_is_a_failure_that_comes_home(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop ok", "STOPPED", "put lost", *("STOPPED",) * LOOKS)
    assert walked.move == "put"
    end = unrecorded(walked)("start ok", "RUNNING", "RUNNING").end
    assert (end.outcome, end.debt) == (Outcome.FAILED, False)
    assert end.reason.startswith(NO_ROOM)


def test_at_home_after_its_put_it_is_left_for_a_later_process_to_settle(
    planned: Planned, walk: Walking
) -> None:
    """Here the lease was to be put right; once there is room, a look tells what is left to do."""
    way = ("RUNNING", "stop ok", "STOPPED", "put ok", "STOPPED new", "start ok", "RUNNING default")
    walked = walk(planned())(*way)
    assert walked.move == "lease"
    end = unrecorded(walked).end
    assert (end.outcome, end.reason) == (Outcome.UNKNOWN, f"not followed to its end: {NO_ROOM}")
    assert is_open(walked.life)


def test_what_fails_so_is_no_sign_of_the_cloud() -> None:
    assert cause_of(Late(0, 1.0, NO_ROOM, unrecorded=True)) == NO_ROOM
    assert cause_of(Late(0, 1.0)) == "the time was up"
