"""One scope against the simulated cloud, over real sockets in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from fleet.client.api import ModelArts
from fleet.client.connect import connect
from fleet.client.operations import PAGE_SIZE
from fleet.core.calls import SavedImage
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Slowed
from fleet.core.notebook import LeaseType, Notebook, Status
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, ListMode, PasswordLogin, ScopeSpec, TokenGiven
from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.seed import make_cloud
from fleet.simulator.throttle import Limit

NOW = 1_764_000_000.0
SpecOf = Callable[..., ScopeSpec]

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def opened(
    cloud: Cloud, spec_of: SpecOf, *, told: list[Slowed] | None = None, **changes: Any
) -> AsyncIterator[ModelArts]:
    """The first project of `cloud` as a scope, with `changes` to its spec."""
    loop = asyncio.get_running_loop()
    news = [] if told is None else told

    def wall() -> float:
        return NOW + loop.time()

    async with serve(cloud, clock=wall) as url:
        spec = spec_of(url, **changes)
        async with connect(
            [spec], on_slowed=news.append, monotonic=loop.time, wall=wall, jitter=lambda: 0.5
        ) as scopes:
            yield scopes[spec.name]


def expected(cloud: Cloud, **facts: object) -> set[str]:
    """The ids of the first project's notebooks for which all `facts` hold."""
    project = cloud.identity.projects[0].id
    return {
        row.id
        for row in cloud.world.notebooks.values()
        if row.project == project and all(getattr(row, name) == value for name, value in facts.items())
    }


def one(cloud: Cloud, status: Status) -> str:
    return min(expected(cloud, status=status, feature="NOTEBOOK"))


async def until(api: ModelArts, notebook_id: str, status: Status) -> Notebook:
    for _ in range(600):
        notebook = (await api.look(notebook_id)).notebook
        if notebook.status is status:
            return notebook
        await anyio.sleep(1)
    raise AssertionError(f"{notebook_id} is not {status} after ten minutes")


async def test_a_pass_tells_of_every_page_and_of_how_many(cloud: Cloud, spec_of: SpecOf) -> None:
    told: list[tuple[int, int | None]] = []
    async with opened(cloud, spec_of) as api:
        found = await api.list_pass({"workspace_id": "0"}, lambda *page: told.append(page))
    pages = -(-len(found) // PAGE_SIZE)
    assert pages > 1
    assert told == [(page, pages) for page in range(1, pages + 1)]


async def test_a_pass_finds_every_notebook_of_every_workspace(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of) as api:
        found = await api.list_pass({})
        polled = await api.poll([Status.STOPPED, Status.STOPPING])
    ids = [notebook.id for notebook in found]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)
    assert set(ids) == expected(cloud, feature="NOTEBOOK")
    assert polled == {row.id for row in found if row.status in (Status.STOPPED, Status.STOPPING)}
    assert polled
    assert {notebook.workspace_id for notebook in found} > {"0"}


async def test_features_and_workspaces_are_those_of_the_spec(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of, workspaces=("0",), features=("NOTEBOOK", "DEFAULT")) as api:
        found = {notebook.id for notebook in await api.list_pass({})}
        assert "workspaces" not in api.calls
    assert found == expected(cloud, workspace_id="0")


async def test_filters_go_to_the_server(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of) as api:
        running = await api.list_pass({"status": "RUNNING"})
        in_zero = await api.list_pass({"workspace_id": "0", "feature": "NOTEBOOK"})
    assert {n.id for n in running} == expected(cloud, status=Status.RUNNING, feature="NOTEBOOK")
    assert {n.id for n in in_zero} == expected(cloud, workspace_id="0", feature="NOTEBOOK")


async def test_own_lists_the_callers_notebooks_only(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of, listing=ListMode.OWN) as api:
        await api.list_pass({})
    assert {record.operation for record in cloud.log} == {"ListWorkspaces", "ListNotebooks"}


