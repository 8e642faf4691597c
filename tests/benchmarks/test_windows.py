"""Counting what fell into a window, which judges every limiter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.windows import fullest, steady_rate

instants = st.lists(st.integers(0, 400), max_size=60).map(lambda ticks: [tick / 8 for tick in sorted(ticks)])


def test_two_requests_a_window_apart_are_never_in_the_same_one() -> None:
    assert fullest([0.0, 0.5, 1.0], 1.0) == 2
    assert fullest([0.0, 0.5, 0.999], 1.0) == 3


def test_nothing_falls_into_a_window_when_nothing_came() -> None:
    assert fullest([], 1.0) == 0


@given(instants, st.integers(1, 40).map(lambda ticks: ticks / 8))
def test_the_fullest_window_is_the_fullest_of_those_that_begin_with_a_request(
    came: list[float], window: float
) -> None:
    counted = [sum(begin <= one < begin + window for one in came) for begin in came]
    assert fullest(came, window) == max(counted, default=0)


def test_a_request_every_20_ms_is_50_a_second() -> None:
    assert round(steady_rate([number / 50 for number in range(101)]), 9) == 50.0
    assert steady_rate([1.0]) == 0.0
