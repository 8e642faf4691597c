"""Usage: what samples come to, which of them count, and when a notebook counts as idle."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.usage import IDLE_BELOW, Book, Level, Resource, Usage, proves_idle, use_of

NOW = 1_764_000_000.0
STEP = 600.0
DAY = 86_400.0
CPU = Resource.CPU
NB = "f9937afa-4451-42db-a76b-72d624749f66"


def book(days: float = 1.0, since: float = 0.0, step: float = STEP) -> Book:
    return Book({NB: since}, window=days * DAY, until=NOW, step=step)


def usage_of(book: Book, percentile: float = 95.0) -> Usage:
    ((found, usage),) = book.usages(percentile)
    assert found == NB
    return usage


def fed(values: Iterable[float], *, every: float = STEP, days: float = 1.0) -> Level:
    """The level of CPU samples that end now."""
    mine, samples = book(days), list(values)
    for back, value in enumerate(reversed(samples)):
        mine.take(NB, CPU, NOW - 1 - back * every, value)
    return usage_of(mine).levels[CPU]


def test_the_percentile_is_a_value_that_was_measured_by_nearest_rank() -> None:
    level = fed(range(1, 101))
    assert (level.usual, level.peak) == (95, 100)
    assert fed([7.0]).usual == 7.0


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=144),
    st.floats(50, 100),
    st.randoms(use_true_random=False),
)
def test_at_least_the_percentile_of_samples_is_no_higher(
    values: list[float], percentile: float, random: object
) -> None:
    mine = book()
    for at, value in enumerate(values):
        mine.take(NB, CPU, NOW - 1 - at * STEP, value)
    level = usage_of(mine, percentile).levels[CPU]
    assert level.usual in values
    assert sum(value <= level.usual for value in values) >= math.ceil(percentile / 100 * len(values) - 1e-9)
    assert level.peak == max(values)


@given(st.permutations([(NOW - at * 450.0, float(at % 7)) for at in range(60)]))
def test_the_order_of_samples_does_not_matter(samples: list[tuple[float, float]]) -> None:
    straight, shuffled = book(), book()
    for at, value in sorted(samples):
        straight.take(NB, CPU, at, value)
    for at, value in samples:
        shuffled.take(NB, CPU, at, value)
    assert usage_of(straight) == usage_of(shuffled)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1])
def test_what_is_no_share_is_dropped(value: float) -> None:
    mine = book()
    mine.take(NB, CPU, NOW - 5, value)
    assert usage_of(mine).levels == {}


@pytest.mark.parametrize("at", [NOW + 1, NOW - DAY - 1, math.nan, math.inf])
def test_what_is_outside_of_the_window_is_dropped(at: float) -> None:
    mine = book()
    mine.take(NB, CPU, at, 5.0)
    assert usage_of(mine).levels == {}


def test_more_than_everything_counts_as_everything_and_is_never_dropped_as_if_it_were_idle() -> None:
    assert fed([1.0, 350.0]).peak == 100.0


def test_bytes_are_no_share_and_have_no_end() -> None:
    mine = book()
    mine.take(NB, Resource.NETWORK_RECEIVE, NOW - 5, 123_456.0)
    assert usage_of(mine).levels[Resource.NETWORK_RECEIVE].peak == 123_456.0


def test_a_notebook_that_nobody_asked_for_is_not_kept() -> None:
    mine = book()
    mine.take("another", CPU, NOW - 5, 5.0)
    assert [id for id, _ in mine.usages(95.0)] == [NB]


def test_what_was_used_before_the_last_change_of_the_flavor_does_not_count() -> None:
    mine = book(since=NOW - 3600)
    mine.take(NB, CPU, NOW - 3601, 90.0)
    mine.take(NB, CPU, NOW - 3600, 10.0)
    assert usage_of(mine).levels[CPU].peak == 10.0


def test_of_one_interval_the_highest_sample_stays_and_counts_once() -> None:
    mine = book()
    for value in (3.0, 60.0, 5.0):
        mine.take(NB, CPU, NOW - 60, value)
    level = usage_of(mine).levels[CPU]
    assert (level.usual, level.share) == (60.0, 1 / 144)


def test_the_share_is_the_measured_part_of_the_window() -> None:
    assert fed([1.0] * 144).share == 1.0
    assert fed([1.0] * 36).share == 0.25


def test_samples_an_hour_apart_cover_the_hours_between_them_but_days_apart_do_not() -> None:
    assert fed([1.0] * 24, every=3600.0).share == 1.0
    assert fed([1.0] * 2, every=12 * 3600.0).share == 2 * 3600.0 / DAY


def test_of_too_fine_a_window_there_is_still_one_interval() -> None:
    mine = Book({NB: 0.0}, window=60.0, until=NOW, step=STEP)
    mine.take(NB, CPU, NOW, 4.0)
    assert usage_of(mine).levels[CPU].share == 1.0


def levels(last: float = NOW, first: float = NOW - 9000.0, hole: float = 0.0, **peaks: float) -> Usage:
    found = {Resource(name): Level(peak, peak, 1.0, first, last, hole) for name, peak in peaks.items()}
    return Usage(1800.0, 100.0, found)


QUIET = {"cpu": 5.0, "network_receive": 200.0}


@pytest.mark.parametrize(
    ("usage", "category", "verdict"),
    [
        (levels(**QUIET), "CPU", True),
        (levels(cpu=5.1, network_receive=0.0), "CPU", False),
        (levels(cpu=0.0, network_receive=201.0), "CPU", False),
        (levels(cpu=0.0), "CPU", None),
        (levels(cpu=9.0), "CPU", False),
        (levels(), "CPU", None),
        (levels(**QUIET), "GPU", None),
        (levels(**QUIET, gpu=1.0), "GPU", True),
        (levels(**QUIET, gpu=1.1), "GPU", False),
        (levels(**QUIET, gpu=1.0), "ASCEND", None),
        (levels(**QUIET, npu=0.0), "ascend", True),
        (levels(**QUIET), "QUANTUM", None),
        (levels(last=NOW - 1501, **QUIET), "CPU", None),
        (levels(last=NOW - 1501, cpu=50.0), "CPU", False),
        (levels(first=NOW - 1800, **QUIET), "CPU", True),
        (levels(first=NOW - 1799, **QUIET), "CPU", None),
        (levels(first=NOW - 1800, last=NOW - 1, **QUIET), "CPU", None),
        (levels(hole=360.0, **QUIET), "CPU", True),
        (levels(hole=361.0, **QUIET), "CPU", None),
        (levels(hole=361.0, cpu=50.0), "CPU", False),
    ],
)
def test_idle_is_what_is_measured_under_every_threshold_of_its_category(
    usage: Usage, category: str, verdict: bool | None
) -> None:
    assert use_of(usage, proves_idle(category), 1800.0, NOW - 1500).idle is verdict


@pytest.mark.parametrize(
    ("ages", "verdict"),
    [
        ([10.0], None),
        ([10.0, 70.0, 130.0], None),
        ([10.0, 1850.0], None),
        ([60.0 * n + 10.0 for n in range(32)], True),
        ([60.0 * n + 10.0 for n in range(32) if not 9 <= n < 15], True),
        ([60.0 * n + 10.0 for n in range(32) if not 9 <= n < 16], None),
        ([300.0 * n + 10.0 for n in range(8)], True),
        ([60.0 * n + 700.0 for n in range(32)], True),  # it appears late
    ],
)
def test_only_samples_of_all_the_time_prove_that_it_was_idle(ages: list[float], verdict: bool | None) -> None:
    mine = Book({NB: 0.0}, window=2760.0, until=NOW, step=60.0)
    for age in ages:
        for resource in (CPU, Resource.NETWORK_RECEIVE):
            mine.take(NB, resource, NOW - age, 0.0)
    ((_, usage),) = mine.latest(1800.0)
    assert use_of(usage, proves_idle("CPU"), 1800.0, NOW - 960).idle is verdict


@pytest.mark.parametrize("late", [10.0, 700.0])
@pytest.mark.parametrize(("ago", "idle"), [(1700.0, False), (1870.0, True), (2000.0, True)])
def test_what_was_used_longer_ago_than_it_must_be_idle_does_not_count(
    late: float, ago: float, idle: bool
) -> None:
    mine = Book({NB: 0.0}, window=2760.0, until=NOW, step=60.0)
    for age in (late + 60.0 * n for n in range(34)):
        for resource in (CPU, Resource.NETWORK_RECEIVE):
            mine.take(NB, resource, NOW - age, 0.0)
    mine.take(NB, CPU, NOW - late - ago, 90.0)
    ((_, usage),) = mine.latest(1800.0)
    assert use_of(usage, proves_idle("CPU"), 1800.0, NOW - 960).idle is idle


@given(st.sets(st.integers(0, 45)), st.integers(10, 40), st.sampled_from([60.0, 600.0]))
def test_every_sample_of_the_time_that_must_be_idle_counts(ages: set[int], minutes: int, step: float) -> None:
    busiest = Book({NB: 0.0}, window=minutes * 60.0 + 900.0 + step, until=NOW, step=step)
    for age in ages:
        busiest.take(NB, CPU, NOW - 60.0 * age, 1.0 + age)
    ((_, usage),) = busiest.latest(minutes * 60.0)
    if counted := [age for age in ages if age - min(ages) < minutes and 60.0 * age <= busiest.window]:
        assert usage.levels[CPU].peak >= 1.0 + max(counted)


def test_with_nothing_needed_nothing_is_proven() -> None:
    assert use_of(levels(**QUIET), (), 1800.0, NOW).idle is None


def test_thresholds_of_ones_own_ask_for_no_other_data() -> None:
    below = {CPU: 20.0}
    assert proves_idle("GPU", below) == {CPU}
    assert use_of(levels(cpu=15.0, gpu=90.0), proves_idle("GPU", below), 1800.0, NOW, below).idle is True
    assert IDLE_BELOW[CPU] == 5.0


@pytest.mark.parametrize(
    ("usage", "category", "why"),
    [
        (levels(**QUIET), "CPU", "idle for 30m"),
        (levels(**QUIET, gpu=43.21), "GPU", "GPU 43.2 % > 1 % in the last "),
        (levels(cpu=6.0, network_receive=200.0, gpu=43.0), "GPU", "GPU 43 % > 1 % in the last "),
        (levels(cpu=0.0, network_receive=1500.0), "CPU", "network 12 > 1.6 kbit/s in the last "),
        (levels(**QUIET), "GPU", "no data of GPU"),
        (levels(), "GPU", "no data of CPU, GPU, network"),
    ],
)
def test_it_is_told_by_which_number_a_notebook_is_busy_and_of_what_there_is_no_data(
    usage: Usage, category: str, why: str
) -> None:
    assert use_of(usage, proves_idle(category), 1800.0, NOW - 1500).why.startswith(why)


def test_old_data_say_since_when_there_is_none() -> None:
    quiet = levels(last=NOW - 1600, **QUIET)
    assert use_of(quiet, proves_idle("CPU"), 1800.0, NOW - 1500).since == NOW - 1600
    assert use_of(quiet, proves_idle("GPU"), 1800.0, NOW - 1500).since is None
