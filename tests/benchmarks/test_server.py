"""The benchmarks' server answers as the gateway does: whole requests only, strict windows, images kept."""

from __future__ import annotations

import json

import pytest

from benchmarks.server import ANSWER_BYTES, NEW_IMAGE, OLD_IMAGE, Gateway, Limit, split
from fleet.core.pacing import limits, pace

KEY = b"f9937afa-4451-42db-a76b-000000000007"
TARGET = b"/v1/p/notebooks/" + KEY
BODY = json.dumps({"image_id": NEW_IMAGE}).encode()
PUT = b"PUT " + TARGET + b" HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: %d\r\n\r\n" % len(BODY) + BODY


def answer(gateway: Gateway, method: bytes, now: float = 0.0) -> tuple[int, dict[str, object]]:
    head, _, body = gateway.answer(method, TARGET, BODY, now).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("cut", range(1, len(PUT)))
def test_a_request_is_taken_only_when_all_of_it_is_there(cut: int) -> None:
    assert split(PUT[:cut]) is None


def test_a_whole_request_is_taken_apart_and_the_next_one_left() -> None:
    assert split(PUT + b"GET /") == (b"PUT", TARGET, BODY, len(PUT))


def test_an_update_is_seen_by_the_next_look() -> None:
    gateway = Gateway()
    images = [answer(gateway, method)[1]["image"] for method in (b"GET", b"PUT", b"GET")]
    assert [image["id"] for image in images if isinstance(image, dict)] == [OLD_IMAGE, NEW_IMAGE, NEW_IMAGE]
    assert gateway.counts == {"PUT": 1, "GET": 2, "LIST": 0, "REFUSED": 0}


def test_an_answer_is_the_notebooks_own_and_of_the_stated_size() -> None:
    gateway = Gateway()
    _, shown = answer(gateway, b"GET")
    assert shown["id"] == KEY.decode()
    assert len(json.dumps(shown)) == ANSWER_BYTES


def test_writes_over_the_limit_are_refused_and_count_too() -> None:
    gateway = Gateway(Limit(2, 1))
    statuses = [answer(gateway, b"PUT", now)[0] for now in (0.0, 0.5, 0.9, 1.0, 1.5, 1.9)]
    assert statuses == [200, 200, 429, 429, 429, 429]
    assert answer(gateway, b"PUT", 3.0)[0] == 200
    assert gateway.counts["REFUSED"] == 4


def test_two_writes_a_window_apart_are_both_admitted() -> None:
    gateway = Gateway(Limit(1, 1))
    assert [answer(gateway, b"PUT", now)[0] for now in (0.0, 1.0)] == [200, 200]


def test_looks_are_not_counted_as_writes() -> None:
    gateway = Gateway(Limit(1, 60))
    assert [answer(gateway, b"GET")[0] for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(("limit", "window"), [(Limit(500, 1), 1.0), (Limit(60, 60, "api"), 60.0)])
def test_a_refusal_names_the_limit_in_the_gateways_own_words(limit: Limit, window: float) -> None:
    told = json.loads(limit.refusal.partition(b"\r\n\r\n")[2])
    assert pace.parse_limit(told["error_msg"]) == limits.Limit(limit.policy, limit.count, window)
