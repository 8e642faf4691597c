"""Foreign text made safe to show."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.text import LONGEST, clean


@pytest.mark.parametrize("text", ["", "plain", "Grüße 日本語", "a\u00a0b", "emoji 🎉", "back\\slash"])
def test_ordinary_text_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.row(42)
@pytest.mark.security("escapes")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\x00", "a\\x0ab\\x09c\\x00"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028end", "line\\u2028end"),
        ("lone \ud800", "lone \\ud800"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("filler \u3164", "filler \\u3164"),
    ],
)
def test_what_cannot_be_seen_or_moves_the_cursor_becomes_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.row(42)
@pytest.mark.security("escapes")
@given(st.text(st.characters(), max_size=3 * LONGEST))
def test_cleaned_text_is_short_harmless_and_stays_as_it_is(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= LONGEST
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    assert clean(shown) == shown


def test_what_was_cut_is_told() -> None:
    assert clean("x" * 201) == "x" * 199 + "…"
    assert clean("x" * 200) == "x" * 200


def test_an_escape_is_not_cut_in_two() -> None:
    assert clean("abc\x1b\x1b", 8) == "abc\\x1b…"
