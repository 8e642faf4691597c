"""Strict sliding windows: exact at the edge, refused requests count, classes are apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulator.audit import is_read, is_write, worst_window
from fleet.simulator.cloud import Cloud
from fleet.simulator.refusals import Refusal
from fleet.simulator.rules import load_rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.throttle import Caller, Limit, Throttle

Ask = Callable[..., tuple[int, Any]]

READER = Caller("u1", "ShowNotebook", "127.0.0.1", "reads")


def admitted(throttle: Throttle, caller: Caller, at: float) -> bool:
    try:
        throttle.admit(caller, at)
    except Refusal:
        return False
    return True


@given(
    gaps=st.lists(st.integers(0, 30), max_size=60),
    limit=st.integers(1, 5),
    seconds=st.integers(1, 60),
)
def test_a_request_is_admitted_exactly_when_its_window_holds_no_more_than_the_limit(
    gaps: list[int], limit: int, seconds: int
) -> None:
    throttle = Throttle([Limit(limit=limit, seconds=seconds)])
    sent: list[int] = []
    for gap in gaps:
        at = (sent[-1] if sent else 0) + gap
        sent.append(at)
        inside = sum(at - seconds < other <= at for other in sent)
        assert admitted(throttle, READER, at) == (inside <= limit)


def test_two_requests_a_window_apart_are_not_in_one_window() -> None:
    throttle = Throttle([Limit(limit=1, seconds=60)])
    assert admitted(throttle, READER, 100.0)
    assert admitted(throttle, READER, 160.0)
    assert not admitted(throttle, READER, 219.999)


def test_hammering_keeps_the_door_shut() -> None:
    throttle = Throttle([Limit(limit=2, seconds=10)])
    verdicts = [admitted(throttle, READER, float(at)) for at in range(30)]
    assert verdicts == [True, True] + [False] * 28


@pytest.mark.parametrize(
    ("policy", "other", "shared"),
    [
        ("user", Caller("u1", "ListImage", "10.0.0.9", "reads"), True),
        ("user", Caller("u2", "ShowNotebook", "127.0.0.1", "reads"), False),
        ("api", Caller("u2", "ShowNotebook", "10.0.0.9", "reads"), True),
        ("api", Caller("u1", "ListImage", "127.0.0.1", "reads"), False),
        ("ip", Caller("u2", "ListImage", "127.0.0.1", "reads"), True),
        ("ip", Caller("u1", "ShowNotebook", "10.0.0.9", "reads"), False),
    ],
)
def test_each_policy_counts_under_its_own_key(policy: Any, other: Caller, shared: bool) -> None:
    throttle = Throttle([Limit(policy=policy, limit=1)])
    assert admitted(throttle, READER, 0.0)
    assert admitted(throttle, other, 0.0) == (not shared)


def test_reads_writes_and_logins_are_counted_apart() -> None:
    writer = Caller("u1", "StopNotebook", "127.0.0.1", "writes")
    login = Caller("u1", "Login", "127.0.0.1", "logins")
    throttle = Throttle([Limit(limit=1, calls="writes"), Limit(limit=2, calls="all")])
    assert admitted(throttle, writer, 0.0)
    assert admitted(throttle, READER, 0.0)
    assert not admitted(throttle, READER, 0.0)
    assert admitted(throttle, login, 0.0)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit(limit=60), "policy user over ratelimit,limit:60,time:1 minute"),
        (Limit(policy="ip", limit=5, seconds=5), "policy ip over ratelimit,limit:5,time:5 second"),
    ],
)
def test_the_refusal_has_the_gateways_text(limit: Limit, text: str) -> None:
    throttle = Throttle([limit])
    for _ in range(limit.limit):
        throttle.admit(READER, 0.0)
    with pytest.raises(Refusal) as caught:
        throttle.admit(READER, 0.0)
    refusal = caught.value
    assert refusal.message == f"The throttling threshold has been reached: {text}"
    assert (refusal.status, refusal.code) == (429, "APIGW.0308")


def test_a_cloud_throttles_by_parameter_and_by_rules(caller_of: Callable[[Cloud], Ask], now: float) -> None:
    rules = load_rules("throttle: [{policy: user, limit: 2, seconds: 60, calls: reads}]")
    cloud = make_cloud(notebooks=20, seed=1, now=now, rules=rules, throttle=[Limit(limit=1, calls="writes")])
    ask = caller_of(cloud)
    assert [ask("GET", "notebooks", at=now + n)[0] for n in range(3)] == [200, 200, 429]
    notebook = next(iter(cloud.world.notebooks))
    path = f"notebooks/{notebook}/tags/create"
    body: dict[str, object] = {"tags": []}
    assert ask("POST", path, body)[0] != 429
    status, reply = ask("POST", path, body)
    assert (status, reply["error_code"]) == (429, "APIGW.0308")
    assert set(reply) == {"error_code", "error_msg", "request_id"}
    assert not cloud.log[-1].applied
    assert worst_window(cloud.log, 60, is_read) == 3
    assert worst_window(cloud.log, 2, is_read) == 2
    assert worst_window(cloud.log, 60, is_write) == 2
