"""A notebook by the short way is the notebook by the long way, or none at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.client import reading, rows
from fleet.client.wire import parse_object
from fleet.core.errors import CallError
from fleet.core.notebook import Notebook

ID = "f9937afa-4451-42db-a76b-72d624749f66"
DOCUMENTED: dict[str, Any] = {
    "id": ID,
    "status": "RUNNING",
    "name": "na\u00efve \u6d4b\u8bd5",
    "description": 'a "quoted"\nline',
    "fail_reason": "line\nbreak",
    "feature": "NOTEBOOK",
    "flavor": "custom.flavor.spec.code",
    "custom_spec": {"arch": "AARCH64", "category": "ASCEND", "cpu": 2.0},
    "image": {"id": "i", "name": "torch", "size": 5, "resource_categories": ["CPU"], "new": {"a": [1.5]}},
    "lease": {"enable": True, "type": "IDLE", "create_at": 1, "duration": 2, "update_at": 3},
    "pool": {"id": "p1", "name": "blue"},
    "volume": {"category": "EVS", "capacity": 50, "mount_path": "/home"},
    "endpoints": [
        {"dev_service": "SSH", "ssh_keys": ["k"], "allowed_access_ips": ["203.0.113.1"], "uri": "u"}
    ],
    "workspace_id": "0",
    "user": {"id": "u1", "name": "ana", "domain": {"id": "d"}},
    "user_id": "v",
    "tags": [{"key": "env", "value": "prod"}, {"key": "keep"}],
    "create_at": 1638841744515,
    "update_at": 2,
    "current_time": 3,
    "token": "canary",
    "action_progress": [{"step": 1}],
}


TEXT = json.dumps(DOCUMENTED, ensure_ascii=False).encode()


def long_way(body: bytes) -> Notebook | None:
    """What `rows` makes of the body; None when it is refused."""
    try:
        payload = parse_object(body)
        return None if payload.get("error_code") else rows.notebook(payload)
    except (ValueError, CallError):
        return None


def test_a_documented_answer_takes_the_short_way(sample: Callable[[str], bytes]) -> None:
    listed = json.dumps(json.loads(sample("list.200"))["data"][0]).encode()
    for body in (
        listed,
        json.dumps(DOCUMENTED).encode(),
        json.dumps(DOCUMENTED, ensure_ascii=False).encode(),
    ):
        assert reading.notebook(body) == long_way(body) is not None


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != "id"])
def test_what_is_null_or_missing_is_no_reason_for_the_long_way(name: str) -> None:
    missing = {key: value for key, value in DOCUMENTED.items() if key != name}
    for row in ({**DOCUMENTED, name: None}, missing):
        body = json.dumps(row).encode()
        assert reading.notebook(body) == long_way(body) is not None


@pytest.mark.parametrize("part", ["lease", "pool", "user", "volume", "custom_spec", "image"])
def test_what_is_null_within_a_part_is_no_reason_either(part: str) -> None:
    for nothing in ({}, dict.fromkeys(DOCUMENTED[part])):
        body = json.dumps({**DOCUMENTED, part: nothing}).encode()
        assert reading.notebook(body) == long_way(body) is not None


@pytest.mark.parametrize("code", [None, "", 0, [], "ModelArts.6309", 6309, {"code": 1}])
def test_what_tells_no_error_is_read_and_what_tells_one_is_left_to_the_long_way(code: Any) -> None:
    one, page = (json.dumps({**shown, "error_code": code}).encode() for shown in (DOCUMENTED, PAGE))
    assert reading.notebook(one) == long_way(one)
    assert short_page(page) == long_page(page)
    assert (long_way(one) is None) is (long_page(page) is None) is bool(code)


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["", "WEEKLY", "RUNNING", "STOPPED", "IDLE", "1638841744515", "true", 2**63, -(2**63), 1.0]
    )
)
VALUES = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a row."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deep for key, part in parts for deep in paths(part, (*path, key)))]


@given(st.lists(st.tuples(st.sampled_from(paths(DOCUMENTED)[1:]), VALUES), max_size=4))
@example([(("lease", "type"), "WEEKLY")])
@example([(("endpoints",), {})])
@example([(("image",), "canary")])
@example([(("create_at",), "7")])
@example([(("create_at",), 2**63)])
def test_whatever_is_in_its_place_both_ways_agree(spoils: list[tuple[tuple[Any, ...], Any]]) -> None:
    body = json.dumps(spoilt(DOCUMENTED, spoils)).encode()
    found = reading.notebook(body)
    assert found is None or found == long_way(body)


def spoilt(row: dict[str, Any], spoils: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """A copy of the row with other values at some of its places."""
    row = json.loads(json.dumps(row))
    for path, value in spoils:
        place: Any = row
        for key in path[:-1]:
            place = place[key] if isinstance(place, dict | list) and key in dict_of(place) else {}
        if isinstance(place, dict) or (isinstance(place, list) and path[-1] in dict_of(place)):
            place[path[-1]] = value
    return row


def dict_of(value: dict[str, Any] | list[Any]) -> dict[Any, Any]:
    return value if isinstance(value, dict) else dict(enumerate(value))


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3), st.integers(0, 4))
def test_where_bytes_are_damaged_both_ways_agree(at: int, put: bytes, gone: int) -> None:
    body = TEXT[:at] + put + TEXT[at + gone :]
    found = reading.notebook(body)
    assert found is None or found == long_way(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"id":"a"}x',
        b'{"id":"a","new":"\xff"}',
        b'{"id":"a","error_code":"ModelArts.6309"}',
        b'{"id":"a","new":' + b"[" * 100_000,
        b'{"id":"a","image":{"id":"' + b"x" * reading.LARGEST + b'"}}',
    ],
)
def test_what_is_not_plain_takes_the_long_way(body: bytes) -> None:
    assert reading.notebook(body) is None


def long_page(body: bytes) -> tuple[list[Notebook], int | None] | None:
    """What `rows` makes of a page; None when it is refused."""
    try:
        payload = parse_object(body)
        if payload.get("error_code"):
            return None
        page = rows.page(payload, "data")
        return list(map(rows.notebook, page.rows)), page.total
    except (ValueError, CallError):
        return None


def short_page(body: bytes) -> tuple[list[Notebook], int | None] | None:
    page = reading.notebooks(body)
    return None if page is None else (list(page.rows), page.total)


PAGE = {"current": 0, "data": [DOCUMENTED, {**DOCUMENTED, "id": "b"}], "pages": 1, "size": 2, "total": 2}
PAGE_TEXT = json.dumps(PAGE).encode()


def test_a_documented_page_takes_the_short_way(sample: Callable[[str], bytes]) -> None:
    for body in (sample("list.200"), PAGE_TEXT, b'{"data":[],"total":0}'):
        assert short_page(body) == long_page(body) is not None


@given(st.lists(st.tuples(st.sampled_from(paths(PAGE)[1:]), VALUES), max_size=4))
@example([(("total",), -1)])
@example([(("total",), True)])
@example([(("data", 1), None)])
def test_whatever_is_in_a_page_both_ways_agree(spoils: list[tuple[tuple[Any, ...], Any]]) -> None:
    body = json.dumps(spoilt(PAGE, spoils)).encode()
    assert short_page(body) in (None, long_page(body))


@given(st.integers(0, len(PAGE_TEXT) - 1), st.binary(max_size=3), st.integers(0, 4))
def test_where_the_bytes_of_a_page_are_damaged_both_ways_agree(at: int, put: bytes, gone: int) -> None:
    body = PAGE_TEXT[:at] + put + PAGE_TEXT[at + gone :]
    assert short_page(body) in (None, long_page(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[],"total":0,"error_code":"ModelArts.0107"}',
        b'{"data":[]}',
        b'{"total":0}',
        b'{"data":[{"id":"a","lease":{"enable":1}}],"total":1}',
    ],
)
def test_a_page_that_is_not_plain_takes_the_long_way(body: bytes) -> None:
    assert reading.notebooks(body) is None


def test_what_many_notebooks_have_alike_is_read_once() -> None:
    one, other = (reading.notebook(json.dumps({**DOCUMENTED, "id": name}).encode()) for name in "ab")
    assert one is not None
    assert other is not None
    texts = ("feature", "flavor", "pool_id", "pool_name", "workspace_id", "owner", "owner_id")
    for name in ("image", "volume", "custom_spec", *texts):
        assert getattr(one, name) is getattr(other, name) is not None
    for name in ("service", "key_pair_names", "allowed_access_ips"):
        assert getattr(one.endpoints[0], name) is getattr(other.endpoints[0], name) is not None


def test_the_one_id_of_a_user_in_older_answers_is_read_once_too() -> None:
    older = {**DOCUMENTED, "user": None, "user_id": "v" * 32}
    one, other = (reading.notebook(json.dumps({**older, "id": name}).encode()) for name in "ab")
    assert one is not None
    assert other is not None
    assert one.owner_id is other.owner_id == "v" * 32


@pytest.mark.security("secrets")
def test_the_login_token_of_a_notebook_is_not_read() -> None:
    assert "canary" not in repr(reading.notebook(TEXT))
