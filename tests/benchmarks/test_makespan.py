"""The bound that no run can beat, and what lock-step batches take."""

from __future__ import annotations

from math import log
from statistics import stdev

import pytest

from benchmarks.makespan import (
    CALL,
    Scene,
    Times,
    draw_flavors,
    draw_times,
    greedy,
    lock_step,
    lower_bound,
    play,
    timed,
)
from benchmarks.story import plan

CALLS = 1.2 + 0.06  # s of the way of one change beside its stop, PUT and start

SHORT, LONG = Times(10.0, 20.0 - CALL), Times(100.0, 200.0 - CALL)


@pytest.mark.parametrize(
    ("times", "scene", "bound"),
    [
        ([SHORT] * 10, Scene(2, 100.0), 150.0 + 5 * CALLS),  # the slots
        ([SHORT] * 10, Scene(10, 0.1), 400.0),  # the rate
        ([SHORT] * 9 + [LONG], Scene(10, 100.0), 300.0 + CALLS),  # the slowest
    ],
)
def test_the_lower_bound_is_the_largest_of_rate_slots_and_slowest(
    times: list[Times], scene: Scene, bound: float
) -> None:
    assert lower_bound(times, scene) == pytest.approx(bound)


def test_a_batch_takes_as_long_as_its_slowest_notebook() -> None:
    assert lock_step([SHORT, LONG, SHORT, SHORT, SHORT], Scene(2, 100.0)) == pytest.approx(360.0)


def test_a_free_slot_takes_the_next_notebook_at_once() -> None:
    assert greedy([SHORT, LONG, SHORT, SHORT, SHORT], Scene(2, 1e9)) == pytest.approx(300.0 + CALLS)
    assert greedy([SHORT, SHORT, LONG], Scene(2, 1e9)) == pytest.approx(330.0 + 2 * CALLS)
    assert greedy([SHORT, SHORT, LONG], Scene(3, 1.0)) == pytest.approx(302.0 + CALLS)
    assert greedy([SHORT] * 4, Scene(4, 0.1)) == pytest.approx(160.0)


def test_times_are_the_same_in_every_run() -> None:
    assert draw_times(3) == draw_times(3)
    assert draw_flavors(3) == draw_flavors(3)


def test_flavors_tell_most_but_not_all_of_how_long_a_notebook_takes() -> None:
    times, flavors, took = draw_flavors(2000)
    off = [one.start / took[name].start for one, name in zip(times, flavors, strict=True)]
    assert 0.2 < stdev(map(log, off)) < 0.3
    assert stdev(log(one.start) for one in times) > 0.4


def test_a_later_run_has_the_longest_expected_first() -> None:
    order, times = timed(plan(50))
    took = [order.estimate.times[change.flavor] for change in order.changes]
    expected = [one.stop + one.start for one in took]
    assert expected == sorted(expected, reverse=True)
    assert [change.item for change in order.changes] == list(range(50))
    assert len(times) == 50


def test_however_many_wait_at_a_low_rate_notebooks_are_away_hardly_longer_than_they_need() -> None:
    sample = play(120, Scene(100, 1.0))
    assert sample.more["away over own time"] < 1.2
