"""What left: the log that decides, the peak that proves."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fleet.core.pacing.send_log import Peak, SendLog, largest_count

instants = st.lists(st.integers(0, 200), max_size=60).map(sorted)


def test_the_log_forgets_the_oldest() -> None:
    log = SendLog()
    log.grow(3)
    for at in range(5):
        log.add(float(at))
    assert [log.last(count) for count in (1, 2, 3)] == [4.0, 3.0, 2.0]
    assert log.since(2.0) == [3.0, 4.0]


def test_before_anything_left_the_last_send_is_infinitely_long_ago() -> None:
    log = SendLog()
    log.grow(2)
    assert log.last(1) == -math.inf


@given(instants, st.integers(1, 8), st.integers(1, 30))
def test_a_log_that_grows_takes_the_forgotten_for_recent(sends: list[int], small: int, more: int) -> None:
    log = SendLog()
    log.grow(small)
    for at in sends:
        log.add(float(at))
    log.grow(small + 1)  # growing twice forgets nothing more
    log.grow(small + more)
    for count in range(1, small + more + 1):
        true = float(sends[-count]) if count <= len(sends) else -math.inf
        assert log.last(count) >= true
        assert count > small or log.last(count) == true


@given(instants, st.integers(1, 50))
def test_the_largest_count_is_that_of_a_count_over_every_window(sends: list[int], window: int) -> None:
    slow = max((sum(start <= at < start + window for at in sends) for start in sends), default=0)
    assert largest_count(map(float, sends), float(window)) == slow


def test_two_sends_a_whole_window_apart_are_never_counted_together() -> None:
    assert largest_count([0.0, 10.0], 10.0) == 1
    assert largest_count([0.0, 9.9, 10.0], 10.0) == 2


def test_what_left_before_the_counting_began_shares_windows_with_what_left_later() -> None:
    peak = Peak(10.0)
    peak.begin([1.0, 2.0, 3.0])
    assert peak.most == 0
    peak.add(11.5)
    assert peak.most == 3
