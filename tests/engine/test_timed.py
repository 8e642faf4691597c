"""What a run times of its stops and starts: the cloud's time, not that of our looking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet.core.calls import Rank, Reading
from fleet.core.errors import Meaning
from fleet.core.events import Saw
from fleet.core.planning.plan import PlanScope
from fleet.core.planning.times import Stopwatch
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

TAKES = {"stop": 60.0, "start": 120.0}  # of the bench's cloud, s
SCOPE = PlanScope("lab-a", "r", "p", "https://here.example.com", 30, "k", "")


def timed(made: Any) -> list[tuple[str, float]]:
    watch = Stopwatch(replace(made.plan, scopes=(SCOPE,)))
    for event in made.seen:
        watch(event)
    return [(one.step, one.seconds) for one in watch.timed]


async def test_stops_and_starts_are_timed_within_half_of_what_lies_between_two_lists(
    bench: Callable[..., Any],
) -> None:
    made = bench(30, concurrency=30)
    await made.run()
    gaps = [event.at - event.listed_at for event in made.seen if isinstance(event, Saw) and event.listed_at]
    found = timed(made)
    assert len(found) > 30
    for step, seconds in found:
        assert seconds == pytest.approx(TAKES[step], abs=max(gaps) / 2.0 + 0.5)


async def test_lists_and_looks_that_fail_for_ten_minutes_leave_nothing_behind_in_the_times(
    bench: Callable[..., Any], call_error: Callable[..., Exception]
) -> None:
    made = bench(30, concurrency=30)
    made.cloud.refuse["poll"] = [call_error(Meaning.LOST)] * 30
    look = made.cloud.look

    async def answered_again_later(key: str, rank: Rank) -> Reading:
        if 30.0 < made.clock.monotonic() < 600.0:
            raise call_error(Meaning.LOST)
        reading: Reading = await look(key, rank)
        return reading

    made.cloud.look = answered_again_later
    await made.run()
    assert made.clock.monotonic() > 600.0
    assert timed(made)
    assert max(seconds for _, seconds in timed(made)) < 1.5 * TAKES["start"]
