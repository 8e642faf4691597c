"""When polling pays: values, and the promise on what it costs and how late it notices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.scheduling.waiting import (
    EARLY,
    KEPT,
    LATEST,
    LONGEST,
    SPARED,
    STRAGGLING,
    Wait,
    Waits,
    pages,
    worth,
)

STOPPING, STARTING = Status.STOPPING, Status.STARTING
EVENLY = [float(n) for n in range(50, 150)]  # a wait takes 50 to 149 s


def learned(least: float = 1.0, **times: list[float]) -> Waits:
    waits = Waits(least)
    for status, took in times.items():
        for seconds in took:
            waits.took(Status[status], seconds)
    return waits


def waiting(count: int, seen: float = 0.0) -> list[Wait]:
    return [Wait(0.0, seen)] * count


def first(waits: Waits, many: list[Wait], requests: float = 1.0, matters: float = 1.0) -> int:
    """The first whole second at which a list pays."""
    return next(now for now in range(1, 20_000) if waits.list_pays(STARTING, many, requests, now, matters))


def first_look(waits: Waits, wait: Wait) -> int:
    return next(now for now in range(int(wait.seen) + 1, 10_000) if waits.look_pays(STARTING, wait, now))


def test_of_what_nobody_knows_how_long_it_takes_news_is_asked_for_at_the_steady_pause() -> None:
    waits = learned(20.0, STARTING=[100.0] * 4)
    assert first(waits, waiting(30)) == 20
    assert first(waits, waiting(30, seen=20.0)) == 40
    assert first_look(waits, Wait(0.0, 40.0)) == 60


def test_a_few_waits_prove_nothing() -> None:
    assert learned(STARTING=[100.0] * 4).soonest(STARTING, Wait(7.0, 7.0)) == 8.0
    assert learned(STARTING=[100.0] * 5).soonest(STARTING, Wait(7.0, 7.0)) == 87.0


def test_each_kind_of_wait_has_times_of_its_own() -> None:
    waits = learned(STOPPING=[20.0] * 5, STARTING=[100.0] * 5)
    assert [waits.soonest(status, Wait(0.0, 0.0)) for status in (STOPPING, STARTING)] == [16.0, 80.0]


def test_old_times_are_forgotten() -> None:
    waits = learned(STARTING=[500.0] * KEPT + [20.0] * KEPT)
    assert waits.soonest(STARTING, Wait(0.0, 0.0)) == 16.0
    assert first_look(waits, Wait(0.0, 0.0)) == 16 + LATEST * 20


def test_a_list_pays_when_it_will_tell_of_one_for_each_request() -> None:
    """Of a hundred who wait, the quickest is ready after 50 s and then one each second."""
    waits = learned(STARTING=EVENLY)
    assert first(waits, waiting(100)) == pytest.approx(51, abs=1)
    assert first(waits, waiting(100), requests=4.0) == pytest.approx(54, abs=1)
    assert first(waits, waiting(25), requests=1.0) == pytest.approx(54, abs=1)


def test_however_few_are_ready_the_first_is_not_kept_waiting_for_long() -> None:
    waits = learned(STARTING=EVENLY)
    assert first(waits, waiting(3), requests=2.0) == pytest.approx(40 + LATEST * 99.5, abs=1)


def test_where_slots_are_in_plenty_starts_are_listed_less_often() -> None:
    waits = learned(STARTING=EVENLY)
    assert first(waits, waiting(100), requests=2.0, matters=SPARED) == pytest.approx(70, abs=1)


def test_starts_matter_as_far_as_changes_wait_for_the_cloud_and_not_for_calls() -> None:
    assert worth(0, 0) == worth(20, 20) == 1.0
    assert worth(10, 20) == 0.25
    assert worth(1, 200) == SPARED


def test_one_of_a_few_looks_when_it_is_as_likely_ready_as_not() -> None:
    waits = learned(STARTING=[100.0] * 50 + [110.0] * 50)
    assert first_look(waits, Wait(0.0, 99.0)) == 110
    waits = learned(STARTING=[100.0] * 60 + [110.0] * 40)
    assert first_look(waits, Wait(0.0, 99.0)) == 100


def test_one_who_takes_longer_than_all_before_looks_the_more_seldom_the_longer_it_takes() -> None:
    waits = learned(STARTING=[100.0] * 100)
    assert first_look(waits, Wait(0.0, 200.0)) == 200 + LATEST * 100
    assert first_look(waits, Wait(0.0, 960.0)) == 960 + 0.04 / 0.96 * 960


@pytest.mark.parametrize("known", [0, 100])
def test_a_list_of_those_who_are_stuck_is_asked_for_the_more_seldom_the_longer_it_takes(known: int) -> None:
    waits = learned(20.0, STARTING=[100.0] * known)
    many = [Wait(0.0, 2000.0, 100.0 if not known else 1.0)] * 2
    assert first(waits, many, requests=1e9) == 2000 + STRAGGLING * 1900
    many = [Wait(0.0, 9000.0)] * 2
    assert first(waits, many, requests=1e9) == 9000 + LONGEST


def test_one_who_is_not_stuck_is_not_kept_waiting_by_those_who_are() -> None:
    waits = learned(20.0)
    assert first(waits, [Wait(0.0, 7000.0)] * 9 + [Wait(6950.0, 6950.0, 100.0)]) == 6970


def test_it_is_seen_that_waits_became_quicker() -> None:
    waits = learned(STARTING=[100.0] * KEPT)
    for _ in range(KEPT):
        waits.took(STARTING, first_look(waits, Wait(0.0, 0.0)))
    assert first_look(waits, Wait(0.0, 0.0)) < 90


def test_times_are_told_as_shares_of_what_was_expected() -> None:
    waits = Waits(1.0)
    for _ in range(10):
        waits.took(STARTING, 50.0, usual=100.0)
    assert waits.soonest(STARTING, Wait(0.0, 0.0, usual=600.0)) == 240.0


def test_a_page_holds_fifty() -> None:
    assert [pages(count) for count in (0, 1, 50, 51)] == [0, 1, 1, 2]


@given(
    times=st.lists(st.floats(1.0, 3600.0), min_size=5, max_size=30),
    seen=st.floats(0.0, 7200.0),
    matters=st.floats(SPARED, 1.0),
)
def test_no_end_is_noticed_later_than_promised(times: list[float], seen: float, matters: float) -> None:
    waits = learned(STARTING=times)
    wait = Wait(0.0, seen)
    mean, soonest = sum(times) / len(times), waits.soonest(STARTING, wait)
    stuck = min(LONGEST, STRAGGLING * max(0.0, seen - mean))
    late = max(soonest + LATEST * mean / matters, seen + stuck) + 0.01
    assert waits.list_pays(STARTING, [wait] * 3, 1e9, late, matters)
    alone = soonest + max(LATEST * mean, STRAGGLING * late) / (1 - STRAGGLING) + 0.01
    assert waits.look_pays(STARTING, wait, alone)


@given(
    times=st.lists(st.floats(1.0, 3600.0), min_size=5, max_size=30),
    count=st.integers(1, 500),
    now=st.floats(0.0, 7200.0),
)
def test_nobody_is_looked_at_long_before_the_quickest_so_far_was_ready(
    times: list[float], count: int, now: float
) -> None:
    waits = learned(STARTING=times)
    if now < EARLY * min(times):
        assert not waits.list_pays(STARTING, waiting(count), 1.0, now)
        assert not waits.look_pays(STARTING, Wait(0.0, 0.0), now)
