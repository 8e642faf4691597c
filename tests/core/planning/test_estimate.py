"""What a plan will cost, and what of it is left when some of it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.estimate import (
    ASSUMED_CALL,
    ASSUMED_SAVE,
    Bound,
    Bounds,
    Load,
    Work,
    bound_of,
    estimate,
    expected,
    length_of,
    measured_pace,
    still_needs,
)
from fleet.core.planning.plan import Change, Estimate, Phase, PlanScope
from fleet.core.rollout import Rollout, Share
from fleet.core.scheduling.timing import Moment, Otherwise
from fleet.core.scheduling.waiting import READS
from tests.plans import make_change

RESTART, RENAME = Phase(When.STOPPED, {"image_id": "new"}), Phase(When.ANY, {"name": "new"})
OWN_WAY = 183.5  # s: a stop, a start, three writes and four looks


def change(
    item: int, *, scope: str = "a", owner: str = "ada", wave: int = 1, phase: Phase = RESTART
) -> Change:
    restarts = phase is RESTART
    return make_change(item, scope=scope, owner=owner, wave=wave, phases=(phase,), may_restart=restarts)


def some(count: int, phase: Phase = RESTART, scope: str = "a") -> list[Change]:
    return [change(item, phase=phase, scope=scope) for item in range(count)]


def scope(name: str = "a", rate: str = "60/min", key: str = "one", listed: int = 10) -> PlanScope:
    return PlanScope(name, "cn-north-4", "0" * 32, "http://127.0.0.1:9000", listed, key, rate)


FAST = scope(rate="10000/s")


def seconds(changes: Sequence[Change], rollout: Rollout, *scopes: PlanScope) -> float:
    return estimate(changes, scopes or (FAST,), rollout).seconds


def test_writes_and_reads_are_counted_by_phase_with_stop_and_start() -> None:
    cost = estimate(some(2), [FAST], Rollout())
    assert (cost.writes, cost.reads) == (6, 8)
    cost = estimate(some(2, RENAME), [FAST], Rollout())
    assert (cost.writes, cost.reads, cost.lists) == (2, 4, 0)


def test_polls_cost_by_those_who_wait_however_many_are_listed() -> None:
    for listed in (40, 230):
        assert estimate(some(30), [replace(FAST, listed=listed)], Rollout()).lists == 30 * 2 * READS


def test_the_rate_of_a_shared_key_bounds_the_time() -> None:
    both = [*some(200), *some(200, scope="b")]
    wide = Rollout(concurrency=1000)
    assert seconds(both, wide, scope("a"), scope("b")) == 400 * 4 - 1
    assert seconds(both, wide, scope("a"), scope("b", key="two")) == 200 * 4 - 1


def test_a_rate_that_is_yet_to_be_learned_is_assumed() -> None:
    wide = Rollout(concurrency=1000)
    assert seconds(some(400), wide, scope(rate="")) == seconds(some(400), wide, scope(rate="60/min"))


def test_reads_and_writes_have_a_rate_each() -> None:
    assert seconds(some(600, RENAME), Rollout(concurrency=1000), scope()) == 600 * 2 - 1
    many = [make_change(item, scope="a", phases=(RENAME, RENAME, RESTART)) for item in range(200)]
    assert seconds(many, Rollout(concurrency=1000), scope()) == 200 * 5 - 1


def test_slots_and_one_changes_own_way_bound_the_time() -> None:
    assert seconds(some(1), Rollout()) == OWN_WAY
    assert seconds(some(5), Rollout(concurrency=1)) == 5 * OWN_WAY
    assert seconds(some(5), Rollout(concurrency=10, max_failures=Share(1))) == 5 * OWN_WAY


@pytest.mark.parametrize(
    ("budgets", "rounds"),
    [
        ({}, 1),
        ({"fleet": Share(2)}, 6),
        ({"fleet": Share(50, percent=True)}, 2),
        ({"owner": Share(2)}, 4),  # ada has eight of the twelve
        ({"owner": Share(100)}, 1),
        ({"owner": Share(4), "fleet": Share(3)}, 4),
    ],
)
def test_the_budget_that_binds_most_bounds_the_time(budgets: dict[str, Share], rounds: int) -> None:
    changes = [change(item, owner="ada" if item < 8 else "eve") for item in range(12)]
    assert seconds(changes, Rollout(concurrency=12, max_unavailable=budgets)) == rounds * OWN_WAY


def test_budgets_are_for_those_who_go_away() -> None:
    budget = Rollout(concurrency=100, max_unavailable={"fleet": Share(1)})
    assert seconds(some(50, RENAME), budget) < 10


MEASURED = Work(30.0, 8, 6)  # as long, and as many calls, as somebody measured


@pytest.mark.parametrize(
    ("rollout", "count", "most", "by"),
    [
        (Rollout(concurrency=5), 20, 120.0, "5 at once"),
        (Rollout(concurrency=5, max_failures=Share(2)), 20, 300.0, "2 at once, as each may fail"),
        (Rollout(concurrency=5, max_failures=Share(9)), 20, 120.0, "5 at once"),
        (Rollout(concurrency=20), 20, 79.5, "the rate of one, reads"),
        (Rollout(concurrency=20), 1, 30.0, "each wave's longest change"),
        (Rollout(max_unavailable={"fleet": Share(2)}), 20, 300.0, "2 away at once"),
        (Rollout(max_unavailable={"owner": Share(3)}), 20, 200.0, "3 away at once of owner ada"),
    ],
)
def test_a_bound_names_what_asks_for_it(rollout: Rollout, count: int, most: float, by: str) -> None:
    changes = some(count)
    bounds = Bounds.of(changes, [scope(rate="120/min")], rollout)
    assert bound_of(changes, bounds, lambda _: 0.0, lambda _: MEASURED) == Bound(most, by)


def test_of_several_waves_the_largest_part_is_named() -> None:
    changes = [change(item, wave=min(item, 1) + 1) for item in range(9)]
    bounds = Bounds.of(changes, [FAST], Rollout(concurrency=2))
    assert bound_of(changes, bounds, lambda _: 60.0, lambda _: MEASURED) == Bound(
        30.0 + 60.0 + 120.0, "2 at once"
    )
    assert bound_of(changes, bounds, lambda _: 600.0, lambda _: MEASURED).by == "the soaks between waves"


def test_a_rate_that_nobody_knows_need_not_bound_the_time() -> None:
    changes = some(1000)
    free = Bounds.of(changes, [scope(rate="")], Rollout(concurrency=1000), unknown=None)
    assert bound_of(changes, free, lambda _: 0.0, lambda _: MEASURED) == Bound(
        30.0, "each wave's longest change"
    )


def test_waves_follow_each_other_with_a_soak_between_them() -> None:
    waves = [change(item, wave=min(item, 2) + 1) for item in range(8)]
    assert seconds(waves, Rollout(concurrency=10, soak=600.0)) == 3 * OWN_WAY + 2 * 600


@pytest.mark.row(44)
def test_an_empty_plan_costs_nothing() -> None:
    assert estimate([], [FAST], Rollout(soak=60.0)) == Estimate(0, 0, 0.0)


# --- what is left ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("took", "assumed", "pace"),
    [
        (0.0, 0.0, 1.0),  # nothing was measured
        (4.0, 2.0, 1.002),  # one that was stopped, twice as slow as assumed: says next to nothing of restarts
        (100.0, 200.0, 0.9),  # one restart, twice as fast
        (500.0, 1000.0, 0.5),  # five of them
        (5000.0, 10_000.0, 0.5),
        (3000.0, 1000.0, 3.0),
    ],
)
def test_the_assumption_fades_as_restarts_are_measured(took: float, assumed: float, pace: float) -> None:
    assert measured_pace(took, assumed, longest=200.0) == pytest.approx(pace)


@pytest.mark.parametrize(("age", "needs"), [(0.0, 180.0), (100.0, 80.0), (180.0, 18.0), (3600.0, 360.0)])
def test_a_change_that_has_not_ended_still_needs_something(age: float, needs: float) -> None:
    assert still_needs(180.0, age) == pytest.approx(needs)


def test_even_when_everything_measured_took_no_time_the_end_is_not_there() -> None:
    assert still_needs(0.0, 0.0) > 0


def test_changes_under_way_hold_their_slots_and_seats() -> None:
    changes = some(3)
    load = Load(Bounds.of(changes, [FAST], Rollout(concurrency=2, max_unavailable={"fleet": Share(1)})))
    load.count(changes[0])
    assert load.bound(under_way=[(changes[1], Work(100.0, 0, 0))]).seconds == OWN_WAY + 100.0
    renamed = some(1, RENAME)[0]
    assert load.bound(under_way=[(renamed, Work(100.0, 0, 0))]).seconds == OWN_WAY


SIZES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(("ada", "eve")), st.booleans()), max_size=30
)


@given(sizes=SIZES, begun=st.integers(0, 30), pace=st.floats(0, 100), budget=st.integers(1, 5))
def test_what_is_left_is_what_was_not_begun(
    sizes: list[tuple[str, str, bool]], begun: int, pace: float, budget: int
) -> None:
    """Counting all and taking some away is counting the rest; it is never more than all, and finite."""
    changes = [
        change(item, scope=place, owner=owner, phase=RESTART if heavy else RENAME)
        for item, (place, owner, heavy) in enumerate(sizes)
    ]
    rollout = Rollout(concurrency=3, max_unavailable={"owner": Share(budget)})
    bounds = Bounds.of(changes, [scope("a"), scope("b")], rollout)
    rest, taken, whole = Load(bounds), Load(bounds), Load(bounds)
    for one in changes:
        taken.count(one)
        whole.count(one)
    for one in changes[:begun]:
        taken.count(one, -1)
    for one in changes[begun:]:
        rest.count(one)
    assert taken.bound(pace).seconds == pytest.approx(rest.bound(pace).seconds)
    assert 0.0 <= taken.bound(pace).seconds <= whole.bound(pace).seconds < math.inf
    assert whole.bound(pace).seconds >= pace * max(map(length_of, changes), default=0.0)


def test_a_rate_that_is_yet_to_be_learned_is_assumed_to_be_one_a_second() -> None:
    unknown, assumed = scope(rate=""), scope(rate="60/min")
    assert estimate(some(200), [unknown], Rollout()) == estimate(some(200), [assumed], Rollout())


def test_a_save_before_the_stop_takes_its_time_and_its_calls() -> None:
    plain, saving = expected(make_change()), expected(make_change(save="lab/before-nb-0"))
    assert (saving.reads - plain.reads, saving.writes - plain.writes) == (2, 1)
    assert saving.seconds - plain.seconds == ASSUMED_SAVE + 3 * ASSUMED_CALL


@pytest.mark.parametrize("when", [Moment.IDLE, Moment.NEXT_STOP])
def test_a_notebook_that_its_person_stops_costs_no_stop_no_start_and_no_save(when: Moment) -> None:
    changes = [*some(2), make_change(2, scope="a", run_state=Status.STOPPED)]
    changes[0] = replace(changes[0], save="lab/before-nb-0")
    forced = estimate(changes, [FAST], Rollout(when=when, otherwise=Otherwise.FORCE))
    assert (forced.writes, forced.reads, forced.lists) == (3 + 2 * 2 + 1, 2 * 3 + 2 * 2 + 2, 4)
    assert forced.spared is not None
    spared = forced.spared
    assert (spared.writes, spared.reads, spared.lists, spared.seconds) == (3, 6, 0, 3 * ASSUMED_CALL)
    assert [one.notebooks for one in forced.away] == [2]


def test_where_nobody_is_ever_stopped_that_is_all() -> None:
    calm = estimate(some(2), [FAST], Rollout(when=Moment.NEXT_STOP))
    assert (calm.writes, calm.reads, calm.lists, calm.away, calm.spared) == (2, 4, 0, (), None)
    assert calm.seconds == calm.slow_seconds == 3 * ASSUMED_CALL


def test_one_that_must_be_started_is_no_notebook_to_wait_for() -> None:
    started = make_change(run_state=Status.STOPPED, phases=(Phase(When.RUNNING, {"storage_new_size": 9}),))
    calm = estimate([started], [FAST], Rollout(when=Moment.NEXT_STOP))
    assert (calm.writes, calm.spared) == (3, None)
