"""What a plan and one look say of a notebook whose run has lost its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fleet.core.changing.life import HOUR_MS
from fleet.core.changing.recovery import Finding, Holds, exit_code, finding, unseen, ways
from fleet.core.changing.sight import GONE, Sight
from fleet.core.errors import Exit
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

PLANNED_AT = 1_000_000.0
MS = int(PLANNED_AT * 1000)
OLD = {"image_id": "old", "flavor": "small"}
NEW = {"image_id": "new", "flavor": "large"}
RAN = make_change(phases=(Phase(When.STOPPED, NEW),), before=OLD, after=NEW)
RESTED = replace(RAN, run_state=Status.STOPPED)


def found(status: Status, values: Mapping[str, Any] = NEW, change: Change = RAN) -> Finding:
    return finding(change, Sight(status, values), PLANNED_AT)


@pytest.mark.parametrize(
    ("values", "holds", "reason"),
    [
        (NEW, Holds.NEW, ""),
        (OLD, Holds.OLD, ""),
        ({"image_id": "new", "flavor": "small"}, Holds.OTHER, "flavor is small, not large"),
        (
            {"image_id": "old", "flavor": "huge"},
            Holds.OTHER,
            "image_id is old, not new; flavor is huge, not",
        ),
        ({}, Holds.OTHER, "image_id is empty, not new"),
    ],
    ids=["new", "old", "mixed", "other", "nothing shown"],
)
def test_the_planned_fields_say_how_far_the_run_came(
    values: Mapping[str, Any], holds: Holds, reason: str
) -> None:
    seen = found(Status.RUNNING, values)
    assert (seen.holds, seen.fix) == (holds, "")
    assert seen.reason.startswith(reason)
    assert bool(seen.reason) is bool(reason)


@pytest.mark.parametrize(
    ("status", "reason"), [(Status.DELETING, "is being"), (Status.DELETED, "by somebody")]
)
def test_what_is_deleted_is_gone_whatever_it_holds(status: Status, reason: str) -> None:
    seen = found(status)
    assert (seen.holds, seen.fix, seen.away) == (Holds.GONE, "", False)
    assert reason in seen.reason


def test_a_notebook_that_is_changed_twice_is_one_way_through_both() -> None:
    first = replace(RAN, before={"image_id": "old"}, after={"image_id": "between"})
    then = replace(RAN, item=2, before={"image_id": "between", "flavor": "small"}, after=NEW)
    other = make_change(1)
    way, alone = ways([first, other, then])
    assert (way.item, way.before, way.after, alone) == (first.item, OLD, NEW, other)
    assert found(Status.RUNNING, {"image_id": "between", "flavor": "small"}, way).holds is Holds.OTHER


HOOK: Mapping[str, Any] = {"hooks": {"container_hooks": {}}}


def test_a_field_that_the_cloud_never_shows_is_not_judged() -> None:
    alone = replace(RAN, before={"hooks": None}, after=HOOK)
    beside = replace(RAN, before={**OLD, "hooks": None}, after={**NEW, **HOOK})
    assert found(Status.RUNNING, {}, alone).holds is Holds.HIDDEN
    assert found(Status.RUNNING, NEW, beside).holds is Holds.NEW
    assert found(Status.RUNNING, OLD, beside).holds is Holds.OLD


def test_what_nobody_could_see_is_unreachable() -> None:
    seen = unseen(RAN, "no answer")
    assert (seen.holds, seen.status, seen.reason, seen.fix) == (Holds.UNREACHABLE, "", "no answer", "")


# Of one that ran: whether it is away, and whether a start helps.
STATUSES: Mapping[Status, tuple[bool, bool]] = {
    **dict.fromkeys(Status, (True, False)),
    **dict.fromkeys((Status.STOPPED, Status.STOPPING), (True, True)),
    **dict.fromkeys((Status.RUNNING, Status.DELETED, Status.DELETING), (False, False)),
}


@pytest.mark.parametrize("status", Status)
def test_a_start_is_named_for_one_that_ran_and_is_stopped(status: Status) -> None:
    away, fixed = STATUSES[status]
    seen = found(status)
    assert (seen.away, bool(seen.fix)) == (away, fixed)
    assert seen.status == status.value


@pytest.mark.parametrize("status", Status)
def test_one_that_did_not_run_is_never_away(status: Status) -> None:
    seen = found(status, change=RESTED)
    assert (seen.away, seen.fix) == (False, "")


def test_why_it_does_not_run_is_told() -> None:
    failed = finding(RAN, Sight(Status.START_FAILED, OLD, fail_reason="no room"), PLANNED_AT)
    assert failed.reason == "no room"
    assert found(Status.STARTING).reason == "on its way to RUNNING"
    assert found(Status.STOPPING).reason == "on its way to STOPPED"


LEASES = {
    "what was left": (Lease(True, LeaseType.IDLE, MS - HOUR_MS, 5 * HOUR_MS), "4h --type IDLE"),
    "an hour at least": (Lease(True, LeaseType.TIMING, MS - 5, HOUR_MS), "1h --type TIMING"),
    "whole when it ran out": (
        Lease(True, LeaseType.IDLE, MS - 9 * HOUR_MS, 3 * HOUR_MS),
        "3h --type",
    ),
    "off": (Lease(False), "-1"),
}


@pytest.mark.parametrize(("lease", "words"), LEASES.values(), ids=LEASES)
def test_the_start_gives_back_the_lease_of_the_plan(lease: Lease, words: str) -> None:
    seen = found(Status.STOPPED, change=replace(RAN, lease=lease))
    assert seen.fix.startswith(f"fleet start --scope lab-a {RAN.id} --duration {words}")


SEEN = {
    "new": found(Status.RUNNING),
    "stopped": found(Status.STOPPED),
    "rested": found(Status.RUNNING, change=RESTED),
    "mixed": found(Status.RUNNING, {}),
    "gone": finding(RAN, GONE, PLANNED_AT),
    "unseen": unseen(RESTED, "no answer"),
}


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], Exit.DONE),
        (["new", "rested"], Exit.DONE),
        (["new", "mixed"], Exit.SOME_DRIFTED),
        (["gone"], Exit.SOME_DRIFTED),
        (["new", "stopped"], Exit.STRANDED),
        (["stopped", "mixed", "gone"], Exit.STRANDED),
        (["unseen", "new"], Exit.STRANDED),
    ],
)
def test_the_exit_code_is_the_largest_that_holds(names: Sequence[str], code: Exit) -> None:
    assert exit_code(SEEN[name] for name in names) is code
