"""The vendor's own client against the simulator: it must find the service that it was written for.

A second reading of the API, by those who make it: signatures, paths, parameters, bodies and errors
are all the SDK's. Nothing in the simulator knows that this client exists.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmodelarts.v1 import (
    CreateNotebookTagsRequest,
    CreateTmsTagsRequest,
    DeleteNotebookTagsRequest,
    DeleteTmsTagsRequest,
    LeaseReq,
    ListAllNotebooksRequest,
    ListFeaturesRequest,
    ListFlavorsRequest,
    ListImageRequest,
    ListNotebooksRequest,
    ModelArtsClient,
    NotebookUpdateRequest,
    RenewLeaseRequest,
    ShowImageRequest,
    ShowLeaseRequest,
    ShowNotebookRequest,
    ShowNotebookTagsRequest,
    ShowSwitchableFlavorsRequest,
    StartNotebookRequest,
    StopNotebookRequest,
    TmsTag,
    TmsTagForDeletion,
    UpdateNotebookRequest,
)

from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

HOUR_MS = 3_600_000
NOWHERE = "00000000-0000-4000-a000-000000000000"


class HandClock:
    """Wall seconds that move only when told to; they start at the real time, which the SDK signs."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ServerThread:
    """A cloud on a socket, in a thread and loop of its own, because the SDK blocks."""

    def __init__(self, cloud: Cloud, clock: HandClock) -> None:
        self.url = ""
        self._cloud = cloud
        self._clock = clock
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self._cloud, clock=self._clock) as self.url:
            self._ready.set()
            await self._done.wait()

    def __enter__(self) -> str:
        self._thread.start()
        assert self._ready.wait(10)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cloud(clock: HandClock) -> Cloud:
    """Stops and starts take seconds, so that the clock stays near the real one (15 minutes)."""
    return make_cloud(notebooks=80, seed=11, now=clock(), time_scale=100)


