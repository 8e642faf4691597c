"""Sources of usage: AOM signed like every call, a Prometheus server with its own token, a file."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.client.api import ModelArts
from fleet.client.connect import connect
from fleet.client.metrics import Idleness, SampleFile, Source, usages
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.metrics import AomMetrics, FileMetrics, Metrics, PrometheusMetrics, Queries
from fleet.core.pacing.limits import Rate
from fleet.core.scope import PasswordLogin, ScopeSpec
from fleet.core.usage import Book, Resource, UsageWanted, proves_idle
from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook, ms

NOW = 1_764_000_000.0
DAY = 86_400.0
CPU, MEMORY = Resource.CPU, Resource.MEMORY
WANTED = UsageWanted(7 * DAY, 95.0, (CPU, MEMORY))
NB = "f9937afa-4451-42db-a76b-72d624749f66"

SpecOf = Callable[..., ScopeSpec]
ServeRaw = Callable[..., Any]

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def opened(cloud: Cloud, spec_of: SpecOf, **changes: Any) -> AsyncIterator[ModelArts]:
    """The first project of `cloud` as a scope whose usage AOM keeps, behind the same address."""
    loop = asyncio.get_running_loop()

    def wall() -> float:
        return NOW + loop.time()

    async with serve(cloud, clock=wall) as url:
        spec = spec_of(url, metrics=changes.pop("metrics", AomMetrics(url)), **changes)
        async with connect([spec], monotonic=loop.time, wall=wall, jitter=lambda: 0.5) as scopes:
            yield scopes[spec.name]


@asynccontextmanager
async def asking(spec: ScopeSpec) -> AsyncIterator[Source]:
    loop = asyncio.get_running_loop()
    async with connect(
        [spec], monotonic=loop.time, wall=lambda: NOW + loop.time(), jitter=lambda: 0.5
    ) as scopes:
        source = scopes[spec.name].metrics
        assert source is not None
        yield source


def running(cloud: Cloud, count: int) -> list[Notebook]:
    """Notebooks of the first project that ran all year."""
    project = cloud.identity.projects[0].id
    rows = [row for row in cloud.world.notebooks.values() if row.project == project][:count]
    for row in rows:
        row.status, row.create_at = Status.RUNNING, ms(NOW - 365 * DAY)
        row.flavor, row.custom_spec = "modelarts.vm.cpu.4u", None
    return rows


async def test_aom_tells_busy_from_idle_and_every_call_is_signed(cloud: Cloud, spec_of: SpecOf) -> None:
    busy, idle = running(cloud, 2)
    cloud.world.shapes = {busy.id: "busy", idle.id: "idle"}
    async with opened(cloud, spec_of) as api:
        assert api.metrics is not None
        found = await usages(api.metrics, WANTED, {busy.id: 0.0, idle.id: 0.0}, NOW)
    assert found[busy.id].levels[CPU].usual > 60
    assert found[idle.id].levels[CPU].usual < 10
    assert found[busy.id].share(MEMORY) > 0.95
    asked = [record for record in cloud.log if record.operation == "QueryRange"]
    assert [record.status for record in asked] == [200, 200]  # a query a resource, for both
    assert all(record.user == cloud.identity.user_id for record in asked)
    assert api.calls["metrics"] == 2


async def test_a_password_login_asks_aom_with_its_token(cloud: Cloud, spec_of: SpecOf) -> None:
    (row,) = running(cloud, 1)
    identity = cloud.identity
    login = PasswordLogin(identity.user, identity.domain, identity.password)
    async with opened(cloud, spec_of, credential=login) as api:
        assert api.metrics is not None
        found = await usages(api.metrics, WANTED, {row.id: 0.0}, NOW)
    assert found[row.id].share(CPU) > 0.9


async def test_many_notebooks_share_a_query_and_keep_the_rate(cloud: Cloud, spec_of: SpecOf) -> None:
    rows = running(cloud, 90)
    loop = asyncio.get_running_loop()
    async with opened(cloud, spec_of, rate=Rate(1, 1.0)) as api:
        assert api.metrics is not None
        found = await usages(api.metrics, WANTED, {row.id: 0.0 for row in rows}, NOW)
        took = loop.time()
    assert len(found) == len(rows)
    asked = [record for record in cloud.log if record.operation == "QueryRange"]
    assert len(asked) == 6  # three groups of at most forty, two resources
    assert took >= 5.0


async def test_what_was_used_before_the_last_resize_is_left_out(cloud: Cloud, spec_of: SpecOf) -> None:
    (row,) = running(cloud, 1)
    async with opened(cloud, spec_of) as api:
        assert api.metrics is not None
        found = await usages(api.metrics, WANTED, {row.id: NOW - DAY}, NOW)
    assert found[row.id].share(CPU) == pytest.approx(1 / 7, abs=0.02)


async def test_without_a_source_there_is_none(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of, metrics=None) as api:
        assert api.metrics is None


async def test_idle_is_told_from_busy_and_from_unknown(cloud: Cloud, spec_of: SpecOf) -> None:
    busy, idle, unknown = running(cloud, 3)
    cloud.world.shapes = {busy.id: "busy", idle.id: "idle", unknown.id: "idle"}
    unknown.status, unknown.update_at = Status.STOPPED, ms(NOW - DAY)
    needs = {row.id: proves_idle("CPU") for row in (busy, idle, unknown)}
    async with opened(cloud, spec_of) as api:
        assert api.metrics is not None
        activity = Idleness(api.metrics, needs, lambda: NOW, minutes=30)
        uses = await activity.use(list(needs))
        assert [uses[row.id].idle for row in (busy, idle, unknown)] == [False, True, None]
        assert re.fullmatch(r"CPU [\d.]+ % > 5 % in the last 30m of data", uses[busy.id].why)
        since = r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC or longer"
        assert re.fullmatch(
            f"no data of CPU, network from AOM at 127.0.0.1:\\d+ {since}", uses[unknown.id].why
        )
        nothing = await Idleness(api.metrics, {}, lambda: NOW, minutes=30).use([idle.id])
        assert nothing[idle.id].idle is None


async def test_since_when_there_is_no_data_is_remembered(cloud: Cloud, spec_of: SpecOf) -> None:
    (row,) = running(cloud, 1)
    row.status, row.update_at = Status.STOPPED, ms(NOW - DAY)
    now = [NOW]
    async with opened(cloud, spec_of) as api:
        assert api.metrics is not None
        activity = Idleness(api.metrics, {row.id: proves_idle("CPU")}, lambda: now[0], minutes=30)
        first = await activity.use([row.id])
        now[0] += 300.0
        assert await activity.use([row.id]) == first


async def test_a_file_that_vanishes_under_a_run_is_a_call_that_failed(tmp_path: Path) -> None:
    activity = Idleness(SampleFile(FileMetrics(str(tmp_path / "gone"))), {}, lambda: NOW, minutes=30)
    with pytest.raises(CallError, match="no such file"):
        await activity.use([NB])


# --- a Prometheus server ---


def prometheus(url: str, spec_of: SpecOf, **changes: Any) -> ScopeSpec:
    metrics = PrometheusMetrics(url, path="/prom", token="s3cret-canary", queries=Queries(step=60.0))
    return spec_of("http://127.0.0.1:9", metrics=replace(metrics, **changes))


def matrix(*values: Any, label: Any = NB) -> dict[str, Any]:
    series = {"metric": {"service_id": label}, "values": list(values)}
    return {"status": "success", "data": {"resultType": "matrix", "result": [series]}}


async def ask(source: Source) -> Book:
    book = Book({NB: 0.0}, window=3600.0, until=NOW, step=60.0)
    await source.read([CPU], book)
    return book


async def test_a_prometheus_server_gets_its_token_and_nothing_of_the_clouds(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf, cloud: Cloud
) -> None:
    body = json.dumps(matrix([NOW - 60, "12.5"], [NOW, "NaN"])).encode()
    async with raw_server(reply(200, body)) as server, asking(prometheus(server.url, spec_of)) as source:
        ((_, usage),) = (await ask(source)).usages(95.0)
    assert usage.levels[CPU].usual == 12.5
    (request,) = server.requests
    head = request.decode().lower()
    assert head.startswith("get /prom/api/v1/query_range?end=")
    assert "authorization: bearer s3cret-canary" in head
    assert cloud.identity.access_key.lower() not in head
    assert "x-project-id" not in head


_STRANGE: Mapping[str, tuple[int, bytes, Meaning]] = {
    "no JSON": (200, b"<html>", Meaning.ODD),
    "an error": (200, b'{"status":"error","error":"query timed out"}', Meaning.ODD),
    "a vector": (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}', Meaning.ODD),
    "no data": (200, b'{"status":"success"}', Meaning.ODD),
    "data of another kind": (200, b'{"status":"success","data":[]}', Meaning.ODD),
    "a series of another kind": (
        200,
        b'{"status":"success","data":{"resultType":"matrix","result":[7]}}',
        Meaning.ODD,
    ),
    "a pair of three": (200, json.dumps(matrix([1, "2", 3])).encode(), Meaning.ODD),
    "a value that is no number": (200, json.dumps(matrix([NOW, "many"])).encode(), Meaning.ODD),
    "a value that is a list": (200, json.dumps(matrix([NOW, []])).encode(), Meaning.ODD),
    "a label of another kind": (200, json.dumps(matrix([NOW, "5"], label=["x"])).encode(), Meaning.ODD),
    "a refusal": (400, b'{"status":"error","errorType":"bad_data","error":"parse error"}', Meaning.INVALID),
    "a wrong token": (401, b"", Meaning.UNAUTHENTICATED),
}


@pytest.mark.parametrize("strange", _STRANGE)
async def test_a_strange_answer_is_an_error_that_speaks_of_usage(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf, strange: str
) -> None:
    status, body, meaning = _STRANGE[strange]
    async with raw_server(reply(status, body)) as server, asking(prometheus(server.url, spec_of)) as source:
        with pytest.raises(CallError) as caught:
            await ask(source)
    error = caught.value
    assert error.meaning is meaning
    assert "usage cannot be read" in error.text
    assert "s3cret" not in str(error)


async def test_the_servers_own_words_are_told(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf
) -> None:
    async with (
        raw_server(reply(400, b'{"status":"error","error":"parse error: unexpected end"}')) as server,
        asking(prometheus(server.url, spec_of)) as source,
    ):
        with pytest.raises(CallError, match="parse error: unexpected end"):
            await ask(source)


@pytest.mark.parametrize("label", [None, 7, "another"])
async def test_a_series_of_nobody_who_was_asked_for_is_ignored(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf, label: Any
) -> None:
    async with (
        raw_server(reply(200, json.dumps(matrix([NOW, "5"], label=label)).encode())) as server,
        asking(prometheus(server.url, spec_of)) as source,
    ):
        ((_, usage),) = (await ask(source)).usages(95.0)
    assert usage.levels == {}


async def test_a_sample_tells_of_the_interval_that_ends_with_it(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf
) -> None:
    body = json.dumps(matrix([NOW - 60, "80"], [NOW, "5"])).encode()
    async with raw_server(reply(200, body)) as server, asking(prometheus(server.url, spec_of)) as source:
        book = Book({NB: NOW - 90}, window=3600.0, until=NOW, step=60.0)
        await source.read([CPU], book)
    ((_, usage),) = book.usages(100.0)
    assert usage.levels[CPU].peak == 5.0  # the other one began before the last resize


async def test_a_server_without_a_token_gets_none(
    raw_server: ServeRaw, reply: Callable[..., Any], spec_of: SpecOf
) -> None:
    async with (
        raw_server(reply(200, json.dumps(matrix()).encode())) as server,
        asking(prometheus(server.url, spec_of, token="", path="")) as source,
    ):
        await ask(source)
    (request,) = server.requests
    assert request.startswith(b"GET /api/v1/query_range?")
    assert b"authorization" not in request.lower()


# --- a file ---

ISO = "2025-11-24T15:59:00Z"  # a minute before NOW


def save(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


async def read(path: Path, text: str | bytes, resources: tuple[Resource, ...] = (CPU,)) -> Mapping[Any, Any]:
    save(path, text)
    wanted = UsageWanted(DAY, 95.0, resources)
    found = await usages(SampleFile(FileMetrics(str(path), 600.0)), wanted, {NB: 0.0}, NOW)
    return found[NB].levels


@pytest.mark.parametrize(
    "text",
    [
        f"notebook,time,resource,value\n{NB},{ISO},cpu,12.5\n",
        f"value,extra,resource,notebook,time\n 12.5 ,x,cpu,{NB},{NOW - 60}\n",
        f"\ufeffnotebook,time,resource,value\r\n\r\n{NB},2025-11-24T23:59:00+08:00,cpu,12.5\r\n",
        f'{{"notebook":"{NB}","time":"{ISO}","resource":"cpu","value":12.5}}\n\n',
        f'{{"notebook":"{NB}","time":{NOW - 60},"resource":"cpu","value":"12.5","more":1}}\n',
        f"notebook,time,resource,value\n{NB},{ISO},disk,1\n{NB},{ISO},cpu,12.5\n{NB},{ISO},cpu,\n",
        f"notebook,time,resource,value\nsomebody,{ISO},cpu,99\n{NB},{ISO},cpu,12.5\n{NB},{ISO},cpu,nan\n",
    ],
)
async def test_a_file_as_csv_or_json_lines(tmp_path: Path, text: str) -> None:
    levels = await read(tmp_path / "usage", text)
    assert levels.keys() == {CPU}
    assert levels[CPU].usual == 12.5


HEAD = "notebook,time,resource,value\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ":1: no column notebook; the first line names notebook,time,resource,value"),
        ("notebook,time,value\n", ":1: no column resource"),
        (HEAD, ": holds no sample of a known resource; there are cpu, memory"),
        (f"{HEAD}{NB},{ISO},cpus,1\n", ": holds no sample of a known resource"),
        (f"{HEAD}{NB},{ISO},cpu,much\n", ":2: could not convert string to float"),
        (f"{HEAD}{NB},yesterday,cpu,1\n", ":2: 'yesterday' is not a time such as"),
        (f"{HEAD}{NB},2026-01-01T00:00:00,cpu,1\n", ":2: 2026-01-01T00:00:00 has no time zone"),
        (f"{HEAD}{NB},{ISO}\n", ":2: resource is missing"),
        (f"{HEAD}{'x' * 5000}\n", ":2: longer than 4096 characters"),
        ('{"notebook":"x"}\n', ":1: time is missing"),
        ('{"a":1}\n[1]\n', ":1: notebook is missing"),
        (f'{{"notebook":"{NB}","time":1,"resource":"cpu","value":1}}\nnonsense\n', ":2: not a JSON object"),
        (b"\xff\xfe\x00", ": not UTF-8 text"),
    ],
)
async def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    path = tmp_path / "usage.csv"
    with pytest.raises(UsageError) as caught:
        await read(path, text)
    assert str(caught.value).startswith(f"{path}{told}")


async def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "none", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(UsageError, match=told):
            await usages(SampleFile(FileMetrics(str(path))), WANTED, {NB: 0.0}, NOW)


def test_sources_do_not_show_tokens() -> None:
    metrics: Metrics = PrometheusMetrics("https://prom.example.com", token="s3cret-canary")
    assert "s3cret" not in repr(metrics)
