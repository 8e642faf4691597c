"""Whoever has to say yes reads when people's notebooks will be stopped, and whoever waits sees for what."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.cli.planview import plan_lines
from fleet.core.events import Held, RunStarted
from fleet.core.notebook import Status
from fleet.core.planning.estimate import estimate
from fleet.core.planning.plan import Plan, Took
from fleet.core.planning.plan_file import dump_plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.timing import Moment, Notice, Otherwise
from fleet.telemetry.progress import Progress
from tests.plans import make_change, make_plan

DAY = 86_400.0
PLAN = make_plan(
    make_change(),
    rollout=Rollout(
        when=Moment.NEXT_STOP,
        patience=DAY,
        otherwise=Otherwise.FORCE,
        notice=Notice(("mail",), lead=3600.0),
    ),
)


def told(plan: Plan, begins: str) -> str:
    """The rest of the one line that begins so."""
    (line,) = (line for line in plan_lines(plan) if line.startswith(begins))
    return line.removeprefix(begins)


def waiting(**fields: Any) -> Plan:
    """Two notebooks that run and one that does not, by a rollout that waits a day for people."""
    changes = [make_change(0), make_change(1), make_change(2, run_state=Status.STOPPED)]
    rollout = Rollout(patience=DAY, **fields)
    return make_plan(*changes, rollout=rollout, estimate=estimate(changes, (), rollout), created_at=0.0)


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
    assert "first stop by us Thu 1970-01-01 01:00 UTC, over at the soonest Thu 1970-01-01 01:03 UTC" in line
    assert line.endswith(", at the latest Fri 1970-01-02 00:06 UTC")
    assert told(plan, "all in all: ") == (
        "1h3m to 24h6m; waits up to 1d a wave for notebooks to be idle or stop, "
        "meanwhile 1h a wave for the notice to be out; "
        "to see who stopped, up to 2 requests a minute in each scope"
    )


def test_a_hundred_windows_make_no_hundred_lines() -> None:
    rollout = Rollout(calendar=Calendar((Window("0 22 * * *", 3600.0),)), soak=7200.0)
    plan = make_plan(*(make_change(at, wave=at + 1) for at in range(30)), rollout=rollout, created_at=0.0)
    lines = list(plan_lines(plan))
    assert sum(line.startswith("expected: ") for line in lines) == 10
    assert "... and 20 more windows" in lines


# --- what happens to whom is waited for ------------------------------------------------------------------


def test_where_nobody_is_stopped_no_restart_is_shown_or_counted() -> None:
    plan = waiting(when=Moment.NEXT_STOP, notice=Notice(("mail",), lead=3600.0))
    lines = list(plan_lines(plan))
    assert "3 selected: 3 to change (2 RUNNING, at the next stop), 0 left as they are" in lines
    assert sum("RUNNING, at the next stop" in line for line in lines) == 3  # the count, and a row each
    assert told(plan, "estimate: ") == "up to 3 writes, 6 reads in about 1.5s of work"
    assert not any(line.startswith(("away", "if all stop")) for line in lines)
    assert told(plan, "notice: ") == "nobody is told, as nobody is stopped"
    assert not any("restart" in line or "first stop" in line for line in lines)
    assert told(plan, "all in all: ").startswith("1.5s to 24h; waits up to 1d a wave for notebooks to stop; ")


def test_the_time_left_at_the_start_counts_no_stop_of_ours_either() -> None:
    plan = waiting(when=Moment.NEXT_STOP)
    progress = Progress(plan)
    progress.apply(RunStarted(1000.0, "run", plan.digest))
    assert progress.snapshot(1000.0).left == plan.estimate.seconds == 1.5


def test_what_is_forced_in_the_end_is_told_beside_what_stops_by_itself() -> None:
    plan = waiting(when=Moment.NEXT_STOP, otherwise=Otherwise.FORCE)
    lines = list(plan_lines(plan))
    assert "(2 RUNNING, at the next stop, else restart after 1d)" in lines[2]
    assert told(plan, "estimate: ").startswith(
        "up to 7 writes, 10 reads, about 4 pages of lists in about 3m4s"
    )
    assert told(plan, "if all stop by themselves: ").startswith("3 writes, 6 reads in about 1.5s of work")
    assert told(plan, "notebooks away, times summed: ") == "up to 2 of ann for 6m7s"
    assert "first stop by us Fri 1970-01-02 00:00 UTC, " in told(plan, "times, ")
    assert ", at the latest Fri 1970-01-02 00:06 UTC" in told(plan, "times, ")


def test_who_is_stopped_once_idle_may_as_well_stop_by_himself() -> None:
    plan = waiting(when=Moment.IDLE)
    assert any("(2 RUNNING, restart once idle)" in line for line in plan_lines(plan))
    assert told(plan, "estimate: ").startswith("up to 7 writes")
    assert told(plan, "if all stop by themselves: ").startswith("3 writes")
    forced = waiting(when=Moment.IDLE, otherwise=Otherwise.FORCE)
    assert any("(2 RUNNING, restart once idle, else after 1d)" in line for line in plan_lines(forced))


def test_the_deadline_ends_what_people_would_keep_longer() -> None:
    plan = waiting(when=Moment.NEXT_STOP, deadline=3600.0)
    assert told(plan, "times, ").endswith(", ended by the deadline Thu 1970-01-01 01:00 UTC")


def test_a_plan_that_waits_for_nobody_says_nothing_of_it() -> None:
    plan = waiting()
    assert told(plan, "estimate: ").startswith("7 writes, 10 reads, ")
    assert told(plan, "notebooks away, times summed: ") == "2 of ann for 6m7s"
    assert not any(line.startswith(("all in all", "times", "if all stop")) for line in plan_lines(plan))


# --- what the plan must not promise ----------------------------------------------------------------------


def in_windows_of(lasts: float, *states: Status, opens: str = "0 22 * * *", **fields: Any) -> Plan:
    changes = [make_change(at, run_state=state) for at, state in enumerate(states)]
    rollout = Rollout(calendar=Calendar((Window(opens, lasts),)), **fields)
    return make_plan(*changes, rollout=rollout, created_at=0.0)


def test_changes_that_fit_no_window_are_told() -> None:
    plan = in_windows_of(120.0, Status.RUNNING, Status.RUNNING, Status.STOPPED)
    assert told(plan, "note: ") == ("2 changes fit no window: they take about 3m4s, the longest window is 2m")
    assert told(plan, "expected: ") == "Thu 1970-01-01 22:00 UTC to 22:02: wave 1"


def test_that_no_change_fits_a_window_is_told_loudly_and_nothing_is_promised() -> None:
    plan = in_windows_of(120.0, Status.RUNNING)
    assert told(plan, "note: ") == (
        "NOTHING WILL BE CHANGED: 1 change fits no window: it takes about 3m4s, the longest window is 2m"
    )
    assert not any(line.startswith(("expected", "times", "all in all")) for line in plan_lines(plan))


@pytest.mark.parametrize(
    ("plan", "selected", "note"),
    [
        (
            in_windows_of(120.0, Status.RUNNING, Status.RUNNING),
            "none to change, as 2 fit no window",
            ": 2 changes fit no window: they take about 3m4s, the longest window is 2m",
        ),
        (
            in_windows_of(600.0, Status.RUNNING, opens="0 22 29 2 *"),  # next in 1972
            "none to change, as no window opens for 1",
            ": no window opens within a year",
        ),
        (
            in_windows_of(2 * DAY, Status.RUNNING, carry_over=False, notice=Notice(("mail",), lead=4 * DAY)),
            "1 to change, but none if applied at once (1 with a stop and a start)",
            (
                " if applied at once: the next window has no room, and rollout.carry_over is false; "
                "apply it before another one"
            ),
        ),
    ],
)
def test_a_plan_that_changes_nothing_says_so_from_its_headline_on(
    plan: Plan, selected: str, note: str
) -> None:
    number = len(plan.changes)
    assert told(plan, f"{number} selected: ") == f"{selected}, 0 left as they are"
    assert told(plan, "note: NOTHING WILL BE CHANGED") == note


@pytest.mark.parametrize(("lasts", "code"), [("2m", 0), ("1h", 2)])
def test_what_fits_no_window_is_no_pending_change(lab: Any, shell: Any, lasts: str, code: int) -> None:
    lab.job('status == "STOPPED"', 'status == "RUNNING"')
    window = f'windows: [{{opens: "0 22 * * *", lasts: {lasts}}}]'
    job = shell.write("job.yaml", (shell.folder / "job.yaml").read_text().replace("20s}", f"20s, {window}}}"))
    result = shell("plan", job, "-o", "plan.json", "--detailed-exitcode")
    assert result.code == code
    assert (" selected: none to change, " in result.out) is (code == 0)
    assert ("; next: fleet apply" in result.err) is (code == 2)


def test_a_run_that_ends_with_its_window_is_not_told_to_wait_for_people_beyond_it() -> None:
    waits: dict[str, Any] = {"when": Moment.NEXT_STOP, "otherwise": Otherwise.FORCE, "patience": 3 * DAY}
    plan = in_windows_of(3600.0, Status.RUNNING, Status.RUNNING, carry_over=False, **waits)
    assert told(plan, "note: ") == (
        "up to 2 changes have no room in the window; the run ends with it (rollout.carry_over is false)"
    )
    assert told(plan, "times, ").endswith(", at the latest Thu 1970-01-01 23:00 UTC")
    assert " for the window to open" in told(plan, "all in all: ")


def test_what_the_only_window_leaves_undone_is_told() -> None:
    running = [Status.RUNNING] * 3  # of three minutes each, one after the other
    plan = in_windows_of(400.0, *running, concurrency=1, carry_over=False)
    assert told(plan, "note: ") == (
        "about 1 change has no room in the window; the run ends with it (rollout.carry_over is false)"
    )
    assert told(plan, "expected: ") == "Thu 1970-01-01 22:00 UTC to 22:06: wave 1 (begins)"


def test_what_fits_no_window_unless_its_person_stops_it_is_told_so() -> None:
    waits: dict[str, Any] = {"when": Moment.NEXT_STOP, "otherwise": Otherwise.FORCE, "patience": DAY}
    plan = in_windows_of(120.0, Status.RUNNING, **waits)
    assert told(plan, "note: ").endswith("the longest window is 2m if they do not stop by themselves")
    assert "first stop" not in told(plan, "times, ")


def test_soaks_are_no_work() -> None:
    changes, rollout = [make_change(0), make_change(1, wave=2)], Rollout(soak=600.0)
    plan = make_plan(*changes, rollout=rollout, estimate=estimate(changes, (), rollout))
    assert " in about 6m7s to 12m7s of work and 10m of soak (" in told(plan, "estimate: ")


def test_what_was_not_learned_is_told_to_be_assumed() -> None:
    changes = [make_change(0), make_change(1, flavor="large"), make_change(2, flavor="gone")]
    changes.append(make_change(3, flavor="gone", run_state=Status.STOPPED))
    times = {"modelarts.vm.cpu.2u": Took(10.0, 20.0, 15.0, 30.0, 20)}
    plan = make_plan(*changes, estimate=estimate(changes, (), Rollout(), times=times))
    learned = "learned: modelarts.vm.cpu.2u stops in 10s to 15s, starts in 20s to 30s"
    assert told(plan, "estimate: ").endswith(f"{learned}; 2 on other flavors: assumed 1m + 2m)")
    whole = make_plan(changes[0], estimate=estimate(changes[:1], (), Rollout(), times=times))
    assert told(whole, "estimate: ").endswith(f"{learned})")


def test_a_plan_that_is_shown_later_counts_from_the_present(shell: Any) -> None:
    plan = in_windows_of(3600.0, Status.RUNNING)
    (shell.folder / "plan.json").write_bytes(dump_plan(plan))
    assert "begins Thu 1970-01-01" in told(plan, "times, ")
    shown = shell("show", "plan.json").out
    assert "times, if applied at once: begins " in shown
    assert "1970" not in shown
