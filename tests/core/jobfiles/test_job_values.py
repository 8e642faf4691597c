"""Durations, shares and waves of a job file: what is one, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.jobfiles.job_values import parse_duration, parse_share, parse_waves
from fleet.core.rollout import Share

_SECONDS = st.tuples(st.integers(0, 99_999), st.integers(0, 99_999), st.integers(0, 999_999))


@given(_SECONDS)
def test_durations_add_up(parts: tuple[int, int, int]) -> None:
    hours, minutes, seconds = parts
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
    assert parse_duration(f"{minutes}m") == minutes * 60


@pytest.mark.parametrize(
    "value", ["", "10", "m", "10 m", "1.5h", "-5m", "10M", "5m1h", "1w", "١m", 10, 1.5, True, None]
)
def test_nothing_else_is_a_duration(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(value)


@given(st.integers(1, 100), st.integers(1, 10**9))
def test_shares_are_numbers_or_percentages(percent: int, number: int) -> None:
    assert parse_share(f"{percent}%") == Share(percent, percent=True)
    assert parse_share(number) == Share(number)


@given(st.one_of(st.integers(max_value=0), st.floats(), st.booleans(), st.none(), st.text(max_size=6)))
def test_nothing_else_is_a_share(value: object) -> None:
    if not (isinstance(value, str) and value.endswith("%")):
        with pytest.raises(ValueError, match=r"neither a number|nothing happen"):
            parse_share(value)


@given(st.sets(st.integers(1, 10**6), max_size=5), st.sets(st.integers(1, 100), max_size=5))
def test_waves_ascend(numbers: set[int], percents: set[int]) -> None:
    waves = [*sorted(numbers), *(f"{percent}%" for percent in sorted(percents))]
    if waves:
        assert [str(share) for share in parse_waves(waves)] == [str(wave) for wave in waves]
    if len(numbers) > 1:
        with pytest.raises(ValueError, match="larger running total"):
            parse_waves(sorted(numbers, reverse=True))
