"""What a run adds up to, as values and as the block for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from fleet.core.errors import Exit
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Intended,
    Outcome,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Step,
)
from fleet.core.fold import RunState, fold
from fleet.core.pacing.limits import Limit
from fleet.core.planning.plan import Plan
from fleet.core.rows import Calls
from fleet.report.as_json import document
from fleet.report.as_text import summary_text, tally
from fleet.report.summary import Report, next_steps, summarize

RUN = "20261130-081500-k3f9"

BLOCK = """\
run 20261130-081500-k3f9, job torch: halted after 8m20s: 2 failed
6 selected: 2 changed, 1 skipped, 1 failed, 1 stranded, 1 not-started
21 requests: 2 put, 2 stop, 1 start, 7 get, 8 list, 1 login
  for each of 1 changed RUNNING: 5 (1 put, 1 stop, 1 start, 2 get)
  for each of 1 changed STOPPED: 2 (1 put, 1 get)
longest away: nb-3 (lab-a id-3), 6m
slowest: nb-3 (lab-a id-3), 6m
limits learned for writes of lab-a: 30/min by policy user, 10/s by policy api
throttled without a limit named, reads of lab-a: pausing for 9 s
1 stopped by us and not back; each is brought back by its command:
  nb-3: fleet start --scope lab-a id-3 --duration 1h59m20s --type TIMING
