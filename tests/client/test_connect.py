"""What scopes share, and which scopes are refused before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from fleet.client.connect import connect, lowest_rates
from fleet.client.memory import LimitFile
from fleet.core.calls import Rank
from fleet.core.errors import CallError, UsageError
from fleet.core.events import Counted
from fleet.core.notebook import Status
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, PasswordLogin, ScopeSpec, TokenGiven, Way
from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.seed import make_cloud
from fleet.simulator.throttle import Limit

if TYPE_CHECKING:
    from fleet.client.api import ModelArts
    from fleet.engine.ports import Cloud as Port
    from tests.client.conftest import Behavior, RawServe

NOW = 1_764_000_000.0
SpecOf = Callable[..., ScopeSpec]


def is_a_cloud(api: ModelArts) -> Port:
    """The type checker proves that the engine can use what the client gives."""
    return api


async def instants(cloud: Cloud, spec_of: SpecOf, changes: Sequence[dict[str, Any]]) -> list[float]:
    """When requests arrive if every scope hurries to look at a notebook ten times."""
    loop = asyncio.get_running_loop()
    notebook = next(iter(cloud.world.notebooks))
    async with serve(cloud, clock=lambda: NOW + loop.time()) as url:
        specs = [replace(spec_of(url), **change) for change in changes]
        async with (
            connect(specs, monotonic=loop.time, wall=lambda: NOW + loop.time()) as scopes,
            anyio.create_task_group() as group,
        ):

            async def hurry(api: ModelArts) -> None:
                for _ in range(10):
                    await is_a_cloud(api).look(notebook, Rank.NEW)

            for api in scopes.values():
                group.start_soon(hurry, api)
    return [record.at for record in cloud.log]


@pytest.mark.looptime
async def test_scopes_of_one_credential_share_the_lowest_rate(cloud: Cloud, spec_of: SpecOf) -> None:
    project = next(iter(cloud.world.notebooks.values())).project
    at = await instants(
        cloud,
        spec_of,
        [
            {"name": "a", "project_id": project, "rate": Rate(100, 1.0)},
            {"name": "b", "project_id": project, "rate": Rate(60, 60.0)},
        ],
    )
    assert len(at) == 20
    assert all(after - before > 1.0 for before, after in pairwise(at))


@pytest.mark.looptime
async def test_scopes_of_different_credentials_do_not_wait_for_each_other(
    cloud: Cloud, spec_of: SpecOf
) -> None:
    project = next(iter(cloud.world.notebooks.values())).project
    token, _ = cloud.access.issue_token(project, NOW)
    rate = Rate(60, 60.0)
    at = await instants(
        cloud,
        spec_of,
        [
            {"name": "a", "project_id": project, "rate": rate},
            {"name": "b", "project_id": project, "rate": rate, "credential": TokenGiven(token)},
        ],
    )
    assert len(at) == 20
    assert at[-1] - at[0] < 11.0


def test_the_lowest_rate_is_told_by_requests_per_second(spec_of: SpecOf) -> None:
    spec = spec_of("http://h:1")
    specs = [replace(spec, rate=rate) for rate in (Rate(10, 1.0), Rate(300, 60.0), Rate(400, 60.0))]
    assert lowest_rates(specs) == {spec.throttle: Rate(300, 60.0)}


def test_a_throttle_key_is_host_and_credential(spec_of: SpecOf) -> None:
    spec = spec_of("http://H:1")
    assert spec.throttle == f"h:1 as access key {spec.credential.identity.split()[-1]}"
    assert replace(spec, endpoint="http://h:2").throttle != spec.throttle
    assert replace(spec, credential=AkSkKeys("other", "s")).throttle != spec.throttle
    assert replace(spec, region="elsewhere", project_id="1" * 32).throttle == spec.throttle
    secret = [TokenGiven("canary"), PasswordLogin("ana", "lab", "canary"), AkSkKeys("a", "canary", "canary")]
    shown = [spec_of("http://h:1", credential=credential) for credential in secret]
    assert "canary" not in f"{shown}{[each.throttle for each in shown]}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"project_id": "../x"}, "project_id"),
        ({"credential": TokenGiven("a b")}, "scope lab-a: token"),
        ({"endpoint": "ftp://h"}, "scope lab-a: endpoint"),
        ({"endpoint": "https://user:canary@h"}, "scope lab-a: endpoint"),
        ({"endpoint": "https://h/path"}, "scope lab-a: endpoint"),
        ({"endpoint": "https://h?q"}, "scope lab-a: endpoint"),
        ({"endpoint": "https://h#f"}, "scope lab-a: endpoint"),
        ({"endpoint": "https://bücher.example"}, "scope lab-a: endpoint"),
        ({"endpoint": "h"}, "scope lab-a: endpoint"),
        ({"iam_endpoint": "https://h:99999"}, "scope lab-a: iam_endpoint"),
        ({"iam_endpoint": ""}, "scope lab-a: iam_endpoint"),
        ({"ca_file": "/nowhere.pem"}, "ca_file: /nowhere.pem"),
    ],
)
async def test_a_scope_that_cannot_be_used_is_refused_in_one_line(
    spec_of: SpecOf, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        async with connect([spec_of("http://127.0.0.1:1", **change)]):
            pass
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["https://h", "https://h/", "http://127.0.0.1:80", "https://H.example.com:443/", "http://[::1]:9"],
)
async def test_every_spelling_of_an_address_can_be_used(spec_of: SpecOf, address: str) -> None:
    async with connect([spec_of(address, iam_endpoint=address)]) as scopes:
        assert set(scopes) == {"lab-a"}


def test_scopes_without_a_rate_have_none_unless_one_of_their_key_has(spec_of: SpecOf) -> None:
    spec = replace(spec_of("http://h:1"), rate=None)
    other = replace(spec, endpoint="http://h:2")
    assert lowest_rates([spec, replace(spec, rate=Rate(5, 1.0)), other]) == {spec.throttle: Rate(5, 1.0)}


@pytest.mark.looptime
async def test_no_scope_waits_for_the_crowd_of_another(cloud: Cloud, spec_of: SpecOf) -> None:
    loop = asyncio.get_running_loop()
    notebook = next(iter(cloud.world.notebooks.values()))
    served: list[str] = []
    async with serve(cloud, clock=lambda: NOW + loop.time()) as url:
        spec = replace(spec_of(url), project_id=notebook.project, rate=Rate(60, 60.0))
        specs = [replace(spec, name=name) for name in ("large", "small")]
        async with connect(specs, monotonic=loop.time, wall=lambda: NOW + loop.time()) as scopes:
            await scopes["large"].look(notebook.id)  # the credential is proven

            async def look(name: str) -> None:
                await scopes[name].look(notebook.id)
                served.append(name)

            async with anyio.create_task_group() as group:
                for name in ["large"] * 30 + ["small"] * 3:
                    group.start_soon(look, name)
    assert served[:8].count("small") == 3


@pytest.mark.looptime
async def test_whatever_brings_notebooks_home_passes_before_looks_and_turns_of_new_changes(
    cloud: Cloud, spec_of: SpecOf
) -> None:
    loop = asyncio.get_running_loop()
    notebook = next(iter(cloud.world.notebooks.values()))
    served: list[str] = []

    async def finish(name: str, call: Awaitable[object]) -> None:
        await call
        served.append(name)

    async with serve(cloud, clock=lambda: NOW + loop.time()) as url:
        spec = replace(spec_of(url), project_id=notebook.project, rate=Rate(60, 60.0), workspaces=("0",))
        async with connect([spec], monotonic=loop.time, wall=lambda: NOW + loop.time()) as scopes:
            api = scopes["lab-a"]
            await api.look(notebook.id)  # the credential is proven
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(finish, "new look", api.look(notebook.id))
                    group.start_soon(finish, "new turn", api.turn())
                await anyio.sleep(0.1)
                group.start_soon(finish, "poll", api.poll([Status.SNAPSHOTTING]))
                group.start_soon(finish, "look", api.look(notebook.id, Rank.AWAY))
                group.start_soon(finish, "turn", api.turn(Rank.AWAY))
    looks = [name for name in served if name in ("new look", "look", "poll")]
    turns = [name for name in served if name in ("new turn", "turn")]
    assert set(looks[:3]) == {"poll", "look", "new look"}
    assert turns.index("turn") < 5


@pytest.mark.looptime
async def test_what_the_gateway_taught_is_remembered_and_what_left_is_told(
    spec_of: SpecOf, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    cloud = make_cloud(notebooks=1, seed=11, now=NOW, throttle=[Limit(limit=30, seconds=60, calls="reads")])
    (notebook,) = cloud.world.notebooks.values()
    told: list[Counted] = []

    def wall() -> float:
        return NOW + loop.time()

    async def look(specs: Sequence[ScopeSpec], times: int) -> int:
        """How many refusals there are after so many looks by a new client."""
        memory = LimitFile(tmp_path / "limits.json", wall)
        async with connect(
            specs, monotonic=loop.time, wall=wall, memory=memory, on_counted=told.append
        ) as scopes:
            for _ in range(times):
                await scopes["lab-a"].look(notebook.id)
        return sum(record.status == 429 for record in cloud.log)

    async with serve(cloud, clock=wall) as url:
        credential = AkSkKeys(cloud.identity.access_key, cloud.identity.secret_key)
        spec = replace(spec_of(url), project_id=notebook.project, credential=credential, rate=None)
        assert await look([spec], 40) == 1
        await anyio.sleep(60.0)
        assert await look([spec], 60) == 1
        await anyio.sleep(86400.0)
        assert await look([spec], 40) == 2
    assert {(one.key, one.policy, one.count, one.window) for one in told} == {
        (f"{spec.throttle}, reads", "user", 30, 60.0)
    }
    assert all(0 < one.most <= 30 for one in told)


@pytest.mark.parametrize("way", Way)
async def test_headers_that_every_request_carries(
    raw_server: RawServe, reply: Callable[..., Behavior], spec_of: SpecOf, way: Way
) -> None:
    async with raw_server(reply(404, b"{}")) as server:
        spec = spec_of(server.url, credential=TokenGiven("t1"), transport=way)
        async with connect([spec], user_agent="fleet-test") as scopes:
            with pytest.raises(CallError):
                await scopes["lab-a"].look("00000000-0000-4000-8000-000000000001")
        host = server.url.removeprefix("http://")
    lines = server.requests[0].decode().rstrip("\r\n").split("\r\n")[1:]
    assert sorted(line.lower() for line in lines) == [
        "accept-encoding: identity",
        "accept: application/json",
        "content-type: application/json",
        f"host: {host}",
        "user-agent: fleet-test",
        "x-auth-token: t1",
        "x-language: en-us",
    ]
