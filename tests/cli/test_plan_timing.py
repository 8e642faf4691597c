"""Whoever has to say yes reads when people's notebooks will be stopped, and whoever waits sees for what."""

from __future__ import annotations

from fleet.cli.planview import plan_lines
from fleet.core.events import Held, RunStarted
from fleet.core.rollout import Rollout
from fleet.core.timing import Moment, Notice
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
