"""Limits across runs: what is believed, for how long, and what is no memory at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.pacing.limits import Limit
from fleet.core.pacing.pace import LARGEST
from fleet.core.pacing.remembered import BELIEVED, Taught, by_key, dump, load, with_news

NOW = 1_764_000_000.0
USER = Taught("h as access key A, reads", "user", 60, 60.0, NOW)


@given(
    st.lists(
        st.builds(
            Taught,
            st.text(max_size=20),
            st.sampled_from(["user", "api", "ip"]),
            st.integers(1, LARGEST),
            st.floats(1.0, 3600.0),
            st.floats(NOW - BELIEVED, NOW),
        )
    )
)
def test_what_is_written_is_read_back(taught: list[Taught]) -> None:
    assert load(dump(taught), NOW) == tuple(taught)


@pytest.mark.parametrize(
    ("age", "believed"), [(0.0, True), (BELIEVED, True), (BELIEVED + 1.0, False), (-1.0, False)]
)
def test_a_limit_is_believed_for_a_day_and_never_before_its_time(age: float, believed: bool) -> None:
    assert load(dump([USER]), NOW + age) == ((USER,) if believed else ())


@pytest.mark.parametrize(
    "change", [{"count": 0}, {"count": LARGEST + 1}, {"window": 0.0}, {"window": -1.0}, {"window": 1e9}]
)
def test_a_limit_that_makes_no_sense_is_not_believed(change: dict[str, Any]) -> None:
    assert load(dump([USER, replace(USER, **change)]), NOW) == (USER,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"{}",
        b'{"format": 2, "taught": []}',
        b'{"format": 1, "taught": [{"key": "k"}]}',
        dump([USER]).replace(b"60.0", b'"60.0"'),
        dump([USER])[:-9],
    ],
)
def test_damage_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        load(data, NOW)


def test_the_file_says_its_version() -> None:
    assert json.loads(dump([]))["format"] == 1


def test_news_take_the_place_of_what_was_known_of_the_same_limit() -> None:
    others = [
        replace(USER, key="other"),
        replace(USER, policy="ip"),
        replace(USER, window=5.0),
    ]
    news = replace(USER, count=100, at=NOW + 1)
    assert with_news([USER, *others], news) == (*others, news)


def test_limits_are_given_by_key() -> None:
    other = replace(USER, key="other", policy="ip", count=5)
    assert by_key([USER, other, replace(USER, policy="api", count=9)]) == {
        USER.key: (Limit("user", 60, 60.0), Limit("api", 9, 60.0)),
        "other": (Limit("ip", 5, 60.0),),
    }