to go on where it stopped: fleet resume 20261130-081500-k3f9
to plan those again that failed, drifted or never began: fleet retry 20261130-081500-k3f9 -o PLAN
to take the changes back: fleet undo 20261130-081500-k3f9 -o PLAN
"""


def test_the_block_tells_everything_and_adds_up(report: Report) -> None:
    assert summary_text(report) == BLOCK


def test_the_report_adds_up(report: Report) -> None:
    assert sum(report.counts.values()) == len(report.rows) == 6
    assert report.calls == Calls(put=2, stop=2, start=1, get=4)
    assert report.costs["RUNNING"].calls == 5.0
    assert report.costs["STOPPED"].by_kind == {
        "put": 1.0,
        "stop": 0.0,
        "start": 0.0,
        "get": 1.0,
        "lease": 0.0,
        "save": 0.0,
    }
    assert report.duration_s == 500.0
    assert report.exit is Exit.STRANDED
    assert [debt.name for debt in report.debts] == ["nb-3"]


def test_costs_of_running_and_stopped_notebooks_are_averages(state: RunState) -> None:
    report = summarize(state)
    assert {run_state: cost.notebooks for run_state, cost in report.costs.items()} == {
        "RUNNING": 1,
        "STOPPED": 1,
    }


def test_a_run_under_way_has_open_rows_and_nothing_to_type(make_plan: Callable[..., Plan]) -> None:
    state = fold(make_plan("nb-0", "nb-1"), [RunStarted(10.0, RUN, "d"), Began(0, 20.0)])
    report = summarize(state, live=True)
    assert (report.state, report.counts["open"]) == ("running", 2)
    assert next_steps(report) == ()
    assert "3 selected: 1 skipped, 2 open" in summary_text(report)


def test_a_run_that_broke_off_is_interrupted_and_what_it_had_begun_is_open(
    make_plan: Callable[..., Plan],
) -> None:
    state = fold(make_plan("nb-0", "nb-1"), [RunStarted(10.0, RUN, "d"), Began(0, 20.0)])
    report = summarize(state)
    assert report.state == "interrupted"
    assert [row.outcome for row in report.rows] == [None, Outcome.NOT_STARTED, Outcome.SKIPPED]
    assert report.exit is Exit.INTERRUPTED
    assert next_steps(report) == (f"to go on where it stopped: fleet resume {RUN}",)


def test_a_run_that_broke_off_goes_on_even_if_all_had_begun(make_plan: Callable[..., Plan]) -> None:
    report = summarize(fold(make_plan("nb-0"), [RunStarted(10.0, RUN, "d"), Began(0, 20.0)]))
    assert next_steps(report) == (f"to go on where it stopped: fleet resume {RUN}",)


def test_an_ended_run_is_never_shown_as_running(state: RunState) -> None:
    assert summarize(state, live=True).state == "halted"


def test_a_clean_run_offers_only_the_way_back(make_plan: Callable[..., Plan]) -> None:
    state = fold(make_plan(), [RunStarted(10.0, RUN, "d"), RunEnded(11.0, RunEnd.FINISHED)])
    report = summarize(state)
    assert (report.exit, next_steps(report)) == (Exit.DONE, ())
    assert summary_text(report) == f"run {RUN}, job torch: finished after 1s\n1 selected: 1 skipped\n"


def test_the_rows_know_of_requests_that_a_killed_process_did_not_tell(state: RunState) -> None:
    state.spent = Counter(get=1, list=3)
    state.broke_off = True
    report = summarize(state)
    assert (report.requests["get"], report.requests["list"], report.requests_known) == (4, 3, False)
    assert "at least 12 requests: 2 put, 2 stop, 1 start, 4 get, 3 list\n" in summary_text(report)


def test_damage_is_shown(state: RunState) -> None:
    assert "journal damaged: event row 7: missing\n" in summary_text(
        summarize(state, damage=["event row 7: missing"])
    )


def test_many_debts_are_counted_but_not_all_printed(report: Report) -> None:
    many = replace(report, debts=report.debts * 60)
    text = summary_text(many)
    assert text.count("fleet start") == 50
    assert "and 10 more" in text


def test_foreign_text_cannot_break_a_line(report: Report) -> None:
    nasty = replace(report, job="a\nb\x1b[2J", reason="x\r\ny", limits={"k\n": ("t\x07",)})
    assert len(summary_text(nasty).splitlines()) == len(BLOCK.splitlines())
    assert "\x1b" not in summary_text(nasty)


def test_no_selected_notebook_is_said_so() -> None:
    assert tally({"changed": 0}) == "0 selected"


def test_the_largest_count_in_any_window_of_a_limit_is_told(report: Report) -> None:
    kept = replace(report, peaks={"h as ada, reads": {Limit("user", 60, 60.0): 57}})
    assert "largest count of h as ada, reads in any 60 s: 57 of 60\n" in summary_text(kept)
    assert document(kept)["peaks"] == {
        "h as ada, reads": [{"policy": "user", "count": 60, "window": 60.0, "most": 57}]
    }
    assert "not counted" not in summary_text(kept)
    broken = summary_text(replace(kept, broke_off=True))
    assert "in any 60 s: 57 of 60; not counted: what a killed process sent\n" in broken


def test_a_run_broke_off_when_a_process_of_it_was_killed_and_not_while_it_goes_on(
    make_plan: Callable[..., Plan],
) -> None:
    begun: list[Event] = [RunStarted(10.0, RUN, "d"), Began(0, 20.0)]
    resumed = [*begun, RunResumed(30.0)]
    ended = RunEnded(40.0, RunEnd.FINISHED)
    plan = make_plan("nb-0")
    assert not summarize(fold(plan, begun), live=True).broke_off
    assert summarize(fold(plan, begun)).broke_off
    assert summarize(fold(plan, resumed), live=True).broke_off
    assert summarize(fold(plan, [*resumed, ended])).broke_off
    assert not summarize(fold(plan, [*begun, ended])).broke_off


def test_what_a_live_run_has_under_way_is_nobody_s_to_bring_back(make_plan: Callable[..., Plan]) -> None:
    events: list[Event] = [RunStarted(10.0, RUN, "d")]
    for item in (0, 1, 2):
        events += [Began(item, 20.0), Intended(item, 21.0, Step.STOP, 1)]
    plan = make_plan("nb-0", "nb-1", "nb-2")
    live = summary_text(summarize(fold(plan, events), live=True))
    assert "3 away, under way: nothing to do\n" in live
    assert "fleet start" not in live
    dead = summary_text(summarize(fold(plan, events)))
    assert "under way" not in dead
    assert "4 selected: 1 skipped, 3 open\n" in dead
    way = f"all are brought back by: fleet resume {RUN}; or each is brought back by its command:\n"
    assert f"3 stopped by us and not back; {way}" in dead
    assert f"to go on where it stopped: fleet resume {RUN}\n" in dead
    damaged = summary_text(summarize(fold(plan, events), damage=["event 3"]))
    assert "3 stopped by us and not back; each is brought back by its command:\n" in damaged
    assert "fleet resume" not in damaged
    fix = "fleet start --scope lab-a id-2"
    stranded = Ended(2, 30.0, Outcome.STRANDED, "START_FAILED", debt=True, fix=fix)
    live = summary_text(summarize(fold(plan, [*events, stranded]), live=True))
    assert (
        "2 away, under way: nothing to do\n1 stopped by us and not back; once the run is over, each" in live
    )
    assert live.count("fleet start") == 1


@pytest.mark.parametrize(
    ("answers", "offered"),
    [
        ([Answered(0, 22.0, Step.PUT, Fate.ACCEPTED)], True),
        ([Answered(0, 22.0, Step.PUT, Fate.IN_DOUBT)], True),
        ([], True),
        ([Answered(0, 22.0, Step.PUT, Fate.REFUSED)], False),
    ],
)
def test_the_way_back_is_offered_whenever_a_put_may_have_been_applied(
    make_plan: Callable[..., Plan], answers: list[Event], offered: bool
) -> None:
    begun: list[Event] = [
        RunStarted(10.0, RUN, "d"),
        Began(0, 20.0),
        Intended(0, 21.0, Step.PUT, 1, {"image_id": "new"}),
    ]
    ends: list[Event] = [Ended(0, 30.0, Outcome.FAILED, "why"), RunEnded(40.0, RunEnd.FINISHED)]
    report = summarize(fold(make_plan("nb-0"), [*begun, *answers, *ends]))
    assert any("fleet undo" in step for step in next_steps(report)) is offered


def test_the_way_back_is_offered_when_the_journal_lost_events(make_plan: Callable[..., Plan]) -> None:
    state = fold(make_plan("nb-0"), [RunStarted(10.0, RUN, "d"), RunEnded(11.0, RunEnd.HALTED)])
    assert not summarize(state).undoable
    state.gaps = True
    assert summarize(state).undoable
