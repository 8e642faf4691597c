"""Windows and blackouts, held against an oracle that tries every minute."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.core.scheduling.calendar import Blackout, Calendar, Window, local_instant, told

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "UTC")
# Each holds a change of the clocks in some of the zones.
DAYS = (
    datetime(2026, 3, 27, tzinfo=UTC),
    datetime(2026, 10, 23, tzinfo=UTC),
    datetime(2026, 4, 3, tzinfo=UTC),
)


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def openings(window: Window, begins: float, ends: float) -> list[float]:
    """Every opening of a window with a fixed hour and minute, found by walking through all minutes.

    The local clock shows the wanted time, or has just jumped over it.
    """
    minute, hour = (int(part) for part in window.opens.split()[:2])
    zone, found, seen, before = ZoneInfo(window.timezone), [], set(), None
    moment = begins - 2 * DAY
    while moment < ends:
        local = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
        wanted = local.replace(hour=hour, minute=minute)
        reached = local == wanted or (before is not None and before < wanted < local)
        if reached and wanted not in seen:
            seen.add(wanted)
            found.append(moment)
        before, moment = local, moment + MINUTE
    return found


def is_open(calendar: Calendar, starts: list[list[float]], moment: float) -> bool:
    inside = any(
        begins <= moment < begins + window.lasts
        for window, found in zip(calendar.windows, starts, strict=True)
        for begins in found
    )
    banned = any(black.span.begins <= moment < black.span.ends for black in calendar.blackouts)
    return (inside or not calendar.windows) and not banned


windows = st.builds(
    lambda minute, hour, lasts, zone: Window(f"{minute} {hour} * * *", lasts * MINUTE, zone),
    st.sampled_from((0, 15, 30, 59)),
    st.sampled_from((0, 1, 2, 3, 22, 23)),
    st.integers(1, 26 * 60),
    st.sampled_from(ZONES),
)


@st.composite
def calendars(draw: st.DrawFn) -> tuple[Calendar, float]:
    day = draw(st.sampled_from(DAYS))
    blackouts = []
    for _ in range(draw(st.integers(0, 2))):
        begins = day.replace(tzinfo=None) + timedelta(minutes=draw(st.integers(0, 3 * 1440)))
        ends = begins + timedelta(minutes=draw(st.integers(120, 1440)))
        blackouts.append(Blackout(begins.isoformat(), ends.isoformat(), draw(st.sampled_from(ZONES))))
    listed = draw(st.lists(windows, max_size=3))
    return Calendar(tuple(listed), tuple(blackouts)), day.timestamp()


@settings(max_examples=15, deadline=None)
@given(calendars(), st.integers(0, 3 * 1440), st.integers(0, 600))
def test_a_calendar_agrees_with_an_oracle_that_tries_every_minute(
    made: tuple[Calendar, float], offset: int, needs: int
) -> None:
    calendar, day = made
    now, end = day + offset * MINUTE, day + 6 * DAY
    starts = [openings(window, day, end) for window in calendar.windows]
    opened = [is_open(calendar, starts, now + step * MINUTE) for step in range(3 * 1440)]

    assert (calendar.open_until(now) is not None) is opened[0]
    if opened[0] and False in opened:
        assert calendar.open_until(now) == now + opened.index(False) * MINUTE
    run = next((step for step in range(2 * 1440) if all(opened[step : step + max(1, needs)])), None)
    if run is not None:
        assert calendar.next_opening(now, max(1, needs) * MINUTE) == now + run * MINUTE
    assert calendar.fits(now, max(1, needs) * MINUTE) is all(opened[: max(1, needs)])


def test_without_windows_it_is_always_open() -> None:
    assert Calendar().open_until(0.0) == math.inf
    assert Calendar().next_opening(5.0, 1e9) == 5.0
    assert not Calendar()


def test_with_windows_it_is_closed_outside_of_them() -> None:
    calendar = Calendar((Window("0 22 * * FRI", 6 * HOUR, "Europe/Berlin"),))
    friday = at("2026-11-27T22:00", "Europe/Berlin")
    assert calendar.open_until(friday - 1) is None
    assert calendar.open_until(friday) == friday + 6 * HOUR
    assert calendar.open_until(friday + 6 * HOUR) is None
    assert calendar.next_opening(friday - DAY, HOUR) == friday


def test_what_no_longer_fits_waits_for_the_next_window() -> None:
    calendar = Calendar((Window("0 22 * * *", HOUR),))
    opens = at("2026-11-27T22:00")
    assert calendar.fits(opens + 1800, 1800)
    assert not calendar.fits(opens + 1801, 1800)
    assert calendar.next_opening(opens + 1801, 1800) == opens + DAY


def test_what_is_longer_than_every_window_never_fits() -> None:
    assert Calendar((Window("0 22 * * *", HOUR),)).next_opening(0.0, HOUR + 1) is None


def test_a_blackout_beats_a_window() -> None:
    calendar = Calendar((Window("0 0 * * *", DAY),), (Blackout("2026-12-24", "2026-12-27", "UTC"),))
    assert calendar.open_until(at("2026-12-23T12:00")) == at("2026-12-24T00:00")
    assert calendar.open_until(at("2026-12-25T12:00")) is None
    assert calendar.next_opening(at("2026-12-25T12:00")) == at("2026-12-27T00:00")


def test_windows_that_touch_are_one() -> None:
    calendar = Calendar((Window("0 20 * * *", 2 * HOUR), Window("0 22 * * *", 2 * HOUR)))
    assert calendar.fits(at("2026-11-27T20:00"), 4 * HOUR)


@pytest.mark.parametrize(
    ("cron", "day", "zone", "opens"),
    [
        ("30 2 * * *", "2026-03-29", "Europe/Berlin", "2026-03-29T01:00"),  # skipped: the gap ends at 3:00
        ("30 2 * * *", "2026-10-25", "Europe/Berlin", "2026-10-25T00:30"),  # comes twice: the first one
        ("15 2 * * *", "2026-10-04", "Australia/Lord_Howe", "2026-10-03T15:30"),  # a gap of half an hour
    ],
)
def test_an_opening_that_the_clocks_skip_or_repeat_comes_once(
    cron: str, day: str, zone: str, opens: str
) -> None:
    spans = Calendar((Window(cron, 1800.0, zone),)).spans(at(f"{day}T00:00", zone))
    first, second = next(spans), next(spans)
    assert first.begins == at(opens)
    assert second.begins - first.begins > 20 * HOUR


def test_a_window_lasts_real_seconds_through_a_change_of_the_clocks() -> None:
    calendar = Calendar((Window("0 1 * * *", 3 * HOUR, "Europe/Berlin"),))
    opens = at("2026-03-29T01:00", "Europe/Berlin")
    assert calendar.open_until(opens) == opens + 3 * HOUR
    assert told(opens + 3 * HOUR, "Europe/Berlin") == "Sun 2026-03-29 05:00 CEST"


def test_a_local_time_that_comes_twice_means_the_first() -> None:
    first = at("2026-10-25T02:30", "Europe/Berlin", fold=0)
    assert local_instant("2026-10-25T02:30", "Europe/Berlin") == first


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Window("0 0 30 2 *", HOUR), "no cron expression"),
        (lambda: Window("* * * *", HOUR), "no cron expression"),
        (lambda: Window("0 1 * * *", 0.0), "longer than nothing"),
        (lambda: Window("0 1 * * *", 40 * DAY), "at most 31 days"),
        (lambda: Window("0 1 * * *", HOUR, "Europe/Bonn"), "no time zone"),
        (lambda: Window("0 1 * * *", HOUR, "../etc/passwd"), "no time zone"),
        (lambda: Blackout("2026-12-27", "2026-12-24"), "not after it begins"),
        (lambda: Blackout("tomorrow", "2026-12-24"), "no local time"),
        (lambda: Blackout("2026-12-24T00:00+01:00", "2026-12-25"), "has an offset"),
    ],
)
def test_what_can_never_be_right_is_refused(make: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()  # type: ignore[operator]  # a lambda of the table
