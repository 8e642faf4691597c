"""Pace: the promise about sliding windows, the rate that is reached, and what a 429 teaches."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.core.pacing.pace import CATCH_UP, GROWS_BACK, HEADROOM, Pace, parse_limit, parse_rate

MINUTE = 60.0
TEXT = "The throttling threshold has been reached: policy user over ratelimit,limit:60,time:1 minute"


@dataclass
class Road:
    """Sends through a pace as the gate does, and keeps what a server would have counted."""

    pace: Pace
    now: float = 0.0
    sends: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def send(self, slot: float, late: float = 0.0) -> None:
        self.now = max(self.now, slot) + late
        while (clear := self.pace.clear_at(self.now)) > self.now:
            self.now = clear
        self.pace.sent(self.now)
        self.sends.append(self.now)
        for limit in self.pace.limits:
            inside = sum(1 for at in self.sends if at > self.now - limit.window)
            if inside > limit.count:
                self.broken.append(f"{inside} in {limit} at {self.now}")

    def hurry(self, requests: int) -> None:
        for _ in range(requests):
            self.send(self.pace.reserve(self.now))


@pytest.mark.parametrize("text", ["60/min", "10/s", "300/10s", "5000/h", "1/90s", "7/2h"])
def test_a_rate_is_read_and_written_alike(text: str) -> None:
    assert str(parse_rate(text)) == text


def test_a_rate_of_sixty_seconds_is_one_a_minute() -> None:
    assert parse_rate("60/60s") == parse_rate(" 60/min ") == Rate(60, MINUTE)


@pytest.mark.parametrize(
    "text", ["", "60", "0/s", "10/0s", "1.5/s", "-1/s", "10/d", "10/s/s", "9999999/s", "٣/s"]
)
def test_what_is_no_rate_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"rate .* write it as 60/min") as caught:
        parse_rate(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (TEXT, Limit("user", 60, MINUTE)),
        ("policy api over ratelimit,limit:2000,time:1 minute", Limit("api", 2000, MINUTE)),
        ("policy ip over ratelimit,limit:5,time:5 second", Limit("ip", 5, 5.0)),
        ("Policy APP over rate limit, limit: 3, time: 2 hours", Limit("app", 3, 7200.0)),
        ("policy user over ratelimit,limit:0,time:1 minute", None),
        ("policy user over ratelimit,limit:60,time:0 minute", None),
        ("policy user over ratelimit,limit:99999999999,time:1 minute", None),
        ("Too many requests", None),
        ("", None),
    ],
)
def test_the_gateways_text_is_read(text: str, limit: Limit | None) -> None:
    assert parse_limit(text) == limit


@pytest.mark.row(2)
@given(
    rate=st.builds(Rate, st.integers(1, 8), st.sampled_from([1.0, 7.0, MINUTE])),
    steps=st.lists(
        st.tuples(
            st.floats(0, 30),  # a pause before
            st.lists(st.floats(0, 40), min_size=1, max_size=5),  # slots taken together, each sent so late
            st.none()
            | st.builds(
                Limit, st.sampled_from(["user", "api"]), st.integers(1, 12), st.sampled_from([5.0, 20.0])
            ),
        ),
        max_size=25,
    ),
)
def test_no_window_is_ever_over_any_known_limit(
    rate: Rate, steps: list[tuple[float, list[float], Limit | None]]
) -> None:
    road = Road(Pace(rate))
    for pause, late, limit in steps:
        road.now += pause
        slots = [road.pace.reserve(road.now) for _ in late]
        if limit is not None:
            road.pace.learn(limit, road.now)
        for slot, delay in zip(reversed(slots), late, strict=True):
            road.send(slot, delay)
    assert road.broken == []


@given(
    rate=st.builds(Rate, st.integers(1, 500), st.sampled_from([1.0, 10.0, MINUTE])),
    late=st.lists(st.floats(0, 0.5), min_size=1, max_size=50),
)
def test_under_demand_the_rate_is_reached(rate: Rate, late: list[float]) -> None:
    road = Road(Pace(rate))
    interval = road.pace.interval(0.0)
    for number in range(200):
        road.send(road.pace.reserve(road.now), late[number % len(late)] * interval)
    achieved = (len(road.sends) - 1) / (road.sends[-1] - road.sends[0])
    # One lateness at either end of the measurement is not the pace's.
    assert achieved >= 0.98 * rate.count / rate.window * (1 - 1 / len(road.sends))


def test_slots_are_even_and_never_a_burst() -> None:
    pace = Pace(Rate(60, MINUTE))
    slots = [pace.reserve(0.0) for _ in range(5)]
    gaps = [after - before for before, after in pairwise(slots)]
    assert gaps[0] == pytest.approx(1 + HEADROOM - CATCH_UP)
    assert gaps[1:] == pytest.approx([1 + HEADROOM] * 3)


def test_rest_saves_nothing_up() -> None:
    pace = Pace(Rate(60, MINUTE))
    pace.reserve(0.0)
    first, second = pace.reserve(1000.0), pace.reserve(1000.0)
    assert first == 1000.0
    assert second - first > 1.0


def test_the_strictest_of_several_limits_rules() -> None:
    pace = Pace(Rate(100, 1.0))
    pace.learn(Limit("user", 60, MINUTE), 0.0)
    pace.learn(Limit("api", 5000, MINUTE), 0.0)
    assert pace.interval(0.0) == pytest.approx(1.0 * (1 + HEADROOM))


def test_a_limit_learned_late_counts_what_left_before() -> None:
    road = Road(Pace(Rate(100, 1.0)))
    road.hurry(100)
    road.pace.learn(Limit("user", 60, MINUTE), road.now)
    assert road.pace.clear_at(road.now) >= road.sends[-60] + MINUTE


def test_a_limit_wider_than_our_memory_takes_the_forgotten_for_recent() -> None:
    road = Road(Pace(Rate(10, 1.0)))
    road.hurry(40)
    road.pace.learn(Limit("user", 30, 1000.0), road.now)
    assert road.pace.clear_at(road.now) >= road.sends[-10] + 1000.0


def test_after_a_learned_limit_slots_are_even_again() -> None:
    road = Road(Pace(Rate(100, 1.0)))
    road.hurry(100)
    road.pace.learn(Limit("user", 60, MINUTE), road.now)
    before = len(road.sends)
    road.hurry(10)
    later = road.sends[before:]
    assert all(b - a >= 1.0 for a, b in pairwise(later))


def test_the_same_limit_twice_is_no_news_and_another_count_replaces_it() -> None:
    pace = Pace(Rate(100, 1.0))
    assert pace.learn(Limit("user", 60, MINUTE), 0.0)
    assert not pace.learn(Limit("user", 60, MINUTE), 1.0)
    assert pace.learn(Limit("user", 100, MINUTE), 2.0)
    assert Limit("user", 60, MINUTE) not in pace.limits


def test_holding_delays_slots_that_were_given_out_too() -> None:
    pace = Pace(Rate(60, MINUTE))
    slot = pace.reserve(0.0)
    pace.hold(30.0)
    assert slot == 0.0
    assert pace.clear_at(0.0) == 30.0
    assert pace.reserve(1.0) >= 30.0


@pytest.mark.row(1)
def test_slowing_down_stops_at_a_request_in_two_seconds() -> None:
    pace = Pace(Rate(10, 1.0))
    for second in range(50):
        pace.slow(float(second), float(second))
    assert pace.interval(49.0) == pytest.approx(2.0)


def test_a_rate_below_the_floor_is_not_raised_to_it() -> None:
    pace = Pace(Rate(6, MINUTE))
    before = pace.interval(0.0)
    pace.slow(0.0, 0.0)
    assert pace.interval(0.0) == before


def test_requests_that_left_before_the_slowdown_slow_down_only_once() -> None:
    pace = Pace(Rate(10, 1.0))
    assert pace.slow(1.0, 2.0)
    once = pace.interval(2.0)
    assert not pace.slow(1.5, 2.1)
    assert pace.interval(2.0) == once


def test_the_rate_grows_back_slowly_and_in_full() -> None:
    pace = Pace(Rate(10, 1.0))
    full = pace.interval(0.0)
    pace.slow(0.0, 0.0)
    assert full < pace.interval(60.0) < pace.interval(0.0)
    assert pace.interval(GROWS_BACK) == full


def test_a_limit_that_our_own_requests_fill_is_kept_without_slowing_down() -> None:
    road = Road(Pace(Rate(100, 1.0)))
    road.hurry(61)
    news = road.pace.refused(parse_limit(TEXT), None, sent_at=road.now, now=road.now)
    assert news == "keeping to 60/min by policy user"
    assert road.pace.interval(road.now) == pytest.approx(1 + HEADROOM)


def test_a_limit_that_somebody_else_fills_slows_us_down() -> None:
    road = Road(Pace(Rate(100, 1.0)))
    road.hurry(3)
    news = road.pace.refused(parse_limit(TEXT), None, sent_at=road.now, now=road.now)
    assert "keeping to 60/min" in news
    assert "slowed down" in news


@pytest.mark.row(1)
def test_a_refusal_with_a_hint_pauses_the_key_but_not_for_a_day() -> None:
    pace = Pace(Rate(10, 1.0))
    pace.refused(None, 86400.0, sent_at=0.0, now=0.0)
    assert pace.clear_at(0.0) == 600.0


def test_a_refusal_that_teaches_nothing_is_silent() -> None:
    pace = Pace(Rate(10, 1.0))
    assert pace.refused(None, 5.0, sent_at=0.0, now=1.0)
    assert pace.refused(None, 3.0, sent_at=0.5, now=1.5) == ""


def test_what_keeps_all_from_leaving_is_named_to_the_end_of_the_window() -> None:
    hour = Limit("api", 200, 3600.0)
    pace = Pace(Rate(60, 60.0), [hour])
    for number in range(60):
        pace.sent(1000.0 + number / 1000)
    end = pace.clear_at(1001.0)
    for now in (1001.0, end - 0.1):
        assert pace.shut(now) == Shut(end - now, Limit("configured", 60, 60.0))
    assert pace.shut(end) is None
    pace.hold(end + 10.0)
    assert pace.shut(end) == Shut(end + 10.0 - end, None)
    for number in range(140):
        pace.sent(end + 10.0 + number)
    shut = pace.shut(end + 150.0)
    assert shut is not None
    assert shut.limit is hour
    assert end + 150.0 + shut.seconds == pytest.approx(1000.0 + 3600.0 * (1 + HEADROOM / 2))
