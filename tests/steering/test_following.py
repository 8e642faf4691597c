"""A run seen from another process: its journal read while it grows, and what the views make of steering."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.core.events import Began, Ended, Event, Outcome, RunEnd, RunEnded, RunStarted, Steered, WaveStarted
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.plan import FORMAT, Change, Estimate, Phase, Plan, seal
from fleet.core.rollout import Rollout
from fleet.journal.sqlite import JournalFile
from fleet.service.following import follow, look_at
from fleet.telemetry import progress_view

RUN = "20261130-081500-k3f9"
BEGUN: list[Event] = [RunStarted(100.0, RUN, "d"), WaveStarted(100.0, 1, 2), Began(0, 101.0)]
STEERED = Steered(105.0, "paused")
DONE: list[Event] = [
    Ended(0, 110.0, Outcome.CHANGED),
    Ended(1, 111.0, Outcome.SKIPPED, "claimed by run X"),
    RunEnded(112.0, RunEnd.FINISHED),
]


def make_plan() -> Plan:
    change = Change(
        item=0,
        scope="lab-a",
        id="nb-0",
        name="nb",
        owner="",
        pool="",
        flavor="",
        wave=1,
        run_state=Status.RUNNING,
        arriving=False,
        may_restart=True,
        phases=(Phase(When.STOPPED, {"image_id": "f9937afa-4451-42db-a76b-0000000000aa"}),),
        before={"image_id": "old"},
        after={"image_id": "f9937afa-4451-42db-a76b-0000000000aa"},
    )
    return seal(
        Plan(
            format=FORMAT,
            job="torch",
            job_type="image-migration",
            select="true",
            created_at=0.0,
            engine="0",
            scopes=(),
            rollout=Rollout(),
            changes=(change, replace(change, item=1, id="nb-1")),
            settled=(),
            checks=(),
            estimate=Estimate(0, 0, 0.0),
        )
    )


@pytest.fixture
def journal(tmp_path: Path) -> JournalFile:
    """The journal of a run that lives and has begun."""
    (tmp_path / RUN).mkdir(mode=0o700)
    made = JournalFile.create(tmp_path / RUN / "journal.db", make_plan(), RUN)
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
    report, snapshot = look_at(journal.path.parent, 106.0)
    assert (report.live, report.counts["open"]) == (True, 2)
    assert (snapshot.under_way, snapshot.elapsed, snapshot.steered) == (1, 6.0, "")
    journal.save([STEERED, *DONE])
    journal.close()
    report, snapshot = look_at(journal.path.parent, 200.0)
    assert (report.live, report.state, report.counts["skipped"]) == (False, "finished", 1)
    assert (snapshot.ended, snapshot.elapsed, snapshot.steered) == (2, 12.0, "paused")


def test_a_view_that_joins_later_counts_the_past_and_tells_what_is_new() -> None:
    out = io.StringIO()
    with progress_view(make_plan(), out, lambda: 105.0, term="", past=[*BEGUN, DONE[0]]) as view:
        assert out.getvalue() == ""
        view(STEERED)
    assert out.getvalue().startswith("5s wave 1/1 paused; 1/2 ended; 1 changed; ")


@pytest.mark.security("escapes")
def test_foreign_words_in_a_journal_do_not_reach_the_terminal() -> None:
    out = io.StringIO()
    with progress_view(make_plan(), out, lambda: 105.0, term="") as view:
        view(Steered(105.0, "\x1b]0;evil\x07"))
    assert "\x1b" not in out.getvalue()
