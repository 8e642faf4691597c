"""Between two waves a program and a person may be asked; what they say is done, and is told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

from fleet.core.errors import Exit
from fleet.core.events import Began, Ended, Event, Held, RunEnd, WaveEnded
from fleet.core.fold import fold
from fleet.core.wave_gate import Check, check_of, no_check
from fleet.journal.reader import read_journal
from fleet.journal.runs import JOURNAL, new_run_id
from fleet.journal.writer import InlineJournal
from fleet.service.running import RunFolder, apply_plan, open_run
from fleet.service.telling import read_report

if TYPE_CHECKING:
    from fleet.core.planning.plan import Plan
    from fleet.core.rollout import GateCommand
    from fleet.report.summary import Report
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


COMMAND = "waves: [1, 50%, 100%], gate: {command: ['true'], timeout: 1m}"
APPROVE = "waves: [1, 50%, 100%], approve: [1]"


@dataclass
class Program:
    """Stands for the gate's command. Each time it is run it takes a minute and ends with the next check."""

    checks: list[Check]
    told: list[Mapping[str, str]] = field(default_factory=list)

    async def __call__(self, gate: GateCommand, environment: Mapping[str, str]) -> Check:
        self.told.append(environment)
        await anyio.sleep(60.0)
        return self.checks.pop(0)


@dataclass(frozen=True)
class Gated:
    """What became of a run with gates."""

    plan: Plan
    end: RunEnd
    report: Report
    events: Sequence[Event]

    @property
    def outcomes(self) -> list[str]:
        return [str(row.outcome) for row in self.report.rows]

    @property
    def verdicts(self) -> list[tuple[int, bool, str]]:
        return [(e.wave, e.go, e.reason) for e in self.events if isinstance(e, WaveEnded)]

    @property
    def held(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Held)]


async def gated(lab: Lab, plan: Plan, program: Program, *, steerable: bool = False) -> Gated:
    """Applies the plan, or goes on with the only run that there is."""
    path = next(lab.base.glob("*-gate"), None)
    if path is None:
        folder = open_run(lab.base, new_run_id(lab.now(), "gate"), plan, InlineJournal)
    else:
        earlier = fold(plan, read_journal(path / JOURNAL).events).earlier()
        folder = RunFolder(path.name, path, InlineJournal.open_for_append(path / JOURNAL), earlier=earlier)
    end = await apply_plan(plan, folder, lab.specs, lab.clock, [], check=program, steerable=steerable)
    return Gated(plan, end, read_report(folder.path), read_journal(folder.path / JOURNAL).events)


GO, STOP, UNCLEAR = check_of(0, "all well"), check_of(1, "5 % errors"), no_check("took longer than 1m")
SAYS_GO = "the gate's command says go (exit code 0: all well)"


async def test_the_program_is_asked_after_every_wave_but_the_last_and_told_how_it_went(
    world: MakeLab,
) -> None:
    lab = await world(running=4)
    program = Program([GO, GO])
    run = await gated(lab, await lab.plan(migration(COMMAND)), program)
    assert (run.outcomes, run.end) == (["changed"] * 4, RunEnd.FINISHED)
    assert run.verdicts == [(1, True, SAYS_GO), (2, True, SAYS_GO), (3, True, "")]
    assert [told["FLEET_WAVE"] for told in program.told] == ["1", "2"]
    assert {told["FLEET_RUN"] for told in program.told} == {run.report.run}
    assert [json.loads(told["FLEET_COUNTS"])["changed"] for told in program.told] == [1, 2]
    assert json.loads(program.told[0]["FLEET_COUNTS"])["failed"] == 0


async def test_no_change_of_the_next_wave_begins_before_the_program_has_spoken(world: MakeLab) -> None:
    lab = await world(running=4)
    run = await gated(lab, await lab.plan(migration(COMMAND)), Program([GO, GO]))
    waves = {change.item: change.wave for change in run.plan.changes}
    for wave in (1, 2):
        last = max(e.at for e in run.events if isinstance(e, Ended) and waves[e.item] == wave)
        first = min(e.at for e in run.events if isinstance(e, Began) and waves[e.item] == wave + 1)
        assert first - last >= 60.0


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (STOP, "the gate's command says stop (exit code 1: 5 % errors)"),
        (
            UNCLEAR,
            (
                "the gate's command says inconclusive (took longer than 1m); nobody could be asked: "
                "at a terminal this asks again, and you may approve: fleet resume RUN"
            ),
        ),
    ],
)
async def test_a_program_that_does_not_say_go_halts_the_run(
    world: MakeLab, check: Check, reason: str
) -> None:
    lab = await world(running=4)
    run = await gated(lab, await lab.plan(migration(COMMAND)), Program([check]))
    assert run.outcomes == ["changed"] + ["not-started"] * 3
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    reason = reason.replace("RUN", run.report.run)
    assert (run.report.reason, run.verdicts) == (reason, [(1, False, reason)])


