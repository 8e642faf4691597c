"""Requests: the right path, query and body, and no id that could lead anywhere else."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.client import operations
from fleet.client.operations import FILTERS, Operations, require_project_id, to_json
from fleet.client.wire import ITEM_CAP, PAGE_CAP, Kind, Request
from fleet.core.errors import UsageError
from fleet.core.patch import InvalidField
from fleet.core.scope import ListMode, PasswordLogin

PROJECT = "0123456789abcdef0123456789abcdef"
ID = "f9937afa-4451-42db-a76b-72d624749f66"
ROOT = f"/v1/{PROJECT}"
CALLS = Operations(PROJECT)


@pytest.mark.parametrize(
    ("request_", "line", "operation", "kind", "cap"),
    [
        (CALLS.show(ID), f"GET {ROOT}/notebooks/{ID}", "get", Kind.READ, ITEM_CAP),
        (CALLS.stop(ID), f"POST {ROOT}/notebooks/{ID}/stop", "stop", Kind.WRITE, ITEM_CAP),
        (
            CALLS.start(ID, {"duration": -1, "type": "TIMING"}),
            f"POST {ROOT}/notebooks/{ID}/start?duration=-1&type=TIMING",
            "start",
            Kind.WRITE,
            ITEM_CAP,
        ),
        (
            CALLS.list_flavors("MANAGED"),
            f"GET {ROOT}/notebooks/flavors?type=MANAGED",
            "flavors",
            Kind.READ,
            PAGE_CAP,
        ),
        (CALLS.show_feature(), f"GET {ROOT}/authoring/features/NOTEBOOK", "quota", Kind.READ, ITEM_CAP),
        (CALLS.switchable_flavors(ID), f"GET {ROOT}/notebooks/{ID}/flavors", "flavors", Kind.READ, PAGE_CAP),
        (
            CALLS.list_images({"type": "DEDICATED", "workspace_id": "0"}, 200),
            f"GET {ROOT}/images?limit=200&offset=200&type=DEDICATED&workspace_id=0",
            "images",
            Kind.READ,
            PAGE_CAP,
        ),
        (
            CALLS.find_image({"name": "before-nb", "namespace": "lab", "workspace_id": "0"}),
            (
                f"GET {ROOT}/images?limit=200&name=before-nb&name_fuzzy_match=false&namespace=lab&offset=0"
                "&type=DEDICATED&workspace_id=0"
            ),
            "images",
            Kind.READ,
            PAGE_CAP,
        ),
        (CALLS.show_image(ID), f"GET {ROOT}/images/{ID}", "images", Kind.READ, ITEM_CAP),
        (
            CALLS.list_workspaces(50),
            f"GET {ROOT}/workspaces?limit=50&offset=50",
            "workspaces",
            Kind.READ,
            PAGE_CAP,
        ),
        (
            operations.list_projects("cn-north-4"),
            "GET /v3/projects?name=cn-north-4",
            "projects",
            Kind.LOGIN,
            ITEM_CAP,
        ),
    ],
)
def test_a_call_without_body(request_: Request, line: str, operation: str, kind: Kind, cap: int) -> None:
    assert f"{request_.method} {request_.target}" == line
    assert (request_.operation, request_.kind, request_.cap, request_.body) == (operation, kind, cap, b"")


def test_a_save_names_the_image_in_its_body() -> None:
    request = CALLS.create_image(ID, {"name": "before-nb", "namespace": "lab"})
    assert (request.method, request.target) == ("POST", f"{ROOT}/notebooks/{ID}/create-image")
    assert (request.operation, request.kind) == ("save", Kind.WRITE)
    assert json.loads(request.body) == {"name": "before-nb", "namespace": "lab"}


@pytest.mark.parametrize(("mode", "tail"), [(ListMode.ALL, "/all"), (ListMode.OWN, "")])
def test_a_page_of_notebooks(mode: ListMode, tail: str) -> None:
    request = CALLS.list_notebooks(mode, {"workspace_id": "0", "tags": "a|b"}, 100)
    assert request.path == f"{ROOT}/notebooks{tail}"
    assert parse_qs(request.query) == {
        "limit": ["50"],
        "offset": ["100"],
        "workspace_id": ["0"],
        "tags": ["a|b"],
    }


def test_a_filter_that_does_not_exist_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="workspaceId"):
        CALLS.list_notebooks(ListMode.ALL, {"workspaceId": "0"}, 0)


@pytest.mark.security("ids")
@given(st.dictionaries(st.sampled_from(sorted(FILTERS)), st.text(st.characters(exclude_categories=["Cs"]))))
def test_filter_values_stay_values(filters: dict[str, str]) -> None:
    query = CALLS.list_notebooks(ListMode.ALL, filters, 0).query
    found = parse_qs(query, keep_blank_values=True, strict_parsing=True)
    assert found == {**{k: [v] for k, v in filters.items()}, "limit": ["50"], "offset": ["0"]}
    assert query.isascii()


def test_a_put_holds_exactly_the_body() -> None:
    body = {"description": "ü", "endpoints": [{"service": "SSH", "allowed_access_ips": ["203.0.113.7"]}]}
    request = CALLS.update(ID, body)
    assert (request.method, request.path, request.kind) == ("PUT", f"{ROOT}/notebooks/{ID}", Kind.WRITE)
    assert json.loads(request.body) == body


@pytest.mark.parametrize("addresses", [[], ["0.0.0.0/0"], ["10.0.0.1"], [f"203.0.113.{n}" for n in range(6)]])
def test_a_put_never_opens_a_notebook_to_the_world(addresses: list[str]) -> None:
    with pytest.raises(InvalidField, match="allowed_access_ips"):
        CALLS.update(ID, {"endpoints": [{"service": "SSH", "allowed_access_ips": addresses}]})


def test_a_lease_is_renewed_by_the_body() -> None:
    request = CALLS.renew_lease(ID, {"duration": 3600000, "type": "IDLE"})
    assert (request.method, request.path, request.query) == ("PATCH", f"{ROOT}/notebooks/{ID}/lease", "")
    assert json.loads(request.body) == {"duration": 3600000, "type": "IDLE"}


def test_a_login_is_scoped_to_the_project_and_leaves_the_catalog_out() -> None:
    request = operations.login(PasswordLogin("ana", "lab", "canary"), PROJECT)
    auth = json.loads(request.body)["auth"]
    assert (request.method, request.target) == ("POST", "/v3/auth/tokens?nocatalog=true")
    assert request.kind is Kind.LOGIN
    assert auth["scope"] == {"project": {"id": PROJECT}}
    user = auth["identity"]["password"]["user"]
    assert user == {"name": "ana", "password": "canary", "domain": {"name": "lab"}}
    assert "canary" not in repr(request)


@pytest.mark.row(42)
@pytest.mark.security("ids")
@given(
    st.text()
    | st.sampled_from(["../../admin", "a/b", "a?b", "a#b", f"{ID}/", f" {ID}", f"{ID}\n", "all", "%2e%2e"])
)
def test_no_id_leads_anywhere_else(text: str) -> None:
    for call in (CALLS.show, CALLS.stop, CALLS.switchable_flavors, CALLS.show_image):
        with pytest.raises(InvalidField, match="is not a UUID"):
            call(text)
    with pytest.raises(UsageError, match="32 hexadecimal digits"):
        require_project_id(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON))
def test_a_body_says_what_it_was_made_of(body: dict[str, Any]) -> None:
    assert json.loads(to_json(body)) == body


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_know_is_not_sent_as_null(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": [number]})
