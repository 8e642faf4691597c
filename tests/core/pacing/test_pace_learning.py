"""A pace without a rate before a gateway that counts strictly: plain arithmetic, ten thousand requests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.pacing.limits import Limit
from fleet.core.pacing.pace import Pace
from fleet.core.pacing.send_log import Peak


@dataclass
class Gateway:
    """Requests that leave as soon as the pace lets them, and answers that come so many seconds later."""

    pace: Pace
    limits: tuple[Limit, ...]
    way: float = 0.1
    now: float = 0.0
    sends: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    answers: deque[tuple[float, Limit | None]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.counts = [(limit, Peak(limit.window)) for limit in self.limits]

    def send(self, requests: int) -> None:
        for _ in range(requests):
            self.wait_until(self.pace.reserve(self.now))
            while (clear := self.pace.clear_at(self.now)) > self.now:
                self.wait_until(min(clear, self.answers[0][0] + self.way if self.answers else clear))
            self.pace.sent(self.now)
            self.sends.append(self.now)
            self.answers.append((self.now, self.judge()))

    def judge(self) -> Limit | None:
        """The first limit that the request breaks; refused requests count too."""
        broken = None
        for limit, peak in self.counts:
            peak.most = 0
            peak.add(self.now)
            if peak.most > limit.count and broken is None:
                broken = limit
        return broken

    def wait_until(self, instant: float) -> None:
        while self.answers and self.answers[0][0] + self.way <= instant:
            sent_at, broken = self.answers.popleft()
            self.now = max(self.now, sent_at + self.way)
            if broken is not None:
                self.refused[broken.policy] += 1
                self.pace.refused(broken, None, sent_at=sent_at, now=self.now)
            self.pace.answered(sent_at, accepted=broken is None)
        self.now = max(self.now, instant)

    def rate(self, requests: int) -> float:
        return (requests - 1) / (self.sends[-1] - self.sends[-requests])


@pytest.mark.parametrize("way", [0.005, 0.1, 0.4])
@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ((Limit("user", 60, 60.0),), 1.0),
        ((Limit("api", 2000, 60.0),), 2000 / 60),
        ((Limit("user", 100, 60.0), Limit("ip", 5, 5.0)), 1.0),
        ((Limit("user", 600, 60.0), Limit("api", 1100, 60.0), Limit("ip", 12, 1.0)), 10.0),
    ],
)
def test_each_policy_refuses_once_and_then_never_in_ten_thousand_at_the_full_rate(
    limits: tuple[Limit, ...], allowed: float, way: float
) -> None:
    gateway = Gateway(Pace(None), limits, way)
    for _ in range(200):
        gateway.send(200)
        if Limit(limits[0].policy, limits[0].count, limits[0].window) in gateway.pace.limits:
            break
    gateway.send(500)
    learning = gateway.refused.copy()
    assert set(learning.values()) == {1}
    gateway.send(10_000)
    assert gateway.refused == learning
    assert gateway.rate(9_500) >= 0.97 * allowed


@given(
    limit=st.builds(Limit, st.just("user"), st.integers(1, 40), st.sampled_from([1.0, 5.0, 10.0, 60.0])),
    way=st.floats(0.001, 3.0),
    rests=st.lists(st.floats(0.0, 200.0), max_size=6),
)
def test_whatever_the_limit_it_is_learned_from_one_refusal(
    limit: Limit, way: float, rests: list[float]
) -> None:
    gateway = Gateway(Pace(None), (limit,), way)
    for rest in rests:
        gateway.wait_until(gateway.now + rest)
        gateway.send(60)
    assert gateway.refused.total() <= 1


def test_known_limits_are_kept_from_the_first_request_on() -> None:
    limit = Limit("user", 600, 60.0)
    gateway = Gateway(Pace(None, (limit,)), (limit,))
    gateway.send(3000)
    assert not gateway.refused
    assert gateway.rate(2900) >= 0.97 * 10.0


def test_a_known_limit_that_was_raised_since_is_grown_out_of_only_when_it_is_told() -> None:
    gateway = Gateway(Pace(None, (Limit("user", 60, 60.0),)), (Limit("user", 120, 60.0),))
    gateway.send(500)
    assert not gateway.refused
    assert gateway.rate(400) <= 1.0
