"""Foreign text made safe to show: in errors, reports, logs and on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from itertools import islice

LONGEST = 200
MOST = 5  # problems told at once

# Letters and marks by category, but nothing to see.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def clean(text: str, limit: int = LONGEST) -> str:
    """`text` with every control, bidi and zero-width character as a visible escape, at most `limit` long.

    What was cut off is shown by an ellipsis. Cleaning twice changes nothing.
    """
    if len(text) <= limit and text.isprintable() and (text.isascii() or _INVISIBLE.isdisjoint(text)):
        return text
    pieces: list[str] = []
    room = limit
    for char in text[: limit + 1]:
        piece = _visible(char)
        room -= len(piece)
        pieces.append(piece)
    if room >= 0:
        return "".join(pieces)
    while room < 1:
        room += len(pieces.pop())
    return "".join(pieces) + "…"


def brief(reason: str) -> str:
    """The first clause of a reason: what it was, without what else there is to know and to do about it."""
    return reason.partition("; ")[0]


def at_most(lines: Collection[str], where: str = "") -> str:
    """The first few lines, and how many more there are, `where`."""
    more = len(lines) - MOST
    return "\n".join((*islice(lines, MOST), *([f"{where}and {more} more"] if more > 0 else ())))


def _visible(char: str) -> str:
    if (char.isprintable() or unicodedata.category(char) == "Zs") and char not in _INVISIBLE:
        return char
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
