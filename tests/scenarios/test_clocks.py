"""The clock is set while a run goes on, or the machine stands still: only monotonic time decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Intended, RunEnd
from fleet.core.scope import PasswordLogin
from fleet.journal.sqlite import JournalFile
from fleet.journal.writer import InlineJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from fleet.core.events import Event
    from fleet.core.planning.plan import Plan
    from fleet.simulator.cloud import Cloud
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

HOUR = 3600.0
MOMENTS = ["ShowNotebook", "StopNotebook", "UpdateNotebook", "StartNotebook"]
IN_WAVES = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, waves: [1, 100%], soak: 10m, deadline: 30m, change_deadline: 20m}
"""


def password(cloud: Cloud) -> PasswordLogin:
    identity = cloud.identity
    return PasswordLogin(identity.user, identity.domain, identity.password)


def set_clock(lab: Lab, ahead: float) -> None:
    lab.skew = ahead


def sleep(lab: Lab, seconds: float) -> None:
    lab.slept += seconds


def journal_before(step: str, act: Callable[[], None]) -> type[InlineJournal]:
    """A journal where something happens once, between the first intent of this step and its send."""
    due = [act]

    class OnDisk(JournalFile):
        def insert(self, events: Sequence[Event]) -> None:
            super().insert(events)
            if due and any(isinstance(event, Intended) and event.step == step for event in events):
                due.pop()()

    class Watched(InlineJournal):
        @classmethod
        def create(cls, path: Path, plan: Plan, run: str) -> Self:
            return cls(OnDisk.create(path, plan, run))

    return Watched


@pytest.mark.row(21)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_wall_clock_that_jumps_moves_no_deadline_no_soak_and_no_lease(
    world: MakeLab, moment: str, ahead: float
) -> None:
    lab = await world(running=2, credential=password)
    plan = await lab.plan(IN_WAVES)
    lab.when(moment, lambda: set_clock(lab, ahead))
    run = await lab.apply(plan)
    assert (run.outcomes, run.end) == (["changed"] * 2, RunEnd.FINISHED)
    assert lab.skew == ahead
    steps = [call for call in run.calls(applied=True) if call != "lease"]  # one renewal too many does no harm
    assert steps == ["stop", "put", "start"] * 2
    assert 600.0 < run.log[-1].at - run.log[0].at < 1200.0
    assert run.findings() == []


@pytest.mark.row(21)
@pytest.mark.security("clock")
@pytest.mark.parametrize(("ahead", "words"), [(HOUR, "3600 s ahead"), (-HOUR, "3600 s behind")])
async def test_a_signature_that_the_clock_spoils_ends_the_run_with_the_difference(
    world: MakeLab, ahead: float, words: str
) -> None:
    lab = await world(running=2)
    plan = await lab.plan()
    lab.skew = ahead
    run = await lab.apply(plan)
    assert (run.end, run.report.exit, run.calls(applied=True)) == (
        RunEnd.LOCKED_OUT,
        Exit.STOPPED_BY_GUARD,
        [],
    )
    assert "set this machine's clock (15 minutes are allowed)" in run.report.reason
    assert words in run.report.reason
    assert run.findings() == []


@pytest.mark.row(22)
@pytest.mark.parametrize("moment", ["StopNotebook", "ListAllNotebooks", "UpdateNotebook", "StartNotebook"])
async def test_a_machine_that_stood_still_for_an_hour_goes_on_where_it_was(
    world: MakeLab, moment: str
) -> None:
    lab = await world(running=3, credential=password, token_seconds=1800.0)  # fewer would not be listed
    plan = await lab.plan()
    lab.when(moment, lambda: sleep(lab, HOUR))
    run = await lab.apply(plan)
    assert run.outcomes == ["changed"] * 3
    assert [run.calls(row, applied=True) for row in lab.notebooks] == [["stop", "put", "start"]] * 3
    assert (run.findings(), lab.slept) == ([], HOUR)
    assert run.report.debts == ()


@pytest.mark.row(22)
async def test_what_somebody_did_while_the_machine_stood_still_is_left_alone(world: MakeLab) -> None:
    lab = await world(running=2, credential=password)
    theirs, other = lab.notebooks

    def overnight() -> None:
        sleep(lab, HOUR)
        lab.edit(theirs, image=lab.image("tensorflow2.1"))

    plan = await lab.plan()
    lab.when("StopNotebook", overnight, notebook=theirs)
    run = await lab.apply(plan)
    assert (run.row(theirs).outcome, run.row(other).outcome) == ("drifted", "changed")
    assert run.calls(theirs) == ["stop", "start"]
    assert theirs.image.name.startswith("tensorflow2.1")
    assert run.report.debts == ()


@pytest.mark.row(22)
@pytest.mark.parametrize(("step", "sent"), [("stop", []), ("put", ["stop", "start"])])
async def test_a_machine_that_was_suspended_between_look_and_write_looks_again(
    world: MakeLab, step: str, sent: list[str]
) -> None:
    lab = await world(running=1, credential=password)
    (theirs,) = lab.notebooks

    def overnight() -> None:
        sleep(lab, HOUR)
        lab.edit(theirs, image=lab.image("tensorflow2.1"))

    run = await lab.apply(await lab.plan(), journal_before(step, overnight))
    assert (run.outcomes, run.calls(), lab.slept) == (["drifted"], sent, HOUR)
    assert theirs.image.name.startswith("tensorflow2.1")
    assert run.report.debts == ()
