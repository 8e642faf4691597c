"""When a job comes due, and which of the times that passed are used."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from fleet.core.scheduling.schedule import Due, Missed, Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


EVENINGS = Schedule("0 20 * * *", "Europe/Berlin")


def test_times_follow_the_clock_on_the_wall_through_daylight_saving() -> None:
    days = EVENINGS.next(at("2026-03-28T12:00"), 3)
    assert days == (at("2026-03-28T20:00"), at("2026-03-29T20:00"), at("2026-03-30T20:00"))
    assert [later - earlier for earlier, later in pairwise(days)] == [82_800.0, 86_400.0]


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [
        ("2026-11-20T20:00", "2026-11-21T19:59", None),
        ("2026-11-20T20:00", "2026-11-21T20:00", Due(at("2026-11-21T20:00"), run=True)),
        ("2026-11-20T20:00", "2026-11-21T21:00", Due(at("2026-11-21T20:00"), run=True)),
        ("2026-11-20T20:00", "2026-11-21T21:01", Due(at("2026-11-21T20:00"), run=False)),
        ("2026-11-20T20:00", "2026-11-24T20:30", Due(at("2026-11-24T20:00"), run=True, missed=3)),
        ("2026-11-20T20:00", "2026-11-24T23:00", Due(at("2026-11-24T20:00"), run=False, missed=3)),
    ],
)
def test_a_time_is_used_once_and_only_within_its_grace(since: str, now: str, due: Due | None) -> None:
    assert EVENINGS.due(at(since), at(now)) == due


def test_missed_times_can_be_made_up_for_by_one_run() -> None:
    schedule = Schedule("0 20 * * *", "Europe/Berlin", Missed.RUN)
    assert schedule.due(at("2026-11-20T20:00"), at("2026-11-24T23:00")) == Due(
        at("2026-11-24T20:00"), run=True, missed=3
    )


@pytest.mark.parametrize("cron", ["0 20 * *", "0 25 * * *", "never"])
def test_an_expression_that_is_none_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="no cron expression"):
        Schedule(cron)
