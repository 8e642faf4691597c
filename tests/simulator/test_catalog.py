"""Images, flavors, tags, workspaces, and what creation refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet.simulator.cloud import Cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]

NOWHERE = "00000000-0000-4000-a000-000000000000"


def test_images_are_built_in_ones_unless_asked_for(cloud: Cloud, ask: Ask) -> None:
    built_in = ask("GET", "images")[1]
    saved = ask("GET", "images", query="type=DEDICATED")[1]
    assert {row["type"] for row in built_in["data"]} == {"BUILD_IN"}
    assert {row["type"] for row in saved["data"]} == {"DEDICATED"}
    project = cloud.identity.projects[0].id
    own = {image.id for image in cloud.world.images.values() if image.project == project}
    assert {row["id"] for row in saved["data"]} == own


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("name=pytorch2.6", 3),
        ("name=pytorch2.6&name_fuzzy_match=false", 0),
        ("name=conda3-ubuntu22.04&name_fuzzy_match=false", 1),
        ("namespace=nobody", 0),
        ("service_type=TRAIN", 0),
        ("workspace_id=0&limit=2", 2),
    ],
)
def test_image_filters(ask: Ask, query: str, count: int) -> None:
    assert len(ask("GET", "images", query=query)[1]["data"]) == count


def test_saved_images_are_listed_by_workspace_and_without_one_of_the_default_workspace_only(
    cloud: Cloud, ask: Ask
) -> None:
    project, research = cloud.identity.projects[0].id, cloud.world.workspaces[1]["id"]
    own = [image for image in cloud.world.images.values() if image.project == project]
    own[0].workspace_id = research

    def listed(query: str) -> set[str]:
        return {row["id"] for row in ask("GET", "images", query=f"type=DEDICATED{query}")[1]["data"]}

    assert listed("") == listed("&workspace_id=0") == {image.id for image in own[1:]}
    assert listed(f"&workspace_id={research}") == {own[0].id}
    cloud.world.rules = replace(cloud.world.rules, workspace_default="all")
    assert listed("") == {image.id for image in own}


def test_a_saved_image_is_in_the_workspace_that_the_call_names(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    research = cloud.world.workspaces[1]["id"]
    notebook = plain(cloud, Status.RUNNING)
    notebook.workspace_id = research
    path, body = f"notebooks/{notebook.id}/create-image", {"name": "saved", "namespace": "lab"}
    nowhere = ask("POST", path, {**body, "workspace_id": "f" * 32})
    assert (nowhere[0], nowhere[1]["error_code"], notebook.status) == (400, "ModelArts.0102", Status.RUNNING)
    assert ask("POST", path, {**body, "workspace_id": research})[1]["workspace_id"] == research
    other = plain(cloud, Status.RUNNING)
    other.workspace_id = research
    assert ask("POST", f"notebooks/{other.id}/create-image", body)[1]["workspace_id"] == "0"


def test_image_pages_join_up(ask: Ask) -> None:
    whole = [row["id"] for row in ask("GET", "images")[1]["data"]]
    parts = [
        row["id"]
        for offset in range(0, len(whole), 4)
        for row in ask("GET", "images", query=f"limit=4&offset={offset}")[1]["data"]
    ]
    assert parts == whole


def test_images_of_other_projects_do_not_exist(cloud: Cloud, ask: Ask) -> None:
    other = cloud.identity.projects[1].id
    foreign = next(image for image in cloud.world.images.values() if image.project == other)
    for image_id in (foreign.id, NOWHERE):
        assert ask("GET", f"images/{image_id}")[1]["error_code"] == "ModelArts.6797"


def test_flavors_come_twice_with_memory_in_kib(ask: Ask) -> None:
    reply = ask("GET", "notebooks/flavors")[1]
    assert reply["data"] == reply["flavors"]
    by_id = {row["id"]: row for row in reply["data"]}
    assert by_id["modelarts.vm.cpu.2u"]["memory"] == 8 * 1024 * 1024
    assert by_id["modelarts.vm.gpu.a100"]["sold_out"]
    assert "modelarts.pool.cpu.12u" not in by_id


def test_flavor_filters(ask: Ask) -> None:
    reply = ask("GET", "notebooks/flavors", query="category=ASCEND&flavor_type=ASCEND_SNT9B")[1]
    assert [row["id"] for row in reply["data"]] == ["modelarts.vm.ascend.snt9b.1"]
    assert ask("GET", "notebooks/flavors", query="category=TPU")[0] == 400


def test_switchable_flavors_fit_the_notebook(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.RUNNING)
    path = f"notebooks/{notebook.id}/flavors"
    found = {row["id"]: row for row in ask("GET", path)[1]["data"]}
    assert {row["arch"] for row in found.values()} == {"x86_64"}
    assert {row["feature"] for row in found.values()} == {"NOTEBOOK"}
    assert "modelarts.pool.cpu.12u" not in found
    notebook.pool = {"id": "pool-blue", "name": "blue-pool"}
    assert "modelarts.pool.cpu.12u" in {row["id"] for row in ask("GET", path)[1]["flavors"]}


def test_tags_overwrite_ignore_and_answer_204_without_a_body(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    notebook = plain(cloud, Status.RUNNING)
    notebook.tags = {"env": "dev"}
    path = f"notebooks/{notebook.id}/tags"
    added = {"tags": [{"key": "env", "value": "prod"}, {"key": "项目", "value": "a/b"}]}
    assert ask("POST", f"{path}/create", added) == (204, {})
    assert notebook.tags == {"env": "prod", "项目": "a/b"}
    removed = {"tags": [{"key": "env"}, {"key": "not-there"}]}
    assert ask("DELETE", f"{path}/delete", removed) == (204, {})
    assert notebook.tags == {"项目": "a/b"}
    project_tags = ask("GET", "notebooks/tags")[1]["tags"]
    assert {"key": "项目", "values": ["a/b"]} in project_tags


@pytest.mark.parametrize(
    "tags",
    [
        [{"key": ""}],
        [{"key": "k" * 129}],
        [{"key": " outer"}],
        [{"key": "_sys_x"}],
        [{"key": "a,b"}],
        [{"key": "k", "value": "v" * 256}],
        [{"key": "k", "value": 7}],
        [{"key": f"k{number}", "value": ""} for number in range(21)],
    ],
)
def test_bad_tags_are_refused(cloud: Cloud, ask: Ask, plain: Plain, tags: list[Any]) -> None:
    notebook = plain(cloud, Status.RUNNING)
    notebook.tags = {}
    status, reply = ask("POST", f"notebooks/{notebook.id}/tags/create", {"tags": tags})
    assert (status, reply["error_code"]) == (400, "ModelArts.0104")
    assert notebook.tags == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "saved"}, "ModelArts.0107"),
        ({"name": "Upper", "namespace": "lab"}, "ModelArts.0104"),
        ({"name": "i" * 129, "namespace": "lab"}, "ModelArts.0104"),
        ({"name": "saved-", "namespace": "lab"}, "ModelArts.0104"),
        ({"name": "saved", "namespace": "Lab"}, "ModelArts.0104"),
    ],
)
def test_bad_image_names_are_refused_and_the_notebook_goes_on(
    cloud: Cloud, ask: Ask, plain: Plain, body: dict[str, Any], code: str
) -> None:
    notebook = plain(cloud, Status.RUNNING)
    reply = ask("POST", f"notebooks/{notebook.id}/create-image", body)[1]
    assert (reply["error_code"], notebook.status) == (code, Status.RUNNING)


def test_workspaces_are_listed(cloud: Cloud, ask: Ask) -> None:
    reply = ask("GET", "workspaces")[1]
    assert reply["workspaces"][0]["id"] == "0"
    assert reply["total_count"] == 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": None}, "ModelArts.0104"),
        ({"flavor": "modelarts.vm.none"}, "ModelArts.6323"),
        ({"flavor": "modelarts.vm.arm.cpu.4u"}, "ModelArts.6330"),
        ({"flavor": "modelarts.vm.cpu.64u"}, "ModelArts.6716"),
        ({"image_id": NOWHERE}, "ModelArts.6797"),
        ({"volume": {"category": "OBS", "ownership": "MANAGED"}}, "ModelArts.6702"),
        ({"volume": {"category": "OBS", "ownership": "DEDICATED"}}, "ModelArts.6967"),
        ({"volume": {"category": "EVS"}}, "ModelArts.0107"),
        ({"lease": {"duration": 5}}, "ModelArts.6349"),
        ({"colour": "red"}, "ModelArts.0104"),
    ],
)
def test_creation_is_checked_like_an_update(
    cloud: Cloud, ask: Ask, changed: dict[str, Any], code: str
) -> None:
    image = next(i for i in cloud.world.images.values() if i.name.startswith("conda3-ubuntu"))
    body = {
        "name": "new",
        "flavor": "modelarts.vm.cpu.2u",
        "image_id": image.id,
        "volume": {"category": "EVS", "ownership": "MANAGED"},
        **changed,
    }
    count = len(cloud.world.notebooks)
    assert ask("POST", "notebooks", body)[1]["error_code"] == code
    assert len(cloud.world.notebooks) == count


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "nowhere"), ("PATCH", "notebooks"), ("POST", "notebooks/all/up"), ("GET", "")],
)
def test_what_is_not_published_is_the_gateways_404(ask: Ask, method: str, path: str) -> None:
    status, reply = ask(method, path)
    assert (status, reply["error_code"]) == (404, "APIGW.0101")
