"""Lists: paging, filters, order, and the traps of the defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from fleet.simulator.cloud import Cloud
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.world import Notebook

Ask = Callable[..., tuple[int, Any]]
Test = Callable[[Notebook], bool]


def everything(ask: Ask, path: str, query: str) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    rows: list[dict[str, Any]] = []
    while True:
        status, page = ask("GET", path, query=f"{query}&limit=10&offset={len(rows)}")
        assert status == 200
        assert page["current"] == len(rows) // 10
        assert page["pages"] == -(-page["total"] // 10)
        rows += page["data"]
        if len(page["data"]) < 10:
            assert len(rows) == page["total"]
            return rows


def mine(cloud: Cloud, test: Test = lambda row: True) -> set[str]:
    """Ids in the caller's first project by feature NOTEBOOK, workspace 0 and the test."""
    return {
        row.id
        for row in cloud.world.notebooks.values()
        if row.project == cloud.identity.projects[0].id
        and (row.feature, row.workspace_id) == ("NOTEBOOK", "0")
        and test(row)
    }


def test_pages_show_every_notebook_once_newest_first(cloud: Cloud, ask: Ask) -> None:
    rows = everything(ask, "notebooks/all", "")
    assert {row["id"] for row in rows} == mine(cloud)
    assert len(rows) == len(mine(cloud))
    made = [row["create_at"] for row in rows]
    assert made == sorted(made, reverse=True)
    backwards = everything(ask, "notebooks/all", "sort_dir=ASC")
    assert [row["id"] for row in backwards] == [row["id"] for row in reversed(rows)]


def test_the_default_page_has_ten_rows_and_is_page_zero(ask: Ask) -> None:
    page = ask("GET", "notebooks/all")[1]
    assert (page["current"], page["size"], len(page["data"])) == (0, 10, 10)


@pytest.mark.parametrize("query", ["limit=1", "limit=11", "limit=100", "limit=0", "limit=ten"])
def test_other_page_sizes_are_refused(ask: Ask, query: str) -> None:
    status, reply = ask("GET", "notebooks/all", query=query)
    assert (status, reply["error_code"]) == (400, "ModelArts.0104")


def test_own_lists_the_callers_and_all_lists_everybodys(cloud: Cloud, ask: Ask) -> None:
    caller = cloud.identity.user_id
    rows = everything(ask, "notebooks", "")
    assert {row["id"] for row in rows} == mine(cloud, lambda row: row.user.id == caller)


def test_feature_and_workspace_hide_notebooks_unless_asked_for(cloud: Cloud, ask: Ask) -> None:
    project = cloud.identity.projects[0].id
    rows = [row for row in cloud.world.notebooks.values() if row.project == project]
    other = cloud.world.workspaces[1]["id"]
    for query, feature, workspace in (
        (f"workspace_id={other}", "NOTEBOOK", other),
        (f"workspaceId={other}", "NOTEBOOK", other),
        ("feature=DEFAULT", "DEFAULT", "0"),
    ):
        found = {row["id"] for row in everything(ask, "notebooks/all", query)}
        assert found == {row.id for row in rows if (row.feature, row.workspace_id) == (feature, workspace)}


def sample(cloud: Cloud) -> Notebook:
    """A notebook with everything that can be filtered for."""
    return next(
        row
        for row in cloud.world.notebooks.values()
        if row.id in mine(cloud) and row.pool and row.tags and row.description
    )


