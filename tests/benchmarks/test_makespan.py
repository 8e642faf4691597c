"""The bound that no run can beat, and what lock-step batches take."""

from __future__ import annotations

import pytest

from benchmarks.makespan import CALL, Scene, Times, draw_times, greedy, lock_step, lower_bound, play

SHORT, LONG = Times(10.0, 20.0 - CALL), Times(100.0, 200.0 - CALL)


@pytest.mark.parametrize(
    ("times", "scene", "bound"),
    [
        ([SHORT] * 10, Scene(2, 100.0), 150.0),  # the slots
        ([SHORT] * 10, Scene(10, 0.1), 400.0),  # the rate
        ([SHORT] * 9 + [LONG], Scene(10, 100.0), 300.0),  # the slowest
    ],
)
def test_the_lower_bound_is_the_largest_of_rate_slots_and_slowest(
    times: list[Times], scene: Scene, bound: float
) -> None:
    assert lower_bound(times, scene) == pytest.approx(bound)


def test_a_batch_takes_as_long_as_its_slowest_notebook() -> None:
    assert lock_step([SHORT, LONG, SHORT, SHORT, SHORT], Scene(2, 100.0)) == pytest.approx(360.0)


def test_a_free_slot_takes_the_next_notebook_at_once() -> None:
    assert greedy([SHORT, LONG, SHORT, SHORT, SHORT], Scene(2, 100.0)) == pytest.approx(300.0)
    assert greedy([SHORT, SHORT, LONG], Scene(2, 100.0)) == pytest.approx(330.0)
    assert greedy([SHORT] * 4, Scene(4, 0.1)) == pytest.approx(160.0)


def test_times_are_the_same_in_every_run() -> None:
    assert draw_times(3) == draw_times(3)


def test_however_many_wait_at_a_low_rate_notebooks_are_away_hardly_longer_than_they_need() -> None:
    sample = play(120, Scene(100, 1.0))
    assert sample.more["away over own time"] < 1.2
