"""A plan that restarts something says how full the quota is, and is refused where it is overdrawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.core.notebook import Status
from fleet.core.planning.quota import SOURCE, Quota, over_quota, quota_remarks, restarts
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment
from tests.plans import make_change

ONE = {"lab-a": 1}
PLACE = "should a stopped notebook give up its place, whoever starts another one takes it"


def test_restarts_are_counted_by_scope_and_not_in_dedicated_pools() -> None:
    public, pooled = make_change(0, pool=""), make_change(1, pool="pool-blue")
    stopped = make_change(2, pool="", run_state=Status.STOPPED)
    assert public.needs_restart
    assert not stopped.needs_restart
    assert restarts([public, pooled, stopped], Rollout()) == {"lab-a": 1}
    assert restarts([replace(pooled, scope="lab-b")], Rollout()) == {"lab-b": 0}
    assert restarts([stopped], Rollout()) == {}


def test_who_is_never_stopped_needs_no_start() -> None:
    assert restarts([make_change(0)], Rollout(when=Moment.NEXT_STOP)) == {}


@pytest.mark.parametrize(
    ("quota", "restarting", "refused"),
    [
        (Quota(10, 11), ONE, True),
        (Quota(10, 10), ONE, False),
        (Quota(10, 11), {"lab-a": 0}, False),
        (Quota(0, 11), ONE, False),
        (Quota(-1, 11), ONE, False),
    ],
)
def test_only_an_overdrawn_quota_is_refused(quota: Quota, restarting: dict[str, int], refused: bool) -> None:
    assert [name for name, _ in over_quota({"lab-a": quota}, restarting)] == ["quota"] * refused


def test_the_plan_tells_quota_and_use_and_where_no_place_is_left() -> None:
    quotas = {"lab-a": Quota(10, 7), "lab-b": Quota(10, 10), "lab-c": Quota(-1, 99)}
    said = list(quota_remarks(quotas, {**ONE, "lab-b": 2}, {"lab-d": "forbidden: no"}))
    assert said == [
        f"quota of instances: lab-a uses 7 of 10, lab-b uses 10 of 10 {SOURCE}",
        f"no instance is left of the quota of lab-b: {PLACE}",
        "the quota of instances is not known for lab-d (forbidden: no)",
    ]
    assert list(quota_remarks({}, {}, {})) == []


def test_many_scopes_make_no_long_line() -> None:
    (said,) = quota_remarks({f"lab-{at}": Quota(10, 7) for at in range(12)}, {}, {})
    assert said.endswith(f"lab-9 uses 7 of 10 and 2 more {SOURCE}")
