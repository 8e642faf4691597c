"""Signals, and a journal that cannot be written: nothing new starts, what is owed is paid or told."""

from __future__ import annotations

import os
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Intended, RunEnd
from fleet.core.fold import debts, fold
from fleet.journal.sqlite import JournalFile
from fleet.journal.writer import InlineJournal
from fleet.simulator.faults import Match, SlowAnswer
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from fleet.core.events import Event
    from fleet.core.planning.plan import Plan
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

TWO_AT_ONCE = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, concurrency: 2}
"""


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.row(50)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_signal_lets_those_under_way_come_home(
    world: MakeLab, number: signal.Signals
) -> None:
    lab = await world(running=5)
    lab.when("UpdateNotebook", lambda: send(number))
    run = await lab.go(TWO_AT_ONCE)
    assert run.outcomes == ["changed", "changed", "not-started", "not-started", "not-started"]
    assert (run.end, run.report.exit) == (RunEnd.INTERRUPTED, Exit.INTERRUPTED)
    assert number.name in run.report.reason
    assert all(notebook.status is Status.RUNNING for notebook in lab.notebooks)
    assert run.findings() == []
    assert run.report.debts == ()


@pytest.mark.row(51)
@pytest.mark.parametrize("moment", ["StopNotebook", "UpdateNotebook", "StartNotebook"])
async def test_the_second_signal_stops_at_once_and_lists_what_is_owed(world: MakeLab, moment: str) -> None:
    lab = await world(running=5)
    second = lab.notebooks[1]
    lab.when(moment, lambda: send(signal.SIGINT), notebook=second)
    lab.when(moment, lambda: lab.at(1.0, lambda: send(signal.SIGINT)), notebook=second)
    run = await lab.go(TWO_AT_ONCE)
    assert run.outcomes == ["stranded"] * 2 + ["not-started"] * 3
    assert (run.end, run.report.state) == (RunEnd.INTERRUPTED, "interrupted")
    assert run.report.exit is Exit.STRANDED
    assert run.report.damage == ()
    assert [debt.id for debt in run.report.debts] == [notebook.id for notebook in lab.notebooks[:2]]
    assert all(debt.fix.startswith(f"fleet start --scope lab-a {debt.id}") for debt in run.report.debts)


async def test_two_signals_before_the_first_write_owe_nothing(world: MakeLab) -> None:
    slow = SlowAnswer(match=Match(operation=Operation.SHOW_NOTEBOOK), seconds=5.0)
    lab = await world(running=3, faults=[slow])
    lab.when("ShowNotebook", lambda: send(signal.SIGINT))
    lab.when("ShowNotebook", lambda: lab.at(1.0, lambda: send(signal.SIGTERM)))
    run = await lab.go(TWO_AT_ONCE)
    assert run.outcomes == ["unknown", "unknown", "not-started"]
    assert (run.end, run.calls()) == (RunEnd.INTERRUPTED, [])
    assert run.report.debts == ()
    assert run.findings() == []


async def test_a_signal_during_the_soak_ends_the_run_at_once(world: MakeLab) -> None:
    lab = await world(running=3)
    plan = await lab.plan(TWO_AT_ONCE.replace("rollout: {", "rollout: {waves: [1, 100%], soak: 1h, "))
    lab.at(1800.0, lambda: send(signal.SIGTERM))
    run = await lab.apply(plan)
    assert run.outcomes == ["changed", "not-started", "not-started"]
    assert run.report.exit is Exit.INTERRUPTED
    assert 1800.0 <= run.report.duration_s < 1801.0


async def test_the_same_plan_finishes_what_an_interrupted_run_left(world: MakeLab) -> None:
    lab = await world(running=5)
    plan = await lab.plan(TWO_AT_ONCE)
    lab.when("UpdateNotebook", lambda: send(signal.SIGINT))
    await lab.apply(plan)
    run = await lab.apply(plan)
    assert run.outcomes == ["unchanged"] * 2 + ["changed"] * 3
    assert run.report.exit is Exit.DONE
    assert run.findings() == []


def full_at(step: str) -> type[InlineJournal]:
    """A journal on a disk that takes nothing any more from the first intent of this step on."""

    class FullDisk(JournalFile):
        full = False

        def insert(self, events: Sequence[Event]) -> None:
            self.full |= any(isinstance(event, Intended) and event.step == step for event in events)
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            super().insert(events)

    class OnFullDisk(InlineJournal):
        @classmethod
        def create(cls, path: Path, plan: Plan, run: str) -> Self:
            return cls(FullDisk.create(path, plan, run))

    return OnFullDisk


@pytest.mark.row(45)
@pytest.mark.parametrize(
    ("step", "calls", "outcome"),
    [
        ("put", ["stop", "start"], "not-started"),
        ("start", ["stop", "put", "start"], "changed"),
    ],
)
async def test_a_full_disk_lets_nothing_start_but_the_debt_is_paid(
    world: MakeLab, step: str, calls: list[str], outcome: str
) -> None:
    lab = await world(running=3)
    plan = await lab.plan(TWO_AT_ONCE.replace("concurrency: 2", "concurrency: 1"))
    run = await lab.apply(plan, full_at(step))
    assert run.end is RunEnd.HALTED
    assert [run.calls(notebook) for notebook in lab.notebooks] == [calls, [], []]
    assert all(notebook.status is Status.RUNNING for notebook in lab.notebooks)
    assert run.findings() == []
    whole = fold(plan, (*run.events, *run.unsaved))
    assert [row.outcome for row in whole.rows()] == [outcome, "not-started", "not-started"]
    assert debts(whole) == ()


@pytest.mark.row(45)
async def test_a_disk_that_is_full_before_the_first_write_changes_nothing(world: MakeLab) -> None:
    lab = await world(running=3)
    plan = await lab.plan()
    run = await lab.apply(plan, full_at("stop"))
    assert (run.end, run.calls(), run.findings()) == (RunEnd.HALTED, [], [])
    assert run.outcomes == ["not-started"] * 3
    assert {"intended", "ended"} <= {event.kind for event in run.unsaved}
