"""What is tried when no rate is known: how it grows and backs off, and that only one request tries more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.pacing.probing import DOUBLES_IN, FASTEST, GROWS_BACK, START, Probing, known_rate


def demand(probing: Probing, seconds: float, since: float = 0.0) -> float:
    """Takes slots one after the other for so long; everything is accepted at once. Returns the time."""
    now = since
    while now < since + seconds:
        now += probing.interval
        probing.wanted()
        probing.sent(now)
        probing.answered(now, accepted=True)
    return now


def test_it_starts_low() -> None:
    assert Probing().interval == 1 / START == 1.0


def test_demand_doubles_the_rate_in_half_a_minute() -> None:
    probing = Probing()
    now = demand(probing, DOUBLES_IN)
    assert probing.rate == pytest.approx(2 * START, rel=0.05)
    demand(probing, 2 * DOUBLES_IN, now)
    assert probing.rate == pytest.approx(8 * START, rel=0.05)


def test_demand_that_the_gateway_has_not_kept_up_with_lets_nothing_grow() -> None:
    probing = Probing()
    for _ in range(1000):
        probing.wanted()
    assert probing.rate == 2 * START


def test_the_rate_never_grows_beyond_the_fastest() -> None:
    probing = Probing(FASTEST)
    probing.wanted()
    assert probing.rate == FASTEST


def test_a_limit_that_was_told_takes_the_rate_down_and_never_up() -> None:
    probing = Probing(8.0)
    probing.cap(2.0)
    assert probing.rate == 2.0
    probing.cap(5.0)
    assert probing.rate == 2.0


def test_after_a_refusal_without_a_limit_the_lost_half_comes_back_in_minutes() -> None:
    probing = Probing(8.0)
    probing.halve(0.5)
    assert probing.rate == 4.0
    demand(probing, GROWS_BACK)
    assert probing.rate == pytest.approx(8.0, rel=0.02)


@pytest.mark.parametrize(("rate", "floor"), [(8.0, 0.5), (0.2, 0.2)])
def test_backing_off_ends_at_the_floor_and_never_raises(rate: float, floor: float) -> None:
    probing = Probing(rate)
    for _ in range(20):
        probing.halve(0.5)
    assert probing.rate == floor


def test_known_limits_are_where_it_starts() -> None:
    assert known_rate([10.0, 2.0]) == 2.0
    assert known_rate([]) == START


def test_only_one_request_goes_beyond_what_was_accepted() -> None:
    probing = Probing()
    assert not probing.blocked(0.0)
    probing.sent(0.0)
    assert probing.blocked(0.5)
    assert probing.answered(0.0, accepted=True)
    assert not probing.blocked(0.5)


def test_what_was_accepted_once_waits_for_no_answer() -> None:
    probing = Probing()
    for at in (0.0, 0.1, 0.2):
        probing.sent(at)
        probing.answered(at, accepted=True)
    for at in (100.0, 100.1, 100.2):
        assert not probing.blocked(at)
        probing.sent(at)
    assert not probing.blocked(100.3)
    probing.sent(100.3)
    assert probing.blocked(100.4)


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_to_another_request_proves_nothing(accepted: bool) -> None:
    probing = Probing()
    for at in (0.0, 0.1):
        probing.sent(at)
        probing.answered(at, accepted=True)
    probing.sent(100.0)
    probing.sent(100.1)
    probing.sent(100.2)
    assert not probing.answered(100.1, accepted=accepted)
    assert probing.blocked(100.3)


def test_a_refused_or_lost_request_does_not_count_as_accepted() -> None:
    probing = Probing()
    probing.sent(0.0)
    assert probing.answered(0.0, accepted=False)
    probing.sent(0.5)
    assert probing.blocked(0.6)


def test_what_may_not_have_arrived_is_not_counted_as_accepted() -> None:
    """The gateway let two requests in when it answered the later one; how many it had counted is unknown."""
    probing = Probing()
    for at in (0.0, 0.1):
        probing.sent(at)
        probing.answered(at, accepted=True)
    for at in (200.0, 200.1, 200.2):
        probing.sent(at)
    probing.answered(200.2, accepted=True)
    for at in (400.0, 400.1):
        probing.sent(at)
    assert not probing.blocked(400.2)
    probing.sent(400.2)
    assert probing.blocked(400.3)


@given(
    limit=st.integers(1, 12),
    window=st.sampled_from([1.0, 5.0, 60.0]),
    way=st.sampled_from([0.01, 0.2, 3.0]),
    pauses=st.lists(st.floats(0.001, 20.0), max_size=150),
)
def test_whatever_the_limit_and_the_demand_the_first_refusal_is_the_only_one_under_way(
    limit: int, window: float, way: float, pauses: list[float]
) -> None:
    """Requests that wait when they are told to, at a server so many seconds away that counts strictly."""
    probing, now = Probing(), 0.0
    sent: list[float] = []
    open_: list[float] = []
    refused: set[float] = set()
    for pause in pauses:
        due = now + pause
        for at in list(open_):
            if at + 2 * way <= due:
                open_.remove(at)
                probing.answered(at, accepted=at not in refused)
                if at in refused:
                    return
        now = due
        if probing.blocked(now):
            continue
        probing.sent(now)
        sent.append(now)
        open_.append(now)
        if sum(at > now - window for at in sent) > limit:
            refused.add(now)
        assert len(refused) <= 1
