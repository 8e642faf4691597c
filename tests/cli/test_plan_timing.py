"""Whoever has to say yes reads when people's notebooks will be stopped, and whoever waits sees for what."""

from __future__ import annotations

from fleet.cli.planview import plan_lines
from fleet.core.events import Held, RunStarted
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.timing import Moment, Notice
from fleet.telemetry.progress import Progress
from tests.plans import make_change, make_plan

PLAN = make_plan(
    make_change(),
    rollout=Rollout(when=Moment.NEXT_STOP, patience=86_400.0, notice=Notice(("mail",), lead=3600.0)),
)


def test_the_plan_says_when_a_running_notebook_is_changed_and_who_is_told() -> None:
    lines = list(plan_lines(PLAN))
    assert any(line.startswith("when: a running notebook is changed once it has stopped") for line in lines)
    assert any(line.startswith("notice: mail tells each owner 1h before") for line in lines)


def test_the_progress_of_a_run_says_who_is_waited_for() -> None:
    progress = Progress(PLAN)
    progress.apply(RunStarted(1000.0, "run", PLAN.digest))
    progress.apply(Held(1001.0, "stop", "1 wait for their notebook to stop"))
    assert progress.snapshot(1002.0).held == ("stop: 1 wait for their notebook to stop",)


def test_the_plan_says_which_waves_go_in_which_window_and_when_all_is_over() -> None:
    rollout = Rollout(concurrency=1, calendar=Calendar((Window("0 22 * * *", 3600.0),)), soak=7200.0)
    plan = make_plan(make_change(0), make_change(1, wave=2), rollout=rollout, created_at=0.0)
    lines = list(plan_lines(plan))
    assert "expected: Thu 1970-01-01 22:00 UTC to 23:00: wave 1" in lines
    assert "expected: Fri 1970-01-02 22:00 UTC to 23:00: wave 2" in lines
    assert (
        "times, if applied at once: begins Thu 1970-01-01 22:00 UTC, over about Fri 1970-01-02 22:03 UTC, "
        "on a slow day Fri 1970-01-02 22:06 UTC"
    ) in lines


def test_lead_and_patience_are_part_of_the_times() -> None:
    rollout = Rollout(when=Moment.IDLE, patience=86_400.0, notice=Notice(("mail",), lead=3600.0))
    plan = make_plan(make_change(0), rollout=rollout, created_at=0.0)
    (line,) = (line for line in plan_lines(plan) if line.startswith("times, if applied at once: "))
    assert "first stop Thu 1970-01-01 01:00 UTC, over about Thu 1970-01-01 01:03 UTC" in line
    assert line.endswith("; up to 1d more for each wave that waits for its notebooks")


def test_a_hundred_windows_make_no_hundred_lines() -> None:
    rollout = Rollout(calendar=Calendar((Window("0 22 * * *", 3600.0),)), soak=7200.0)
    plan = make_plan(*(make_change(at, wave=at + 1) for at in range(30)), rollout=rollout, created_at=0.0)
    lines = list(plan_lines(plan))
    assert sum(line.startswith("expected: ") for line in lines) == 10
    assert "... and 20 more windows" in lines