async def test_a_run_that_was_halted_at_a_gate_asks_there_again(world: MakeLab) -> None:
    lab = await world(running=4)
    plan = await lab.plan(migration(COMMAND))
    program = Program([STOP, STOP, GO, GO])
    assert (await gated(lab, plan, program)).outcomes == ["changed"] + ["not-started"] * 3
    assert (await gated(lab, plan, program)).outcomes == ["changed"] + ["not-started"] * 3
    run = await gated(lab, plan, program)
    assert (run.outcomes, run.end) == (["changed"] * 4, RunEnd.FINISHED)
    assert [told["FLEET_WAVE"] for told in program.told] == ["1", "1", "1", "2"]
    assert [json.loads(told["FLEET_COUNTS"])["changed"] for told in program.told] == [1, 1, 1, 2]


async def test_a_wave_that_went_badly_is_not_put_to_the_program(world: MakeLab) -> None:
    lab = await world(running=4)
    plan = await lab.plan(migration(COMMAND))
    lab.image("pytorch2.6-cuda12.4").status = "ERROR"
    program = Program([])
    run = await gated(lab, plan, program)
    assert (run.outcomes, program.told) == (["failed"] + ["not-started"] * 3, [])


async def test_without_anybody_to_approve_the_run_waits_and_says_so_once(world: MakeLab) -> None:
    lab = await world(running=4)
    plan = await lab.plan(migration(APPROVE))
    lab.at(50_000.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    run = await gated(lab, plan, Program([]))
    assert run.outcomes == ["changed"] + ["not-started"] * 3
    assert run.report.duration_s == pytest.approx(50_000.0, abs=1.0)
    assert run.end is RunEnd.INTERRUPTED
    assert run.held == [f"waits for approval (fleet approve {run.report.run})"]
    assert run.verdicts == [(1, False, "the run was ended before it was decided")]


async def test_an_approval_keeps_its_place_when_an_empty_wave_is_dropped(world: MakeLab) -> None:
    lab = await world(running=2)
    plan = await lab.plan(migration("waves: [1, 30%, 100%], approve: [2]"))
    assert [one.partition(" would")[0] for one in plan.checks][:1] == ["wave 2 of [1, 30%, 100%]"]
    lab.at(50_000.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    run = await gated(lab, plan, Program([]))
    assert run.held == [f"waits for approval (fleet approve {run.report.run})"]
    assert run.outcomes == ["changed", "not-started"]


async def test_a_deadline_ends_the_waiting_for_approval(world: MakeLab) -> None:
    lab = await world(running=4)
    run = await gated(lab, await lab.plan(migration(f"{APPROVE}, deadline: 1h")), Program([]))
    assert (run.end, run.outcomes[0]) == (RunEnd.HALTED, "changed")
    assert run.report.duration_s == pytest.approx(3600.0, abs=1.0)


async def test_approval_from_another_terminal_lets_the_run_go_on(world: MakeLab) -> None:
    lab = await world(running=4)
    plan = await lab.plan(migration(APPROVE))
    answers: list[bytes] = []

    async def approve_after_an_hour() -> None:
        await anyio.sleep(3600.0)
        (note,) = lab.base.glob("*-gate/steering")
        async with await anyio.connect_unix(note.read_text()) as stream:
            await stream.send(b'{"do": "approve"}\n')
            answers.append(await stream.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(approve_after_an_hour)
        run = await gated(lab, plan, Program([]), steerable=True)
    assert [json.loads(answer)["text"] for answer in answers] == ["wave 1 approved"]
    assert (run.outcomes, run.end) == (["changed"] * 4, RunEnd.FINISHED)
    assert run.verdicts == [(1, True, "approved by a person"), (2, True, ""), (3, True, "")]
    assert 3600.0 < run.report.duration_s < 4600.0
    assert run.held == [f"waits for approval (fleet approve {run.report.run})", ""]
