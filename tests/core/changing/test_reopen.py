"""A change taken up by a new process: what it owes is right wherever the old one died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleet.core.changing.change import advance
from fleet.core.changing.life import LOOKS
from fleet.core.events import Outcome, Reopened, Step
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase

Planned = Callable[..., Change]
Walking = Callable[..., Any]

RUNNING = ("RUNNING",) * LOOKS
DIES = "dies"

# The first stop stays unanswered, by a lost answer or by the death of the process; the second is throttled.
WAYS = {
    "lost": ("RUNNING", "stop lost", *RUNNING, "stop throttled", "RUNNING", "RUNNING"),
    "died": ("RUNNING", "stop unanswered", DIES, *RUNNING, "stop throttled", "RUNNING", "RUNNING"),
    "lost twice": ("RUNNING", "stop lost", *RUNNING, "stop throttled", *RUNNING, "stop throttled"),
}


def positions() -> Iterator[Any]:
    """Every place where the process can die: after each word, and between an intent and its answer."""
    for name, way in WAYS.items():
        for end in range(len(way) + 1):
            yield pytest.param(way[:end], id=f"{name}-{end}")
            if end < len(way) and way[end].startswith("stop "):
                yield pytest.param((*way[:end], "stop unanswered"), id=f"{name}-{end}-sent")


POSITIONS = list(positions())


@pytest.fixture
def taken_up(planned: Planned, walk: Walking) -> Callable[..., Any]:
    """The change in the hands of a new process, after `way`."""

    def make(way: tuple[str, ...]) -> Any:
        walked = walk(planned())
        for word in (*way, DIES):
            if word == DIES:
                walked.life = advance(walked.life, Reopened(0, walked.at))
                walked.at += 100.0
            else:
                walked(word)
        return walked

    return make


def stop_was_sent(way: tuple[str, ...]) -> bool:
    return any(word.startswith("stop") for word in way)


@pytest.mark.row(48)
@pytest.mark.parametrize("way", POSITIONS)
def test_a_stop_that_may_have_arrived_is_owed_and_looked_for(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    walked = taken_up(way)
    assert walked.life.debt is stop_was_sent(way)
    assert walked.life.fix.startswith("fleet start") is stop_was_sent(way)
    assert walked.move.startswith("look")


@pytest.mark.row(48)
@pytest.mark.parametrize("way", [one for one in POSITIONS if stop_was_sent(one.values[0])])
def test_where_the_stop_arrived_the_debt_lasts_until_the_notebook_runs(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    walked = taken_up(way)("STOPPED")
    assert (walked.move, walked.life.debt) == ("put", True)
    walked("put ok", "STOPPED new", "start ok")
    assert walked.life.debt
    assert walked("RUNNING").end.outcome is Outcome.CHANGED
    assert (walked.life.debt, walked.life.fix) == (False, "")


@pytest.mark.row(48)
@pytest.mark.parametrize("way", POSITIONS)
def test_where_no_stop_arrived_one_more_is_sent_and_nothing_is_owed_when_it_is_refused(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    walked = taken_up(way)
    while walked.move.startswith("look"):
        walked("RUNNING")
    walked("stop forbidden")
    assert walked.end.outcome is Outcome.FAILED
    assert (walked.life.debt, walked.life.fix) == (False, "")


def test_a_throttled_stop_leaves_the_one_before_it_in_doubt(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop lost", *RUNNING, "stop throttled", "RUNNING touched")
    assert (walked.end.outcome, walked.life.debt) == (Outcome.DRIFTED, False)


# Where every answer came in and every look was clear, so that nothing was in doubt when the process died.
CLEAR = {
    "stopped": ("RUNNING", "stop ok", "STOPPED"),
    "changed": ("RUNNING", "stop ok", "STOPPED", "put ok", "STOPPED new"),
}


@pytest.mark.row(48)
def test_a_notebook_that_somebody_used_while_nobody_ran_is_theirs(
    taken_up: Callable[..., Any],
) -> None:
    """The lease may not tell of it, as when auto stop is off: then any touch is somebody's."""
    walked = taken_up(CLEAR["stopped"])("RUNNING touched")
    assert (walked.end.outcome, walked.life.debt) == (Outcome.DRIFTED, False)


def test_nobody_is_said_to_have_started_what_the_process_that_died_may_have_started(
    taken_up: Callable[..., Any],
) -> None:
    """A journal that lost its end does not tell of our own start."""
    walked = taken_up(CLEAR["changed"])("RUNNING new")
    assert walked.life.notes == ()


GROWS = Phase(When.RUNNING, {"storage_new_size": 80})


