"""Somebody acts between plan and apply, or while a change is under way: it is never overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.simulator.world import Notebook
    from tests.scenarios.conftest import Lab, MakeLab

    Act = Callable[[Lab, Notebook], None]

pytestmark = pytest.mark.looptime


def change_the_image(lab: Lab, notebook: Notebook) -> None:
    lab.edit(notebook, image=lab.image("tensorflow2.1"))


def change_to_the_target(lab: Lab, notebook: Notebook) -> None:
    lab.edit(notebook, image=lab.image("pytorch2.6-cuda12.4"))


def rename(lab: Lab, notebook: Notebook) -> None:
    lab.edit(notebook, name="renamed")


def stop(lab: Lab, notebook: Notebook) -> None:
    lab.stop(notebook)


def start(lab: Lab, notebook: Notebook) -> None:
    lab.start(notebook)


def restart(lab: Lab, notebook: Notebook) -> None:
    """Starts it again as soon as it has stopped."""
    lab.put_into(notebook, Status.STOPPED)
    lab.start(notebook)


def delete(lab: Lab, notebook: Notebook) -> None:
    lab.delete(notebook)


def freeze(lab: Lab, notebook: Notebook) -> None:
    lab.put_into(notebook, Status.FROZEN)


@pytest.mark.row(31, 38)
@pytest.mark.parametrize(
    ("act", "begins", "outcome", "reason"),
    [
        (change_the_image, "RUNNING", "drifted", "image_id is"),
        (change_the_image, "STOPPED", "drifted", "image_id is"),
        (change_to_the_target, "RUNNING", "unchanged", "already so"),
        (stop, "RUNNING", "drifted", "is STOPPED, not RUNNING as planned"),
        (start, "STOPPED", "drifted", "is RUNNING, not STOPPED as planned"),
        (delete, "RUNNING", "gone", "deleted"),
    ],
)
async def test_what_somebody_did_since_the_plan_is_left_alone(
    world: MakeLab, act: Act, begins: str, outcome: str, reason: str
) -> None:
    lab = await world(**{begins.lower(): 2})
    theirs, other = lab.notebooks
    plan = await lab.plan()
    act(lab, theirs)
    run = await lab.apply(plan)
    assert (run.row(theirs).outcome, run.row(other).outcome) == (outcome, "changed")
    assert reason in run.row(theirs).reason
    assert run.calls(theirs) == []
    assert run.findings(theirs) == []
    assert run.report.exit == (Exit.DONE if outcome == "unchanged" else Exit.SOME_DRIFTED)


async def test_a_notebook_frozen_since_the_plan_is_skipped(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    plan = await lab.plan()
    freeze(lab, notebook)
    run = await lab.apply(plan)
    assert (run.outcomes, run.only.reason, run.report.exit) == (["skipped"], "status FROZEN", Exit.DONE)
    assert (run.calls(), run.findings()) == ([], [])


async def test_a_new_name_is_nobodys_business_when_the_image_is_planned(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    plan = await lab.plan()
    rename(lab, notebook)
    run = await lab.apply(plan)
    assert run.outcomes == ["changed"]
    assert notebook.name == "renamed"
    assert run.findings() == []


@pytest.mark.row(31, 36, 38)
@pytest.mark.parametrize(
    ("moment", "act", "outcome", "calls"),
    [
        ("StopNotebook", change_the_image, "drifted", ["stop", "start"]),
        ("StopNotebook", restart, "drifted", ["stop"]),
        ("StopNotebook", delete, "gone", ["stop"]),
        ("StopNotebook", freeze, "stranded", ["stop"]),
        ("UpdateNotebook", change_the_image, "drifted", ["stop", "put", "start"]),
        ("UpdateNotebook", delete, "gone", ["stop", "put"]),
        ("StartNotebook", change_the_image, "drifted", ["stop", "put", "start"]),
        ("StartNotebook", delete, "gone", ["stop", "put", "start"]),
        ("StartNotebook", freeze, "stranded", ["stop", "put", "start"]),
    ],
)
async def test_what_somebody_does_under_way_is_told_and_left_alone(
    world: MakeLab, moment: str, act: Act, outcome: str, calls: list[str]
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks

    def at_once() -> None:
        if act is delete:
            lab.put_into(notebook, Status.DELETING)
        else:
            act(lab, notebook)

    lab.when(moment, at_once)
    run = await lab.go()
    assert run.outcomes == [outcome]
    assert run.calls() == calls
    assert run.report.exit == (Exit.STRANDED if outcome == "stranded" else Exit.SOME_DRIFTED)
    assert bool(run.report.debts) == (outcome == "stranded")
    if act is change_the_image:
        assert notebook.image.name.startswith("tensorflow2.1")
        assert notebook.status is Status.RUNNING


@pytest.mark.row(38)
async def test_a_person_who_stops_it_after_our_start_is_told_and_not_undone(world: MakeLab) -> None:
    """The lease did not come back with our start: the last look is the one after its renewal."""
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StartNotebook", lambda: lab.lend(notebook, 1))
    lab.when("RenewLease", lambda: lab.stop(notebook))
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], ["stop", "put", "start", "lease"])
    assert run.only.reason.startswith("stopped by somebody after our start")
    assert notebook.status is Status.STOPPED
    assert run.report.debts == ()
