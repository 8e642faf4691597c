"""Faults of notebooks over a real socket: stuck, failed, frozen, broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleet.simulator import life
from fleet.simulator.states import Status

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]


async def status(lab: Any, row: Any, wait: float = 0.0) -> str:
    """The status that the cloud shows so many seconds later."""
    await asyncio.sleep(wait)
    return str((await lab.ask("GET", f"notebooks/{row.id}"))[1]["status"])


@pytest.mark.parametrize(
    ("begins", "call", "between", "ends"),
    [
        (Status.RUNNING, "stop", "STOPPING", "STOPPED"),
        (Status.STOPPED, "start?duration=-1", "STARTING", "RUNNING"),
    ],
)
async def test_a_stuck_notebook_stays_so_many_seconds(
    site: MakeSite, begins: Status, call: str, between: str, ends: str
) -> None:
    lab = await site(f"- {{kind: stuck, status: {between}, seconds: 5000}}")
    row = lab.row(begins)
    await lab.ask("POST", f"notebooks/{row.id}/{call}")
    assert [await status(lab, row, wait) for wait in (1, 4990, 10)] == [between, between, ends]


async def test_a_stuck_notebook_can_stay_for_ever(site: MakeSite) -> None:
    lab = await site("- {kind: stuck, status: STOPPING, times: 1}")
    row = lab.row(Status.RUNNING)
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert await status(lab, row, 30 * 86_400) == "STOPPING"
    other = lab.row(Status.RUNNING)
    await lab.ask("POST", f"notebooks/{other.id}/stop")
    assert await status(lab, other, 3600) == "STOPPED"


async def test_a_status_that_is_not_named_is_not_stuck(site: MakeSite) -> None:
    lab = await site("- {kind: stuck, status: STOPPING}")
    row = lab.row(Status.STOPPED)
    await lab.ask("POST", f"notebooks/{row.id}/start?duration=-1")
    assert await status(lab, row, 3600) == "RUNNING"


async def test_a_start_can_be_slow_and_fail(site: MakeSite) -> None:
    lab = await site('[{kind: slow-start, seconds: 9000}, {kind: failing-start, reason: "no disk"}]')
    row = lab.row(Status.STOPPED)
    await lab.ask("POST", f"notebooks/{row.id}/start?duration=-1")
    assert [await status(lab, row, wait) for wait in (9000, 3600)] == ["STARTING", "START_FAILED"]
    assert row.fail_reason == "no disk"


async def test_all_that_match_freeze_at_an_instant_and_thaw_later(site: MakeSite) -> None:
    lab = await site('- {kind: freeze, match: {notebook: "*-0000*"}, after: 60, seconds: 600}')
    rows = [row for row in lab.cloud.world.notebooks.values() if "-0000" in row.name]
    others = [row for row in lab.cloud.world.notebooks.values() if "-0000" not in row.name]
    assert len(rows) > 5
    seen = []
    for wait in (59, 1, 599, 1):
        await status(lab, rows[0], wait)
        seen.append(({row.status for row in rows}, {row.status for row in others}))
    usual = {Status.RUNNING, Status.STOPPED}
    assert [one for one, _ in seen] == [usual, {Status.FROZEN}, {Status.FROZEN}, {Status.STOPPED}]
    assert [other for _, other in seen] == [usual] * 4


async def test_so_many_freeze_at_an_instant_and_never_thaw(site: MakeSite) -> None:
    lab = await site("- {kind: freeze, after: 60, times: 3}")
    await asyncio.sleep(86_400)
    lab.cloud.settle(1_764_000_000.0 + lab.seconds())
    frozen = [row for row in lab.cloud.world.notebooks.values() if row.status is Status.FROZEN]
    assert len(frozen) == 3
    reply = (await lab.ask("POST", f"notebooks/{frozen[0].id}/start"))[1]
    assert reply["error_code"] == "ModelArts.6326"


async def test_a_notebook_freezes_after_its_second_call_and_its_way_ends_there(site: MakeSite) -> None:
    lab = await site("- {kind: freeze, match: {calls: writes}, call: 2}")
    row, other = lab.row(Status.RUNNING), lab.row(Status.STOPPED)
    await lab.ask("GET", f"notebooks/{row.id}")
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    await lab.ask("POST", f"notebooks/{other.id}/start")
    assert await status(lab, row, 1800) == "STOPPED"
    _, reply, _ = await lab.ask("POST", f"notebooks/{row.id}/start")
    assert reply["status"] == "STARTING"
    assert [await status(lab, row, wait) for wait in (0, 3600)] == ["FROZEN", "FROZEN"]
    assert other.status is not Status.FROZEN


async def test_calls_that_were_not_carried_out_do_not_count(site: MakeSite) -> None:
    lab = await site("[{kind: server-error, times: 1}, {kind: freeze, match: {method: POST}, call: 1}]")
    row = lab.row(Status.RUNNING)
    for path, code in (("stop", 500), ("start", 400)):
        assert (await lab.ask("POST", f"notebooks/{row.id}/{path}"))[0] == code
        assert await status(lab, row, 1) == "RUNNING"
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert await status(lab, row) == "FROZEN"


async def test_what_befalls_waits_as_long_as_it_says(site: MakeSite) -> None:
    lab = await site("- {kind: error, match: {operation: StartNotebook}, call: 1, wait: 10, reason: lost}")
    row = lab.row(Status.STOPPED)
    await lab.ask("POST", f"notebooks/{row.id}/start")
    assert [await status(lab, row, wait) for wait in (9, 1)] == ["STARTING", "ERROR"]
    assert (await lab.ask("GET", f"notebooks/{row.id}"))[1]["fail_reason"] == "lost"
    assert await status(lab, row, 3600) == "ERROR"


async def test_a_stop_can_end_in_error(site: MakeSite) -> None:
    lab = await site("- {kind: error, match: {operation: StopNotebook}, call: 1}")
    row = lab.row(Status.RUNNING)
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert [await status(lab, row, wait) for wait in (0, 3600)] == ["ERROR", "ERROR"]


async def test_nothing_befalls_a_notebook_that_is_gone(site: MakeSite) -> None:
    lab = await site("- {kind: freeze, match: {operation: DeleteNotebook}, call: 1, wait: 3600}")
    row = lab.row(Status.STOPPED)
    await lab.ask("DELETE", f"notebooks/{row.id}")
    await asyncio.sleep(7200)
    status_code, reply, _ = await lab.ask("GET", f"notebooks/{row.id}")
    assert (status_code, reply["error_code"]) == (400, "ModelArts.6309")


async def test_an_image_that_is_being_saved_is_not_finished_by_a_freeze(site: MakeSite) -> None:
    lab = await site("- {kind: freeze, match: {operation: CreateImage}, call: 1}")
    row = lab.row(Status.RUNNING)
    body = {"name": "mine", "namespace": "lab"}
    _, image, _ = await lab.ask("POST", f"notebooks/{row.id}/create-image", body)
    assert await status(lab, row, 3600) == "FROZEN"
    assert lab.cloud.world.images[image["id"]].status == "CREATING"


def test_a_transition_can_be_hastened_once(cloud: Any, plain: Any, now: float) -> None:
    row = plain(cloud, Status.RUNNING)
    life.stop(cloud.world, row, now)
    life.hasten(cloud.world, row, now)
    life.hasten(cloud.world, row, now)
    assert row.status is Status.STOPPED