FILTERS: dict[str, Callable[[Notebook], tuple[str, Test]]] = {
    "status": lambda s: (s.status.value, lambda row: row.status == s.status),
    "name": lambda s: (s.name[3:9].upper(), lambda row: s.name[3:9] in row.name),
    "description": lambda s: (s.description[:4], lambda row: s.description[:4] in row.description),
    "flavor": lambda s: (s.flavor[-4:], lambda row: s.flavor[-4:] in row.flavor),
    "image_id": lambda s: (s.image.id, lambda row: row.image is s.image),
    "id": lambda s: (s.id, lambda row: row is s),
    "owner": lambda s: (s.user.id, lambda row: row.user.id == s.user.id),
    "username": lambda s: (s.user.name[:3], lambda row: s.user.name[:3] in row.user.name),
    "pool_id": lambda s: (s.pool["id"] if s.pool else "", lambda row: row.pool == s.pool),
    "pool_name": lambda s: ("-pool", lambda row: row.pool is not None),
    "swr_path": lambda s: (s.image.name, lambda row: row.image.name == s.image.name),
    "ip": lambda s: (s.ip, lambda row: row.ip == s.ip),
    "billing": lambda s: (
        "COMPUTE",
        lambda row: row.status in ("RUNNING", "STARTING", "SNAPSHOTTING"),
    ),
    "tags": lambda s: (
        ",".join(f"{key}|{value}" for key, value in s.tags.items()),
        lambda row: s.tags.items() <= row.tags.items(),
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_shows_exactly_what_it_says(cloud: Cloud, ask: Ask, name: str) -> None:
    wanted, test = FILTERS[name](sample(cloud))
    found = {row["id"] for row in everything(ask, "notebooks/all", f"{name}={quote(wanted)}")}
    assert found == mine(cloud, test)
    assert found


def test_filters_are_joined_by_and(cloud: Cloud, ask: Ask) -> None:
    found = {row["id"] for row in everything(ask, "notebooks/all", "status=RUNNING&name=train")}
    assert found == mine(cloud, lambda row: row.status == "RUNNING" and "train" in row.name)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=ASLEEP", "ModelArts.0104"),
        ("feature=OTHER", "ModelArts.0104"),
        ("id=7", "ModelArts.0104"),
        ("image_id=pytorch", "ModelArts.0104"),
        ("owner=me", "ModelArts.0104"),
        ("pool_id=Big", "ModelArts.0104"),
        ("tags=,a|b", "ModelArts.0104"),
        ("tags=a||b", "ModelArts.0104"),
        ("tags=a|b,", "ModelArts.0104"),
        (f"name={'n' * 129}", "ModelArts.0104"),
        ("offset=-1", "ModelArts.0104"),
        ("sort_dir=UP", "ModelArts.0104"),
        ("sort_key=colour", "ModelArts.6303"),
    ],
)
def test_malformed_filters_are_refused(ask: Ask, query: str, code: str) -> None:
    status, reply = ask("GET", "notebooks/all", query=query)
    assert (status, reply["error_code"]) == (400, code)


def test_sort_keys_order_the_list(ask: Ask) -> None:
    names = [row["name"] for row in everything(ask, "notebooks/all", "sort_key=name&sort_dir=ASC")]
    assert names == sorted(names)


def test_an_offset_past_the_end_is_an_empty_page(ask: Ask) -> None:
    page = ask("GET", "notebooks/all", query="offset=5000")[1]
    assert page["data"] == []
    assert page["total"] > 0


def test_created_and_deleted_notebooks_show_at_once(cloud: Cloud, ask: Ask, now: float) -> None:
    before = ask("GET", "notebooks/all")[1]["total"]
    image = next(i for i in cloud.world.images.values() if i.name.startswith("conda3-ubuntu"))
    body = {
        "name": "new",
        "flavor": "modelarts.vm.cpu.2u",
        "image_id": image.id,
        "volume": {"category": "evs", "ownership": "managed"},
    }
    status, made = ask("POST", "notebooks", body)
    assert (status, made["status"], made["volume"]["capacity"]) == (200, "CREATING", 5)
    page = ask("GET", "notebooks/all")[1]
    assert (page["total"], page["data"][0]["id"]) == (before + 1, made["id"])
    later = now + 1800
    assert ask("GET", f"notebooks/{made['id']}", at=later - 5)[1]["status"] == "RUNNING"
    ask("DELETE", f"notebooks/{made['id']}", at=later)
    page = ask("GET", "notebooks/all", query=f"id={made['id']}", at=later + 600)[1]
    assert page["total"] == 0


def test_the_open_questions_of_lists_are_rules(caller_of: Callable[[Cloud], Ask], now: float) -> None:
    rules = Rules(
        workspace_default="all",
        list_own="everyone",
        list_limit="round",
        list_order="update_at",
        tags_filter="or",
    )
    cloud = make_cloud(notebooks=120, seed=7, now=now, rules=rules)
    ask, project = caller_of(cloud), cloud.identity.projects[0].id
    page = ask("GET", "notebooks", query="limit=11")[1]
    changed = [row["update_at"] for row in page["data"]]
    assert page["size"] == 20
    assert changed == sorted(changed, reverse=True)
    rows = [
        row for row in cloud.world.notebooks.values() if (row.project, row.feature) == (project, "NOTEBOOK")
    ]
    assert page["total"] == len(rows)
    tagged = ask("GET", "notebooks", query="tags=team|vision,keep|true")[1]["total"]
    assert tagged == sum(row.tags.get("team") == "vision" or "keep" in row.tags for row in rows)