@pytest.fixture
def client(cloud: Cloud, clock: HandClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK's client for the first project. It keeps a file in the home folder: not in ours."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with ServerThread(cloud, clock) as url:
        identity = cloud.identity
        credentials = BasicCredentials(identity.access_key, identity.secret_key, identity.projects[0].id)
        builder = ModelArtsClient.new_builder().with_credentials(credentials)
        yield builder.with_endpoints([url]).build()


def a_notebook(cloud: Cloud, status: Status, **wanted: Any) -> Notebook:
    """Some EVS notebook of the client's project in this status."""
    for notebook in cloud.world.notebooks.values():
        if (
            notebook.project == cloud.identity.projects[0].id
            and notebook.status is status
            and notebook.volume["category"] == "EVS"
            and all(getattr(notebook, name) == value for name, value in wanted.items())
        ):
            return notebook
    raise LookupError(f"the seeded fleet has no {status} notebook with {wanted}")


def raw(response: Any) -> dict[str, Any]:
    """The reply as it came over the wire: the SDK drops fields that its models do not know."""
    value: dict[str, Any] = json.loads(response.raw_content)
    return value


def test_lists_all_pages_of_a_project(client: Any, cloud: Cloud) -> None:
    found: dict[str, Any] = {}
    while True:
        request = ListAllNotebooksRequest(limit=10, offset=len(found))
        response = client.list_all_notebooks(request)
        found |= {row.id: row for row in response.data}
        if len(response.data) < 10:
            break
    expected = {
        row.id: row.name
        for row in cloud.world.notebooks.values()
        if row.project == cloud.identity.projects[0].id
        and row.workspace_id == "0"
        and row.feature == "NOTEBOOK"
    }
    assert {row_id: row.name for row_id, row in found.items()} == expected
    assert response.total == len(expected)


def test_lists_own_notebooks_only(client: Any, cloud: Cloud) -> None:
    rows = client.list_notebooks(ListNotebooksRequest(limit=50)).data
    assert rows
    assert {row.user.id for row in rows} == {cloud.identity.user_id}


def test_filters_that_need_encoding_survive_the_signature(client: Any, cloud: Cloud) -> None:
    request = ListAllNotebooksRequest(limit=50, tags="team|vision,env|prod", name="vision-")
    rows = client.list_all_notebooks(request).data
    assert rows
    for row in rows:
        assert {"team": "vision", "env": "prod"}.items() <= {t.key: t.value for t in row.tags}.items()


def test_shows_a_notebook(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    shown = client.show_notebook(ShowNotebookRequest(id=notebook.id))
    assert (shown.name, shown.status, shown.flavor) == (notebook.name, "RUNNING", notebook.flavor)
    assert shown.image.id == notebook.image.id
    assert shown.lease.duration == notebook.lease.duration


def test_updates_a_stopped_notebook(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.STOPPED)
    body = NotebookUpdateRequest(name="renamed", description="by the SDK")
    reply = client.update_notebook(UpdateNotebookRequest(id=notebook.id, body=body))
    assert (reply.name, reply.description) == ("renamed", "by the SDK")
    assert notebook.name == "renamed"


def test_updates_addresses_by_a_plain_body(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.STOPPED)
    endpoint = {
        "service": "SSH",
        "key_pair_names": ["kp-ana"],
        "allowed_access_ips": ["203.0.113.7", "203.0.113.8"],
    }
    request = UpdateNotebookRequest(id=notebook.id, body={"endpoints": [endpoint]})
    reply = raw(client.update_notebook(request))
    assert reply["endpoints"][0]["allowed_access_ips"] == ["203.0.113.7", "203.0.113.8"]
    shown = raw(client.show_notebook(ShowNotebookRequest(id=notebook.id)))
    assert shown["endpoints"][0]["key_pair_names"] == ["kp-ana"]


def test_stops_and_starts(client: Any, cloud: Cloud, clock: HandClock) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    assert client.stop_notebook(StopNotebookRequest(id=notebook.id)).status == "STOPPING"
    clock.advance(60)
    assert client.show_notebook(ShowNotebookRequest(id=notebook.id)).status == "STOPPED"
    request = StartNotebookRequest(id=notebook.id, duration=2 * HOUR_MS, type="IDLE")
    assert client.start_notebook(request).status == "STARTING"
    started = clock()
    clock.advance(60)
    shown = client.show_notebook(ShowNotebookRequest(id=notebook.id))
    assert shown.status == "RUNNING"
    assert (shown.lease.type, shown.lease.enable) == ("IDLE", True)
    ends = shown.lease.create_at + shown.lease.duration
    assert ends == pytest.approx(started * 1000 + 2 * HOUR_MS, abs=1)


def test_shows_and_renews_a_lease(client: Any, cloud: Cloud, clock: HandClock) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    body = LeaseReq(duration=5 * HOUR_MS, type="TIMING")
    client.renew_lease(RenewLeaseRequest(id=notebook.id, body=body))
    lease = client.show_lease(ShowLeaseRequest(id=notebook.id))
    left = lease.create_at + lease.duration - clock() * 1000
    assert left == pytest.approx(5 * HOUR_MS, abs=1)


def test_lists_flavors_twice_in_one_reply(client: Any) -> None:
    reply = client.list_flavors(ListFlavorsRequest(category="CPU"))
    assert reply.flavors
    assert [row.id for row in reply.flavors] == [row.id for row in reply.data]
    by_id = {row.id: row for row in reply.flavors}
    assert by_id["modelarts.vm.cpu.2u"].memory == 8_388_608


def test_switchable_flavors_fit_the_image(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    reply = client.show_switchable_flavors(ShowSwitchableFlavorsRequest(id=notebook.id))
    assert reply.data
    assert {row.arch for row in reply.data} == {notebook.image.arch}


def test_lists_images_by_type_and_shows_one(client: Any) -> None:
    built_in = client.list_image(ListImageRequest(name="pytorch2.6")).data
    saved = client.list_image(ListImageRequest(type="DEDICATED")).data
    assert {row.type for row in built_in} == {"BUILD_IN"}
    assert {row.status for row in saved} >= {"ACTIVE", "CREATING", "ERROR"}
    shown = client.show_image(ShowImageRequest(id=built_in[0].id))
    assert shown.name == built_in[0].name
    assert shown.support_res_categories == ["GPU", "CPU"]


def test_shows_the_quota_of_instances_and_its_use(client: Any, cloud: Cloud) -> None:
    used = sum(
        row.project == cloud.identity.projects[0].id and row.pool is None and row.feature == "NOTEBOOK"
        for row in cloud.world.notebooks.values()
    )
    told = client.list_features(ListFeaturesRequest(feature="NOTEBOOK"))
    assert (told.enabled, told.name, told.used, told.user_id) == (
        True,
        "NOTEBOOK",
        used,
        cloud.identity.user_id,
    )
    assert told.quota > used > 0


def test_creates_and_deletes_tags(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    added = CreateTmsTagsRequest(tags=[TmsTag(key="cost", value="lab/7")])
    client.create_notebook_tags(CreateNotebookTagsRequest(resource_id=notebook.id, body=added))
    assert notebook.tags["cost"] == "lab/7"
    tags = {tag.key: tag.values for tag in client.show_notebook_tags(ShowNotebookTagsRequest()).tags}
    assert tags["cost"] == ["lab/7"]
    removed = DeleteTmsTagsRequest(tags=[TmsTagForDeletion(key="cost")])
    client.delete_notebook_tags(DeleteNotebookTagsRequest(resource_id=notebook.id, body=removed))
    assert "cost" not in notebook.tags


def test_a_busy_notebook_is_6357(client: Any, cloud: Cloud) -> None:
    notebook = a_notebook(cloud, Status.RUNNING)
    with pytest.raises(ClientRequestException) as caught:
        client.start_notebook(StartNotebookRequest(id=notebook.id))
    assert (caught.value.status_code, caught.value.error_code) == (400, "ModelArts.6357")
    assert notebook.name in caught.value.error_msg
    assert caught.value.request_id == cloud.log[-1].request_id


def test_a_missing_notebook_is_6309_under_400(client: Any) -> None:
    with pytest.raises(ClientRequestException) as caught:
        client.show_notebook(ShowNotebookRequest(id=NOWHERE))
    assert (caught.value.status_code, caught.value.error_code) == (400, "ModelArts.6309")


def test_a_wrong_secret_key_is_refused(client: Any, cloud: Cloud) -> None:
    client.get_credentials().sk = "wrong"
    with pytest.raises(ClientRequestException) as caught:
        client.list_notebooks(ListNotebooksRequest())
    assert (caught.value.status_code, caught.value.error_code) == (401, "APIGW.0301")
