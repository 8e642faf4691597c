"""What somebody probably meant: the known words nearest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def similar(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` known words that are close to `word`, whatever their case, nearest first."""
    lowered = {name.lower(): name for name in known}
    return [lowered[close] for close in difflib.get_close_matches(word.lower(), lowered, count, 0.6)]


def nearest(word: str, known: Iterable[str]) -> str:
    """The advice "; did you mean X?", or nothing when no known word is close."""
    close = similar(word, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
