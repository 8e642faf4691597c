"""Faults of calls over a real socket: what is said, and whether anything was done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleet.simulator.states import Status

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]

RENAME = {"name": "renamed"}


async def test_throttling_names_its_limit_and_when_to_come_back(site: MakeSite) -> None:
    lab = await site("- {kind: throttle, limit: 5, seconds: 10, retry_after: 7, times: 1}")
    row = lab.row(Status.STOPPED)
    status, reply, headers = await lab.ask("PUT", f"notebooks/{row.id}", RENAME)
    assert (status, reply["error_code"], headers["Retry-After"]) == (429, "APIGW.0308", "7")
    assert reply["error_msg"].endswith("limit:5,time:10 second")
    assert (row.name != "renamed", lab.cloud.log[-1].applied) == (True, False)
    assert (await lab.ask("PUT", f"notebooks/{row.id}", RENAME))[0] == 200


async def test_throttling_may_say_nothing_at_all(site: MakeSite) -> None:
    lab = await site("- {kind: throttle, text: false}")
    status, reply, headers = await lab.ask("GET", "notebooks/all")
    assert (status, reply, headers["Content-Length"]) == (429, {}, "0")
    assert "Retry-After" not in headers


@pytest.mark.parametrize("applied", ["false", "true"])
async def test_a_server_error_comes_before_or_after_applying(site: MakeSite, applied: str) -> None:
    lab = await site(f"- {{kind: server-error, match: {{method: PUT}}, status: 504, applied: {applied}}}")
    row = lab.row(Status.STOPPED)
    assert (await lab.ask("PUT", f"notebooks/{row.id}", RENAME))[0] == 504
    assert row.name == ("renamed" if applied == "true" else row.name)
    assert lab.cloud.log[-1].applied is (applied == "true")


async def test_a_storm_is_every_call_for_so_many_seconds(site: MakeSite) -> None:
    lab = await site("- {kind: server-error, status: 503, after: 60, until: 360}")
    row = lab.row(Status.RUNNING)
    seen = []
    for wait in (0, 60, 299, 1):
        await asyncio.sleep(wait)
        calls = (("GET", "notebooks/all"), ("GET", f"notebooks/{row.id}"), ("GET", "images"))
        seen.append({(await lab.ask(*call))[0] for call in calls})
    assert seen == [{200}, {503}, {503}, {200}]


async def test_a_storm_can_be_one_of_writes_only(site: MakeSite) -> None:
    lab = await site("- {kind: server-error, match: {calls: writes}}")
    row = lab.row(Status.STOPPED)
    assert (await lab.ask("GET", f"notebooks/{row.id}"))[0] == 200
    assert (await lab.ask("POST", f"notebooks/{row.id}/start"))[0] == 500
    assert row.status is Status.STOPPED


async def test_a_refusal_hits_the_notebook_that_it_names(site: MakeSite) -> None:
    plain = await site()
    name = plain.row(Status.RUNNING).name
    fault = "kind: refusal, status: 403, code: ModelArts.0108, message: never"
    lab = await site(f"- {{{fault}, match: {{notebook: {name}}}}}")
    row, other = lab.row(Status.RUNNING), lab.row(Status.STOPPED)
    status, reply, _ = await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert (status, reply) == (403, {"error_code": "ModelArts.0108", "error_msg": "never"})
    assert row.status is Status.RUNNING
    assert (await lab.ask("GET", f"notebooks/{other.id}"))[0] == 200


async def test_a_reached_quota_refuses_starts_and_creations_only(site: MakeSite) -> None:
    lab = await site("- {kind: quota}")
    stopped, running = lab.row(Status.STOPPED), lab.row(Status.RUNNING)
    for path in (f"notebooks/{stopped.id}/start", "notebooks"):
        status, reply, _ = await lab.ask("POST", path, {})
        assert (status, reply["error_code"]) == (400, "ModelArts.0113")
    assert (await lab.ask("POST", f"notebooks/{running.id}/stop"))[0] == 200
    assert stopped.status is Status.STOPPED
