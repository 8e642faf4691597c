"""The simulator over real sockets, in virtual time."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest

from fleet.simulator.app import serve
from fleet.simulator.faults import LostAnswer, Match, SlowAnswer
from fleet.simulator.routing import Operation
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status

pytestmark = pytest.mark.looptime


async def test_a_request_goes_through_the_socket_and_into_the_log(now: float) -> None:
    cloud = make_cloud(notebooks=20, seed=1, now=now)
    project = cloud.identity.projects[0].id
    token, _ = cloud.access.issue_token(project, now)
    lines = io.StringIO()
    async with (
        serve(cloud, clock=lambda: now, request_log=lines) as url,
        aiohttp.ClientSession(headers={"X-Auth-Token": token}) as session,
        session.get(f"{url}/v1/{project}/notebooks/all?limit=50&name=a%20b") as response,
    ):
        assert response.status == 200
        assert (await response.json())["data"] == []
        request_id = response.headers["X-Request-Id"]
    (line,) = lines.getvalue().splitlines()
    written = json.loads(line)
    assert written["request_id"] == cloud.log[0].request_id == request_id
    assert written["query"] == {"limit": "50", "name": "a b"}
    assert (written["operation"], written["project"]) == ("ListAllNotebooks", project)
    assert token not in line


async def test_a_stop_lasts_as_long_as_the_clock_says(now: float) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    cloud = make_cloud(notebooks=20, seed=1, now=now, projects=1)
    project = cloud.identity.projects[0].id
    token, _ = cloud.access.issue_token(project, now)
    notebook = next(r for r in cloud.world.notebooks.values() if r.status is Status.RUNNING)
    async with (
        serve(cloud, clock=lambda: now + loop.time() - start) as url,
        aiohttp.ClientSession(headers={"X-Auth-Token": token}) as session,
    ):
        address = f"{url}/v1/{project}/notebooks/{notebook.id}"
        async with session.post(f"{address}/stop") as response:
            assert (await response.json())["status"] == "STOPPING"
        await asyncio.sleep(600)
        async with session.get(address) as response:
            assert (await response.json())["status"] == "STOPPED"


@pytest.mark.parametrize("applied", [True, False])
async def test_a_lost_answer_closes_the_connection(now: float, applied: bool) -> None:
    fault = LostAnswer(match=Match(operation=Operation.STOP_NOTEBOOK), applied=applied)
    cloud = make_cloud(notebooks=20, seed=1, now=now, projects=1, faults=[fault])
    project = cloud.identity.projects[0].id
    token, _ = cloud.access.issue_token(project, now)
    notebook = next(r for r in cloud.world.notebooks.values() if r.status is Status.RUNNING)
    async with (
        serve(cloud, clock=lambda: now) as url,
        aiohttp.ClientSession(headers={"X-Auth-Token": token}) as session,
    ):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(f"{url}/v1/{project}/notebooks/{notebook.id}/stop")
    assert (notebook.status is Status.STOPPING) is applied
    assert [record.answered for record in cloud.log] == [False]


async def test_a_slow_answer_waits_by_the_loops_timers(now: float) -> None:
    loop = asyncio.get_running_loop()
    cloud = make_cloud(notebooks=20, seed=1, now=now, faults=[SlowAnswer(seconds=120)])
    async with serve(cloud, clock=lambda: now) as url, aiohttp.ClientSession() as session:
        before = loop.time()
        path = f"{url}/v1/{cloud.identity.projects[0].id}/notebooks"
        token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, now)
        async with session.get(path, headers={"X-Auth-Token": token}) as response:
            assert response.status == 200
        assert loop.time() - before == pytest.approx(120, abs=1)