async def test_a_notebook_goes_through_stop_put_and_start(cloud: Cloud, spec_of: SpecOf) -> None:
    notebook_id = one(cloud, Status.RUNNING)
    async with opened(cloud, spec_of) as api:
        stopped = await api.stop(notebook_id, await api.turn())
        await until(api, notebook_id, Status.STOPPED)
        await api.put(notebook_id, {"description": "grün"}, await api.turn())
        await api.start(notebook_id, {"duration": 7_200_000, "type": "IDLE"}, await api.turn())
        after = await until(api, notebook_id, Status.RUNNING)
        assert after.description == "grün"
        assert after.lease is not None
        assert (after.lease.enable, after.lease.type) == (True, LeaseType.IDLE)
        await api.renew_lease(notebook_id, {"duration": 10_800_000, "type": "TIMING"}, await api.turn())
        look = await api.look(notebook_id)
        assert look.notebook.lease is not None
        assert look.notebook.lease.type is LeaseType.TIMING
        left = look.notebook.lease.left(look.notebook.current_time)
        assert left == pytest.approx(10_800_000, abs=5_000)
        calls = api.calls
    writes = [(r.operation, r.status) for r in cloud.log if r.method != "GET"]
    assert writes == [
        ("StopNotebook", 200),
        ("UpdateNotebook", 200),
        ("StartNotebook", 200),
        ("RenewLease", 200),
    ]
    assert stopped.request_id == next(r.request_id for r in cloud.log if r.operation == "StopNotebook")
    assert {kind: calls[kind] for kind in ("stop", "put", "start", "lease")} == dict.fromkeys(
        ("stop", "put", "start", "lease"), 1
    )


async def test_an_environment_is_saved_and_its_image_found_by_its_whole_name(
    cloud: Cloud, spec_of: SpecOf
) -> None:
    notebook_id, body = one(cloud, Status.RUNNING), {"name": "before-nb", "namespace": "lab"}
    async with opened(cloud, spec_of) as api:
        assert await api.saved(body) == SavedImage("", 0, 1)
        await api.save(notebook_id, {**body, "name": "before-nb-2"}, await api.turn())
        assert (await api.saved(body)).status == ""
        await until(api, notebook_id, Status.RUNNING)
        await api.save(notebook_id, body, await api.turn())
        assert (await api.saved(body)).status == "CREATING"
        await until(api, notebook_id, Status.RUNNING)
        found = await api.saved(body)
        calls = api.calls
    image = next(image for image in cloud.world.images.values() if image.name == "before-nb")
    assert found == SavedImage("ACTIVE", image.update_at, 1)
    assert calls["save"] == 2


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (Status.RUNNING, {"flavor": "modelarts.vm.cpu.2u"}, Meaning.WRONG_STATE),
        (Status.STOPPED, {"image_id": "00000000-0000-4000-8000-000000000000"}, Meaning.INVALID),
    ],
)
async def test_a_refused_put_says_why(
    cloud: Cloud, spec_of: SpecOf, status: Status, body: dict[str, str], meaning: Meaning
) -> None:
    async with opened(cloud, spec_of) as api:
        with pytest.raises(CallError) as caught:
            await api.put(one(cloud, status), body, await api.turn())
    assert caught.value.meaning is meaning
    assert caught.value.request_id == cloud.log[-1].request_id


async def test_a_stop_of_a_stopped_notebook_is_busy_and_a_missing_one_is_gone(
    cloud: Cloud, spec_of: SpecOf
) -> None:
    async with opened(cloud, spec_of) as api:
        with pytest.raises(CallError) as busy:
            await api.stop(one(cloud, Status.STOPPED), await api.turn())
        with pytest.raises(CallError) as gone:
            await api.look("00000000-0000-4000-8000-000000000000")
    assert (busy.value.meaning, gone.value.meaning) == (Meaning.BUSY, Meaning.GONE)


