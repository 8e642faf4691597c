"""The arithmetic of a life: leases to give back, values compared, phases regrouped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.changing.life import (
    HOUR_MS,
    LEASE_MAX_MS,
    LEASE_MIN_MS,
    LEASE_TOLERANCE_MS,
    Life,
    Stage,
    Values,
    compare,
    difference,
    freeze,
    lease_is_theirs,
    lease_off_by,
    regroup,
    start_query,
    wanted_lease,
)
from fleet.core.changing.sight import Sight
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

Planned = Callable[..., Change]
ON = Lease(enable=True, duration=5 * HOUR_MS)
IDLE = Lease(enable=True, type=LeaseType.IDLE, duration=2 * HOUR_MS)
OFF = Lease(enable=False)
AT = 1000.0


def stopped_with(change: Change, lease: Lease | None, frozen: int | None) -> Life:
    """A life whose notebook we stopped with `frozen` ms left, and started again at AT."""
    return Life.begin(change)._replace(lease=lease, frozen=frozen, restarted=True, started_at=AT)


@given(left=st.integers(-HOUR_MS, 100 * HOUR_MS), waited=st.integers(0, 10_000))
def test_the_time_left_is_frozen_at_the_stop(left: int, waited: int) -> None:
    assert freeze_of(left, waited) == left - waited * 1000


def freeze_of(left: int | None, waited: int) -> int | None:
    change = make_change()
    return freeze(Life.begin(change)._replace(left=left, looked_at=AT), AT + waited)


def test_no_auto_stop_means_nothing_to_freeze() -> None:
    assert freeze_of(None, 5) is None


@pytest.mark.parametrize(
    ("lease", "frozen", "wanted"),
    [
        (ON, 4 * HOUR_MS, 4 * HOUR_MS),
        (ON, 1, LEASE_MIN_MS),
        (ON, 90 * HOUR_MS, LEASE_MAX_MS),
        (ON, 0, 5 * HOUR_MS),
        (ON, -HOUR_MS, 5 * HOUR_MS),
        (ON, None, 5 * HOUR_MS),
        (IDLE, -1, 2 * HOUR_MS),
        (replace(IDLE, duration=1), -1, LEASE_MIN_MS),
        (OFF, None, None),
        (None, None, LEASE_MAX_MS),
    ],
)
def test_the_lease_to_give_back(
    planned: Planned, lease: Lease | None, frozen: int | None, wanted: int | None
) -> None:
    assert wanted_lease(stopped_with(planned(lease=lease), lease, frozen)) == wanted


@given(frozen=st.none() | st.integers(-100 * HOUR_MS, 200 * HOUR_MS), lease=st.sampled_from([ON, IDLE, OFF]))
def test_every_start_asks_for_what_the_api_takes(frozen: int | None, lease: Lease) -> None:
    change = make_change()
    query = start_query(stopped_with(change, lease, frozen))
    if lease is OFF:
        assert query == {"duration": -1}
    else:
        assert LEASE_MIN_MS <= query["duration"] <= LEASE_MAX_MS
        assert query["type"] == lease.type.value


@pytest.mark.parametrize("lease", [ON, IDLE, OFF, None])
def test_a_stopped_notebook_started_for_a_put_runs_for_the_shortest_time(
    planned: Planned, lease: Lease | None
) -> None:
    life = stopped_with(planned(Status.STOPPED, lease=lease), lease, None)
    assert start_query(life) == {"duration": HOUR_MS, "type": "TIMING"}


def test_where_auto_stop_cannot_be_switched_off_the_longest_time_is_asked_for(planned: Planned) -> None:
    life = stopped_with(planned(lease=OFF), OFF, None)._replace(no_lease_off=True)
    assert start_query(life) == {"duration": 72 * HOUR_MS}


@given(
    off=st.integers(-2 * LEASE_TOLERANCE_MS, 2 * LEASE_TOLERANCE_MS),
    elapsed=st.integers(0, 600),
)
def test_a_lease_is_right_within_two_minutes_of_what_was_given_back(off: int, elapsed: int) -> None:
    """The countdown may have begun at our call or only when the notebook ran."""
    change = make_change()
    life = stopped_with(change, ON, 4 * HOUR_MS)
    sight = Sight(Status.RUNNING, lease=ON, left=4 * HOUR_MS - elapsed * 1000 + off)
    too_short, too_long = off < -LEASE_TOLERANCE_MS, off > elapsed * 1000 + LEASE_TOLERANCE_MS
    assert bool(lease_off_by(life, sight, AT + elapsed)) == (too_short or too_long)


@pytest.mark.parametrize(
    ("lease", "seen", "word"),
    [
        (ON, replace(ON, type=LeaseType.IDLE), "auto stop type is IDLE, it was TIMING"),
        (ON, OFF, "auto stop is off, it was on"),
        (OFF, ON, "auto stop is on, it was off"),
        (OFF, OFF, ""),
        (ON, None, ""),
    ],
)
def test_a_lease_of_another_kind_is_named(
    planned: Planned, lease: Lease, seen: Lease | None, word: str
) -> None:
    life = stopped_with(planned(lease=lease), lease, 4 * HOUR_MS if lease.enable else None)
    left = 4 * HOUR_MS if seen is not None and seen.enable else None
    assert lease_off_by(life, Sight(Status.RUNNING, lease=seen, left=left), AT) == word


def test_a_lease_that_we_did_not_touch_is_not_judged(planned: Planned) -> None:
    life = stopped_with(planned(), ON, 4 * HOUR_MS)._replace(restarted=False)
    assert lease_off_by(life, Sight(Status.RUNNING, lease=OFF), AT) == ""


OWED = 4 * HOUR_MS


@pytest.mark.parametrize(
    ("lease", "seen", "left", "theirs"),
    [
        (ON, ON, OWED + LEASE_TOLERANCE_MS, False),
        (ON, ON, OWED + LEASE_TOLERANCE_MS + 1, True),
        (ON, ON, HOUR_MS, False),
        (ON, OFF, None, True),
        (ON, None, None, False),
        (IDLE, ON, OWED + HOUR_MS, True),
        (IDLE, ON, OWED, False),
        (OFF, ON, 72 * HOUR_MS, False),
        (OFF, OFF, None, False),
    ],
)
@pytest.mark.parametrize("anew", [False, True])
def test_a_lease_is_somebodys_if_it_is_longer_than_owed_or_was_granted_anew(
    planned: Planned, lease: Lease, seen: Lease | None, left: int | None, theirs: bool, anew: bool
) -> None:
    frozen = OWED if lease.enable else None
    life = stopped_with(planned(lease=lease), lease, frozen)._replace(lease_theirs=anew)
    assert lease_is_theirs(life, Sight(Status.RUNNING, lease=seen, left=left)) is (theirs or anew)


# --- values ----------------------------------------------------------------------------------------------

PUT = Phase(When.STOPPED, {"image_id": "new", "flavor": "large"})


def life_with(stage: Stage, *phases: Phase, doubt: bool = False, **before: Any) -> Life:
    change = make_change(phases=phases, before=before, after={})
    return Life.begin(change)._replace(stage=stage, doubt=doubt)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ({"image_id": "old", "flavor": "small", "name": "a"}, Values.BEFORE),
        ({"image_id": "new", "flavor": "large", "name": "a"}, Values.DESIRED),
        ({"image_id": "new", "flavor": "small", "name": "a"}, Values.MIXED),
        ({"image_id": "third", "flavor": "large", "name": "a"}, Values.OTHER),
        ({"image_id": "new", "flavor": "large", "name": "b"}, Values.OTHER),
        ({"image_id": "new", "flavor": "large"}, Values.OTHER),
        ({"image_id": "new", "name": "a"}, Values.OTHER),
    ],
)
def test_values_are_compared_with_what_was_before_and_what_is_wanted(
    shown: dict[str, Any], found: Values
) -> None:
    life = life_with(Stage.PUT_SETTLE, PUT, image_id="old", flavor="small", name="a")
    assert compare(life, Sight(Status.STOPPED, shown)) is found


@pytest.mark.parametrize(
    ("stage", "doubt", "found"),
    [
        (Stage.READ_BACK, False, Values.DESIRED),
        (Stage.PUT_SETTLE, True, Values.BEFORE),
        (Stage.PUT_SETTLE, False, Values.BEFORE),
    ],
)
def test_what_the_cloud_never_shows_is_proven_by_its_answer_alone(
    stage: Stage, doubt: bool, found: Values
) -> None:
    life = life_with(stage, Phase(When.STOPPED, {"hooks": {}}), doubt=doubt)
    assert compare(life, Sight(Status.STOPPED)) is found


def test_a_difference_names_field_found_and_expected() -> None:
    assert difference({"name": "a", "hooks": {}}, {"name": "b"}) == "name is b, was a"


# --- phases ----------------------------------------------------------------------------------------------

FIELDS = ("name", "description", "flavor", "image_id", "storage_new_size")


@given(
    homes=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(When), min_size=1),
    moved=st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([When.RUNNING, When.STOPPED])),
)
def test_regrouping_keeps_every_field_and_sends_one_put_a_state(
    homes: dict[str, When], moved: dict[str, When]
) -> None:
    phases = tuple(
        Phase(when, {name: 1 for name, home in homes.items() if home is when})
        for when in dict.fromkeys(homes.values())
    )
    found = regroup(phases, moved)
    states = [phase.when for phase in found]
    assert len(set(states)) == len(states)
    where = {name: phase.when for phase in found for name in phase.body}
    assert where == {name: moved.get(name, home) for name, home in homes.items()}
