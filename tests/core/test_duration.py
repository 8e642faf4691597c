"""Durations for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.duration import duration, exact
from fleet.core.jobfiles.job_values import parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.44, "0.4s"),
        (7.7, "7.7s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (200.0, "3m20s"),
        (300.0, "5m"),
        (3599.6, "1h"),
        (5400.0, "1h30m"),
        (360_000.0, "100h"),
    ],
)
def test_durations_are_short_and_leave_out_what_is_zero(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.integers(1, 59) | st.integers(60, 3599) | st.integers(60, 6000).map(lambda minutes: minutes * 60))
def test_a_job_file_takes_back_what_is_shown(seconds: int) -> None:
    assert parse_duration(duration(seconds)) == seconds


@given(st.integers(1, 400_000))
def test_an_exact_duration_is_taken_back_to_the_second(seconds: int) -> None:
    assert parse_duration(exact(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0s"), (3600.0, "1h"), (7160.9, "1h59m20s"), (259_200, "3d")]
)
def test_an_exact_duration_leaves_out_what_is_zero(seconds: float, text: str) -> None:
    assert exact(seconds) == text