async def test_the_catalogue_is_whole(cloud: Cloud, spec_of: SpecOf) -> None:
    async with opened(cloud, spec_of) as api:
        images, flavors = await api.images(), await api.flavors()
        switchable = await api.switchable_flavors(one(cloud, Status.RUNNING))
        own = next(image for image in images if image.type == "DEDICATED")
        assert (await api.image(own.id)).name == own.name
        workspaces, projects = await api.workspaces(), await api.projects()
    assert {image.type for image in images} == {"BUILD_IN", "DEDICATED"}
    assert len({flavor.id for flavor in flavors}) == len(flavors) > 3
    assert max(flavor.memory_mib for flavor in flavors) < 10_000_000
    assert switchable
    assert "0" in {workspace.id for workspace in workspaces}
    assert cloud.identity.projects[0].id in {project.id for project in projects}


@pytest.mark.parametrize("named", [True, False])
async def test_private_images_of_every_workspace_of_the_scope_are_seen(
    cloud: Cloud, spec_of: SpecOf, named: bool
) -> None:
    research = cloud.world.workspaces[1]["id"]
    theirs = next(image for image in cloud.world.images.values() if image.project is not None)
    theirs.workspace_id = research
    for workspaces, seen in ((("0", research) if named else (), True), (("0",), False)):
        async with opened(cloud, spec_of, workspaces=workspaces) as api:
            assert (theirs.id in {image.id for image in await api.images()}) is seen


async def test_an_environment_is_saved_where_its_notebook_is(cloud: Cloud, spec_of: SpecOf) -> None:
    research = cloud.world.workspaces[1]["id"]
    notebook_id = min(expected(cloud, status=Status.RUNNING, feature="NOTEBOOK", workspace_id=research))
    body = {"name": "before-nb", "namespace": "lab", "workspace_id": research}
    async with opened(cloud, spec_of) as api:
        await api.save(notebook_id, body, await api.turn())
        assert (await api.saved(body)).status == "CREATING"
        assert (await api.saved({**body, "workspace_id": "0"})).status == ""
    image = next(image for image in cloud.world.images.values() if image.name == "before-nb")
    assert image.workspace_id == research


async def test_a_password_serves_as_well_and_is_sent_once(cloud: Cloud, spec_of: SpecOf) -> None:
    person = PasswordLogin(cloud.identity.user, cloud.identity.domain, cloud.identity.password)
    async with opened(cloud, spec_of, credential=person) as api:
        await api.list_pass({})
        await api.projects()
        assert api.calls["login"] == 1


async def test_a_wrong_password_is_sent_once(cloud: Cloud, spec_of: SpecOf) -> None:
    person = PasswordLogin(cloud.identity.user, cloud.identity.domain, "canary")
    errors: list[CallError] = []
    async with opened(cloud, spec_of, credential=person) as api, anyio.create_task_group() as group:

        async def worker() -> None:
            try:
                await api.look(one(cloud, Status.RUNNING))
            except CallError as error:
                errors.append(error)

        for _ in range(50):
            group.start_soon(worker)
    assert {error.meaning for error in errors} == {Meaning.UNAUTHENTICATED}
    assert len(cloud.log) == 1
    assert "canary" not in f"{errors}{[str(error) for error in errors]}"


async def test_tokens_that_end_early_are_replaced_without_a_failed_call(spec_of: SpecOf) -> None:
    cloud = make_cloud(notebooks=400, seed=11, now=NOW, token_seconds=600.0)
    person = PasswordLogin(cloud.identity.user, cloud.identity.domain, cloud.identity.password)
    async with opened(cloud, spec_of, credential=person) as api:
        for _ in range(10):
            await api.look(one(cloud, Status.RUNNING))
            await anyio.sleep(300)
        assert 4 <= api.calls["login"] <= 6
    assert {record.status for record in cloud.log} == {200, 201}