@pytest.mark.row(37)
@pytest.mark.parametrize("before_it", [(), ("STOPPED", "start ok")], ids=["running", "started for it"])
def test_a_disk_that_was_told_to_grow_is_not_told_again_after_looks_that_were_refused(
    planned: Planned, walk: Walking, before_it: tuple[str, ...]
) -> None:
    run_state = Status.STOPPED if before_it else Status.RUNNING
    walked = walk(planned(run_state, GROWS, before={"storage_new_size": 50}))
    walked(*before_it, "RUNNING", "put ok", "RUNNING")
    for _ in range(2):
        walked("blind")
        assert walked.end.outcome is Outcome.UNKNOWN
        walked.life = advance(walked.life, Reopened(0, walked.at))
    walked("RUNNING", "RUNNING")
    assert walked.move.startswith("look")
    assert walked.life.tried(Step.PUT) == 0


# --- somebody brought the notebook home meanwhile ----------------------------------------------------------

STOPPED_BY_US = ("RUNNING", "stop ok", "STOPPED")
START_FAILED = (*STOPPED_BY_US, "put ok", "STOPPED new", "start ok", "START_FAILED")
PUT_LEFT = {
    "in doubt": (*STOPPED_BY_US, "put unanswered"),
    "busy": (*STOPPED_BY_US, "put busy"),
    "accepted": (*STOPPED_BY_US, "put ok"),
    "read back": (*STOPPED_BY_US, "put ok", "STOPPED new"),
    "started": (*STOPPED_BY_US, "put ok", "STOPPED new", "start unanswered"),
    "to put back": START_FAILED,
    "put back in doubt": (*START_FAILED, "put unanswered"),
    "put back": (*START_FAILED, "put ok", "STOPPED old"),
}
NO_PUT_LEFT = {
    "stop in doubt": ("RUNNING", "stop unanswered"),
    "stopping": ("RUNNING", "stop ok"),
    "stopped": STOPPED_BY_US,
    "put held back": (*STOPPED_BY_US, "put throttled"),
    "late": ("RUNNING", "stop ok", "late", "STOPPED", "start unanswered"),
}


def at_its_end(walked: Any) -> Any:
    """Nothing but looks, and a lease to be given back where our start may have been the last one."""
    while not walked.move.startswith("end"):
        walked("lease ok" if walked.move == "lease" else "RUNNING")
    return walked.end


@pytest.mark.row(48)
@pytest.mark.parametrize("way", PUT_LEFT.values(), ids=PUT_LEFT)
def test_what_shows_the_planned_values_where_it_came_from_is_changed_if_our_put_may_have_left(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    end = at_its_end(taken_up(way)("RUNNING new restarted"))
    assert (end.outcome, end.debt, end.fix) == (Outcome.CHANGED, False, "")


@pytest.mark.row(48)
@pytest.mark.parametrize("way", NO_PUT_LEFT.values(), ids=NO_PUT_LEFT)
def test_what_shows_the_planned_values_where_it_came_from_is_already_so_if_no_put_of_ours_left(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    end = at_its_end(taken_up(way)("RUNNING new restarted"))
    assert (end.outcome, end.reason, end.debt, end.fix) == (Outcome.UNCHANGED, "already so", False, "")


@pytest.mark.row(48)
@pytest.mark.parametrize("way", [NO_PUT_LEFT["stop in doubt"], NO_PUT_LEFT["stopping"]])
def test_where_no_lease_tells_of_the_restart_the_planned_values_do_and_no_stop_is_sent_again(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    walked = taken_up(way)("RUNNING new")
    assert walked.move.startswith("look") or walked.move == "await"  # our stop may still be on its way
    assert walked(*RUNNING[1:]).end.outcome is Outcome.UNCHANGED


@pytest.mark.row(48)
@pytest.mark.parametrize("seen", ["RUNNING restarted", "RUNNING restarted mixed", "RUNNING restarted third"])
def test_what_a_person_started_again_without_the_planned_values_is_drifted_and_left_alone(
    taken_up: Callable[..., Any], seen: str
) -> None:
    walked = taken_up(NO_PUT_LEFT["stopping"])(seen)
    assert (walked.end.outcome, walked.end.debt) == (Outcome.DRIFTED, False)


@pytest.mark.row(48)
@pytest.mark.parametrize("way", [NO_PUT_LEFT["stop in doubt"], NO_PUT_LEFT["stopping"]])
def test_what_somebody_else_changed_while_it_was_stopped_by_us_is_still_brought_home(
    taken_up: Callable[..., Any], way: tuple[str, ...]
) -> None:
    walked = taken_up(way)("STOPPED new")
    assert (walked.move, walked.life.debt) == ("start", True)
    end = walked("start ok", "RUNNING").end
    assert (end.outcome, end.reason, end.debt) == (Outcome.UNCHANGED, "already so", False)


def test_values_that_somebody_else_set_are_not_put_back_when_the_notebook_does_not_start(
    taken_up: Callable[..., Any],
) -> None:
    walked = taken_up(NO_PUT_LEFT["stopping"])("STOPPED new", "start ok", "START_FAILED")
    assert (walked.end.outcome, walked.end.debt) == (Outcome.STRANDED, True)
