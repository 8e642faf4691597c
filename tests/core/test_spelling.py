"""Advice for a misspelt word."""

from __future__ import annotations

from fleet.core.spelling import nearest, similar


def test_the_nearest_known_word_is_proposed_in_its_own_spelling() -> None:
    assert nearest("runing", ["RUNNING", "STOPPED"]) == "; did you mean RUNNING?"
    assert similar("wave", ["waves", "wage", "soak"]) == ["waves", "wage"]


def test_nothing_is_proposed_when_nothing_is_close() -> None:
    assert nearest("zzz", ["RUNNING"]) == ""
    assert similar("zzz", []) == []