async def test_a_given_token_serves_until_it_ends(cloud: Cloud, spec_of: SpecOf) -> None:
    text, _ = cloud.access.issue_token(cloud.identity.projects[0].id, NOW)
    async with opened(cloud, spec_of, credential=TokenGiven(text)) as api:
        await api.look(one(cloud, Status.RUNNING))
        await anyio.sleep(86_400)
        with pytest.raises(CallError, match="fetch a new one") as caught:
            await api.look(one(cloud, Status.RUNNING))
    assert caught.value.meaning is Meaning.UNAUTHENTICATED


async def test_a_temporary_key_serves(cloud: Cloud, spec_of: SpecOf) -> None:
    key = cloud.access.issue_key(3600, NOW)
    assert key.security_token
    keys = AkSkKeys(key.access_key, key.secret_key, key.security_token)
    async with opened(cloud, spec_of, credential=keys) as api:
        assert (await api.look(one(cloud, Status.RUNNING))).notebook.status is Status.RUNNING


async def test_a_wrong_secret_key_is_tried_once_by_fifty_workers(cloud: Cloud, spec_of: SpecOf) -> None:
    keys = AkSkKeys(cloud.identity.access_key, "canary")
    errors: list[str] = []
    async with opened(cloud, spec_of, credential=keys) as api, anyio.create_task_group() as group:

        async def worker() -> None:
            try:
                await api.poll([Status.STARTING])
            except CallError as error:
                errors.append(f"{error}{error!r}")

        for _ in range(50):
            group.start_soon(worker)
    assert len(errors) == 50
    assert len(cloud.log) == 1
    assert not any("canary" in error for error in errors)


@pytest.mark.row(21)
@pytest.mark.security("clock")
async def test_a_wrong_clock_is_told_with_its_error(cloud: Cloud, spec_of: SpecOf) -> None:
    loop = asyncio.get_running_loop()
    async with (
        serve(cloud, clock=lambda: NOW) as url,
        connect([spec_of(url)], monotonic=loop.time, wall=lambda: NOW + 7200) as scopes,
    ):
        with pytest.raises(CallError, match="set this machine's clock"):
            await scopes["lab-a"].look(one(cloud, Status.RUNNING))


@pytest.mark.row(2)
async def test_a_hidden_limit_is_learned_and_then_kept(spec_of: SpecOf) -> None:
    limits = [Limit(limit=60, seconds=60, calls="reads"), Limit(limit=10, seconds=60, calls="writes")]
    cloud = make_cloud(notebooks=400, seed=11, now=NOW, throttle=limits)
    told: list[Slowed] = []
    async with opened(cloud, spec_of, told=told, rate=Rate(100, 1.0), workspaces=("0",)) as api:
        notebook_id = one(cloud, Status.STOPPED)
        for number in range(15):
            while True:
                with suppress(CallError):  # refused: a write is only sent again by who looks first
                    await api.put(notebook_id, {"description": f"{number}"}, await api.turn())
                    break
        for _ in range(200):
            await api.look(notebook_id)
    refused = [record for record in cloud.log if record.status == 429]
    assert 1 <= len(refused) <= 4
    assert sum(record.applied for record in cloud.log) == 15
    assert {note.text for note in told} == {
        "keeping to 60/min by policy user",
        "keeping to 10/min by policy user",
    }
    assert sorted(note.key.rpartition(", ")[2] for note in told) == ["reads", "writes"]


async def test_workspaces_that_may_not_be_listed_are_asked_for(cloud: Cloud, spec_of: SpecOf) -> None:
    forbidden = b"HTTP/1.1 403 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(forbidden)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect([spec_of(url)], monotonic=asyncio.get_running_loop().time) as scopes:
            with pytest.raises(CallError, match=r'workspaces of scope lab-a; .* workspaces = \["0"\]'):
                await scopes["lab-a"].list_pass({})
