"""How many requests may be under way: what takes from the limit, what gives to it, and where it ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.core.pacing.in_flight import AFTER_DELAY, AFTER_DROP, InFlight

QUICK = 0.1


def after_answers(limit: InFlight, count: int, now: float = 0.0, latency: float = QUICK) -> float:
    """Takes in answers to requests sent one after the other, the limit in full use; returns the time."""
    for _ in range(count):
        now += latency
        limit.answered(now - latency, now, limit.limit)
    return now


def test_it_starts_at_the_most() -> None:
    assert InFlight(32).limit == 32


def test_a_lost_answer_takes_a_share_and_those_of_the_same_round_trip_nothing_more() -> None:
    limit = InFlight(32)
    limit.dropped(1.0, 2.0)
    assert limit.limit == int(32 * AFTER_DROP)
    for sent_at in (1.0, 1.5, 1.9):
        limit.dropped(sent_at, 2.5)
    assert limit.limit == int(32 * AFTER_DROP)
    limit.dropped(2.1, 3.0)
    assert limit.limit == int(32 * AFTER_DROP * AFTER_DROP)


def test_one_request_may_always_be_under_way() -> None:
    limit = InFlight(8)
    for second in range(50):
        limit.dropped(float(second), float(second))
    assert limit.limit == 1


def test_a_round_of_answers_gives_one_seat_back() -> None:
    limit = InFlight(32)
    limit.dropped(0.0, 0.0)
    before = limit.limit
    after_answers(limit, before + 2)
    assert limit.limit == before + 1
    after_answers(limit, 1000)
    assert limit.limit == 32


def test_answers_give_nothing_while_the_limit_is_not_in_use() -> None:
    limit = InFlight(32)
    limit.dropped(0.0, 0.0)
    before = limit.limit
    for number in range(1000):
        limit.answered(number * 1.0, number + QUICK, before // 2)
    assert limit.limit == before


def test_answers_that_take_much_longer_than_usual_take_a_share() -> None:
    limit = InFlight(32)
    now = after_answers(limit, 100)
    now = after_answers(limit, 30, now, latency=10 * QUICK)
    assert limit.limit <= int(32 * AFTER_DELAY)


def test_a_single_slow_answer_takes_nothing() -> None:
    limit = InFlight(32)
    now = after_answers(limit, 100)
    after_answers(limit, 1, now, latency=5 * QUICK)
    assert limit.limit == 32


def test_what_stays_slow_becomes_the_usual() -> None:
    limit = InFlight(8)
    now = after_answers(limit, 100)
    after_answers(limit, 5000, now, latency=6 * QUICK)
    assert limit.limit == 8


@given(
    most=st.integers(1, 64),
    steps=st.lists(
        st.tuples(st.booleans(), st.floats(0.0, 60.0), st.floats(0.0, 30.0), st.integers(1, 64)), max_size=200
    ),
)
def test_it_stays_between_one_and_the_most(most: int, steps: list[tuple[bool, float, float, int]]) -> None:
    limit, now = InFlight(most), 0.0
    for answered, pause, latency, under_way in steps:
        now += pause
        if answered:
            limit.answered(now - latency, now, under_way)
        else:
            limit.dropped(now - latency, now)
        assert 1 <= limit.limit <= most
