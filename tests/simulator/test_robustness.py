"""Whatever is sent, the cloud answers with a status of its own: it never breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulator.messages import Reply, Request
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status

NOW = 1_764_000_000.0
CLOUD = make_cloud(notebooks=60, seed=6, now=NOW, projects=1)
PROJECT = CLOUD.identity.projects[0].id
TOKEN, _ = CLOUD.access.issue_token(PROJECT, NOW)
STOPPED = next(row for row in CLOUD.world.notebooks.values() if row.status is Status.STOPPED)
STOPPED.pool = {"id": "pool-blue", "name": "blue-pool"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SPEC_NUMBERS = st.floats() | st.integers()


def a_body_for(*fields: str) -> st.SearchStrategy[dict[str, Any]]:
    """A body of known fields with any values."""
    return st.dictionaries(st.sampled_from(fields), JSON, max_size=3)


BODIES = {
    "PUT notebooks/{id}": a_body_for(
        "name",
        "description",
        "flavor",
        "image_id",
        "storage_new_size",
        "endpoints",
        "hooks",
        "affinity",
        "dew_secret_name",
    )
    | st.fixed_dictionaries(
        {
            "custom_spec": st.fixed_dictionaries(
                {},
                optional={"cpu": SPEC_NUMBERS, "memory": SPEC_NUMBERS, "arch": JSON, "gpu": JSON},
            )
        }
    ),
    "PATCH notebooks/{id}/lease": a_body_for("duration", "type"),
    "POST notebooks": a_body_for("name", "flavor", "image_id", "volume", "lease", "endpoints"),
    "POST notebooks/{id}/create-image": a_body_for("name", "namespace", "tag"),
    "POST notebooks/{id}/tags/create": a_body_for("tags"),
    "DELETE notebooks/{id}/tags/delete": a_body_for("tags"),
}


def send(method: str, path: str, query: str = "", body: bytes = b"") -> Reply:
    headers = {"x-auth-token": TOKEN}
    return CLOUD.handle(Request(method, path, query, headers, body), NOW)


@pytest.mark.parametrize("call", BODIES)
@given(data=st.data())
def test_any_body_gets_an_answer_that_is_json(call: str, data: st.DataObject) -> None:
    method, path = call.format(id=STOPPED.id).split(" ")
    body = json.dumps(data.draw(BODIES[call])).encode()
    reply = send(method, f"/v1/{PROJECT}/{path}", body=body)
    assert reply.status in (200, 204, 400)
    assert isinstance(json.loads(reply.body or b"{}"), dict)
    assert json.loads(CLOUD.log[-1].to_line().encode())["status"] == reply.status


@given(st.binary(max_size=40))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    assert send("PUT", f"/v1/{PROJECT}/notebooks/{STOPPED.id}", body=body).status in (200, 400)


@given(
    st.dictionaries(
        st.sampled_from(
            ("limit", "offset", "status", "tags", "sort_key", "sort_dir", "name", "feature", "id")
        ),
        st.text(max_size=12) | st.integers().map(str) | st.just("9" * 5000),
    )
)
def test_any_query_gets_an_answer(query: dict[str, str]) -> None:
    reply = send("GET", f"/v1/{PROJECT}/notebooks/all", urlencode(query, errors="replace"))
    assert reply.status in (200, 400)
    start = f"/v1/{PROJECT}/notebooks/{STOPPED.id}/start"
    assert send("POST", start, urlencode({"duration": "9" * 5000})).status == 400


@given(JSON, st.sampled_from(["/v3/auth/tokens", "/v3.0/OS-CREDENTIAL/securitytokens"]))
def test_any_login_gets_an_answer(value: object, path: str) -> None:
    shapes: tuple[Callable[[object], object], ...] = (
        lambda inner: inner,
        lambda inner: {"auth": inner},
        lambda inner: {"auth": {"identity": inner}},
        lambda inner: {"auth": {"identity": {"methods": ["password"], "token": inner}}},
        lambda inner: {"auth": {"identity": {"methods": ["password"], "password": inner}}},
    )
    for shape in shapes:
        body = json.dumps(shape(value)).encode()
        assert send("POST", path, body=body).status in (201, 400, 401)


@given(st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE"]), st.text(max_size=30))
def test_any_path_gets_an_answer(method: str, path: str) -> None:
    assert send(method, f"/{path}").status == 404
    assert send(method, f"/v1/{PROJECT}/notebooks/{path}").status in (200, 400, 404)


@pytest.mark.parametrize("body", [b'{"affinity": NaN}', b'{"description": "\\ud800"}', b"[" * 9999])
def test_what_only_python_takes_for_json_is_refused(body: bytes) -> None:
    reply = send("PUT", f"/v1/{PROJECT}/notebooks/{STOPPED.id}", body=body)
    assert json.loads(reply.body)["error_code"] == "ModelArts.0104"
