"""A run seen from another process: its journal read while it grows, and what the views make of steering."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.cli.standing import screen
from fleet.core.changing.sight import Sight
from fleet.core.changing.under_way import Roll
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Slowed,
    Steered,
    Step,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.rollout import Rollout
from fleet.journal.sqlite import JournalFile
from fleet.service.following import follow, look_at
from fleet.telemetry.view import progress_view
from tests.plans import OLD, make_change, make_plan

RUN = "20261130-081500-k3f9"
PLAN = make_plan(make_change(id="nb-0"), make_change(1, id="nb-1"))
BEGUN: list[Event] = [RunStarted(100.0, RUN, "d"), WaveStarted(100.0, 1, 2), Began(0, 101.0)]
STEERED = Steered(105.0, "paused")
DONE: list[Event] = [
    Ended(0, 110.0, Outcome.CHANGED),
    Ended(1, 111.0, Outcome.SKIPPED, "claimed by run X"),
    RunEnded(112.0, RunEnd.FINISHED),
]


@pytest.fixture
def journal(tmp_path: Path) -> JournalFile:
    """The journal of a run that lives and has begun."""
    (tmp_path / RUN).mkdir(mode=0o700)
    made = JournalFile.create(tmp_path / RUN / "journal.db", PLAN, RUN)
    made.save(BEGUN)
    return made


def test_events_are_followed_as_they_come_until_the_process_is_gone(journal: JournalFile) -> None:
    def end() -> None:
        journal.save(DONE)
        journal.close()

    steps: list[Callable[[], None]] = [lambda: journal.save([STEERED]), lambda: None, end]
    batches = list(follow(journal.path.parent, lambda: steps.pop(0)()))
    assert batches == [BEGUN, [STEERED], [], DONE]


def test_a_run_is_looked_at_while_it_goes_on_and_afterwards(journal: JournalFile) -> None:
    seen = look_at(journal.path.parent, 106.0)
    assert (seen.report.live, seen.report.counts["open"]) == (True, 2)
    assert (seen.snapshot.under_way, seen.snapshot.elapsed, seen.snapshot.steered) == (1, 6.0, "")
    assert [(one.change.item, one.step, one.since, one.deadline) for one in seen.under_way] == [
        (0, "fence", 101.0, 101.0 + Rollout().change_deadline)
    ]
    journal.save([STEERED, *DONE])
    journal.close()
    seen = look_at(journal.path.parent, 200.0)
    assert (seen.report.live, seen.report.state, seen.report.counts["skipped"]) == (False, "finished", 1)
    assert (seen.snapshot.ended, seen.snapshot.elapsed, seen.snapshot.steered) == (2, 12.0, "paused")
    assert seen.under_way == ()


def test_the_screen_of_a_run_that_was_throttled_tells_how_once(journal: JournalFile) -> None:
    journal.save([Slowed(102.0, "k", "slowed down to a request every 9.0 s")])
    lines = list(screen(look_at(journal.path.parent, 106.0), None, 106.0))
    assert "throttled: slowed down to a request every 9.0 s" in lines


def test_what_a_killed_run_left_has_no_deadline(journal: JournalFile) -> None:
    journal.close()
    assert [one.deadline for one in look_at(journal.path.parent, 106.0).under_way] == [None]


def told(*events: Event) -> list[tuple[int, str, float, float | None, bool]]:
    """Who is under way after these events and two changes that began at 0 and 1."""
    roll = Roll(PLAN)
    for event in (RunStarted(0.0, RUN, "d"), Began(0, 0.0), Began(1, 1.0), *events):
        roll.apply(event)
    return [(one.change.item, one.step, one.since, one.deadline, one.debt) for one in roll.under_way()]


PATIENCE = Rollout().change_deadline
OTHER = (1, "fence", 1.0, 1.0 + PATIENCE, False)
RUNNING = Saw(0, 5.0, Sight(Status.RUNNING, {"image_id": OLD}))


def test_a_step_lasts_since_its_first_event_and_looks_do_not_renew_it() -> None:
    assert told() == [(0, "fence", 0.0, PATIENCE, False), OTHER]
    assert told(RUNNING) == [OTHER, (0, "stop next", 5.0, PATIENCE, False)]
    stop = (RUNNING, Intended(0, 6.0, Step.STOP, 1))
    assert told(*stop) == [OTHER, (0, "stop sent", 6.0, PATIENCE, True)]
    accepted = (*stop, Answered(0, 7.0, Step.STOP, Fate.ACCEPTED))
    stopping = Saw(0, 9.0, Sight(Status.STOPPING, {"image_id": OLD}))
    assert told(*accepted, stopping) == [OTHER, (0, "stopping", 7.0, PATIENCE, True)]


def test_a_late_change_has_its_time_once_more_to_come_home() -> None:
    assert told(RUNNING, Intended(0, 6.0, Step.STOP, 1), Late(0, 99.0))[1][3] == 99.0 + PATIENCE


def test_a_change_that_ended_is_under_way_no_more_until_it_is_taken_up_again() -> None:
    ended = (Intended(0, 6.0, Step.STOP, 1), Ended(0, 7.0, Outcome.STRANDED, debt=True))
    assert told(*ended) == [OTHER]
    assert told(*ended, Reopened(0, 50.0))[1][2:] == (50.0, 50.0 + PATIENCE, True)


def test_a_new_process_has_no_deadline_for_what_it_has_not_taken_up_yet() -> None:
    resumed = told(RunResumed(50.0), Reopened(1, 51.0))
    assert [(item, since, deadline) for item, _, since, deadline, _ in resumed] == [
        (0, 0.0, None),
        (1, 51.0, 51.0 + PATIENCE),
    ]


def test_an_event_about_no_change_of_the_plan_counts_for_nothing() -> None:
    assert told(Began(7, 2.0)) == told()


def test_a_view_that_joins_later_counts_the_past_and_tells_what_is_new() -> None:
    out = io.StringIO()
    with progress_view(PLAN, out, lambda: 105.0, term="", past=[*BEGUN, DONE[0]]) as view:
        assert out.getvalue() == ""
        view(STEERED)
    assert out.getvalue().startswith("5s wave 1/1 paused; 1/2 ended; 1 changed; ")


@pytest.mark.security("escapes")
def test_foreign_words_in_a_journal_do_not_reach_the_terminal() -> None:
    out = io.StringIO()
    with progress_view(PLAN, out, lambda: 105.0, term="") as view:
        view(Steered(105.0, "\x1b]0;evil\x07"))
    assert "\x1b" not in out.getvalue()
