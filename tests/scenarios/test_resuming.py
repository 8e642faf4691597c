"""A run that ended early goes on: it waits for what is under way and pays what is owed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from fleet.core.events import Held, Intended, RunEnd
from fleet.journal.sqlite import JournalFile
from fleet.journal.writer import InlineJournal
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from fleet.core.events import Event
    from fleet.core.planning.plan import Plan
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


@pytest.mark.row(7)
async def test_a_run_that_was_halted_goes_on_with_what_it_had_not_started(world: MakeLab) -> None:
    lab = await world(running=6)
    halted = await lab.go(migration("concurrency: 2, deadline: 150s"))
    assert (halted.end, halted.findings()) == (RunEnd.HALTED, [])
    assert halted.outcomes == ["changed"] * 4 + ["not-started"] * 2
    run = await lab.resume(halted)
    assert (run.outcomes, run.findings()) == (["changed"] * 6, [])
    writes = [record.notebook for record in lab.cloud.log if record.operation == "UpdateNotebook"]
    assert sorted(writes) == [notebook.id for notebook in lab.notebooks]


@pytest.mark.row(7)
async def test_a_budget_that_is_used_up_lets_a_resumed_run_start_nothing(world: MakeLab) -> None:
    lab = await world(running=5)
    plan = await lab.plan(migration("max_failures: 2"))
    lab.image("pytorch2.6-cuda12.4").status = "ERROR"
    halted = await lab.apply(plan)
    again = await lab.resume(halted)
    assert halted.outcomes == again.outcomes == ["failed"] * 2 + ["not-started"] * 3
    assert (again.end, again.calls(), again.findings()) == (RunEnd.HALTED, [], [])


@pytest.mark.row(33)
async def test_a_notebook_that_was_given_up_in_stopping_is_waited_for_and_never_stopped_again(
    world: MakeLab,
) -> None:
    lab = await world(running=1)
    (stuck,) = lab.notebooks
    lab.when("StopNotebook", lambda: lab.hang(stuck))
    given_up = await lab.go(migration("change_deadline: 5m"))
    assert (given_up.outcomes, given_up.only.debt, stuck.status) == (["stranded"], True, Status.STOPPING)
    lab.at(120.0, lambda: lab.put_into(stuck, Status.STOPPED))
    run = await lab.resume(given_up)
    assert run.calls().count("stop") == 0
    assert (stuck.status, run.report.debts) == (Status.RUNNING, ())
    assert run.only.outcome in ("changed", "failed")


@pytest.mark.row(33)
async def test_a_notebook_stuck_in_starting_is_a_debt_until_it_runs(world: MakeLab) -> None:
    lab = await world(running=1)
    (stuck,) = lab.notebooks
    lab.when("StartNotebook", lambda: lab.hang(stuck))
    given_up = await lab.go(migration("change_deadline: 5m"))
    assert (given_up.outcomes, given_up.only.debt) == (["stranded"], True)
    assert given_up.calls() == ["stop", "put", "start"]
    lab.at(120.0, lambda: lab.put_into(stuck, Status.RUNNING))
    run = await lab.resume(given_up)
    assert run.calls(applied=True) == []
    assert run.report.debts == ()


class Disk:
    """Room that the journal can run out of, and that somebody makes again."""

    full = False


def journal_on(disk: Disk, step: str, *, ballast: bool = False, once: bool = False) -> type[InlineJournal]:
    """A journal that finds `disk` full from the first intent of this step on.

    With `ballast` what is given free then has room for all that is no intent, or that is refused `once`.
    """

    class OnDisk(JournalFile):
        def insert(self, events: Sequence[Event]) -> None:
            disk.full |= any(isinstance(event, Intended) and event.step == step for event in events)
            intended = any(isinstance(event, Intended) for event in events)
            refused = intended and not (once and self.failure)
            if disk.full and (refused or not ballast):
                raise sqlite3.OperationalError("database or disk is full")
            super().insert(events)

    class Full(InlineJournal):
        @classmethod
        def create(cls, path: Path, plan: Plan, run: str) -> Self:
            return cls(OnDisk.create(path, plan, run))

    return Full


@pytest.mark.row(45)
@pytest.mark.parametrize("step", ["stop", "put", "start"])
async def test_once_there_is_room_again_a_run_goes_on_and_nothing_is_lost(world: MakeLab, step: str) -> None:
    lab = await world(running=3)
    plan = await lab.plan(migration("concurrency: 1"))
    broken = await lab.apply(plan, journal_on(Disk(), step))
    assert broken.end is RunEnd.HALTED
    run = await lab.resume(broken)
    assert (run.outcomes[1:], run.report.debts) == (["changed"] * 2, ())
    assert run.outcomes[0] in ("changed", "drifted")
    assert all(notebook.status is Status.RUNNING for notebook in lab.notebooks)
    for notebook in lab.notebooks:
        told = run.row(notebook).outcome == "changed"
        assert notebook.image.name.startswith("pytorch2.6") == told


@pytest.mark.row(45)
@pytest.mark.parametrize(("fleet", "step"), [({"running": 2}, "stop"), ({"stopped": 2}, "put")])
async def test_a_change_whose_first_intent_finds_no_room_has_not_started(
    world: MakeLab, fleet: dict[str, int], step: str
) -> None:
    lab = await world(**fleet)
    plan = await lab.plan(migration("concurrency: 1"))
    broken = await lab.apply(plan, journal_on(Disk(), step, ballast=True))
    assert (broken.end, broken.calls(), broken.outcomes) == (RunEnd.HALTED, [], ["not-started"] * 2)
    assert broken.report.rows[0].reason == "nothing was sent: the journal cannot be written"
    run = await lab.resume(broken)
    assert (run.outcomes, run.findings()) == (["changed"] * 2, [])


@pytest.mark.row(45)
@pytest.mark.parametrize("intent_is_kept", [False, True])
async def test_a_notebook_brought_back_for_want_of_room_is_changed_once_there_is_some(
    world: MakeLab, intent_is_kept: bool
) -> None:
    """Also when the intent that was not acted upon got to the disk after all."""
    lab = await world(running=3)
    plan, disk = await lab.plan(migration("concurrency: 2")), Disk()
    broken = await lab.apply(plan, journal_on(disk, "put", ballast=True, once=intent_is_kept))
    assert (broken.end, broken.calls()) == (RunEnd.HALTED, ["stop", "stop", "start", "start"])
    assert (broken.outcomes, broken.report.debts) == (["not-started"] * 3, ())
    assert "database or disk is full; no further change is made: free some space" in broken.report.reason
    reason = "stopped and started again without a change: the journal cannot be written"
    assert broken.report.rows[0].reason == reason
    assert broken.report.rows[2].reason.endswith(": the journal cannot be written: database or disk is full")
    run = await lab.resume(broken)
    assert (run.end, run.outcomes, run.findings()) == (RunEnd.FINISHED, ["changed"] * 3, [])


@pytest.mark.row(45)
async def test_changes_that_lack_a_journal_are_not_taken_for_failures_of_the_cloud(world: MakeLab) -> None:
    lab = await world(running=8)
    plan = await lab.plan(migration("concurrency: 8, max_failures: 20"))
    broken = await lab.apply(plan, journal_on(Disk(), "put", ballast=True))
    assert broken.outcomes == ["not-started"] * 8
    assert not any("alike" in event.text for event in broken.events if isinstance(event, Held))
