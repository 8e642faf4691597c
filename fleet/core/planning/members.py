"""Reads the text of a large JSON object bit by bit, so that it never lies in memory as a whole.

Neighbour: `plan`, whose files can hold a change for each of a million notebooks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, TextIO

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_PIECE = 1 << 16  # characters


def members(text: TextIO, listed: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The members of the object in `text`, in its order; those in `listed` row by row if they are arrays.

    None for JSON that is no object. Raises ValueError (or RecursionError) where the text is no JSON, once
    it has come there.
    """
    cursor = _Cursor(text)
    if cursor.next() != "{":
        cursor.value()
        cursor.end()
        return
    for _ in cursor.parts("{", "}"):
        key = cursor.value()
        if not isinstance(key, str):
            raise ValueError("a key is no text")
        cursor.require(":")
        if key in listed and cursor.next() == "[":
            for _ in cursor.parts("[", "]"):
                yield key, cursor.value()
        else:
            yield key, cursor.value()
    cursor.end()


class _Cursor:
    """A place in a JSON text, of which only a piece is read at a time."""

    def __init__(self, text: TextIO) -> None:
        self._file = text
        self._text, self._at = "", 0

    def next(self) -> str:
        """The next character that is no blank, where the cursor stays; empty at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def end(self) -> None:
        """Makes sure that nothing follows."""
        if self.next():
            raise ValueError("something follows the object")

    def require(self, mark: str) -> None:
        """Steps over `mark`."""
        if self.next() != mark:
            raise ValueError(f"no {mark} at {self._at}")
        self._at += 1

    def value(self) -> Any:
        """Steps over a whole value."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if not self._read_on():
                    raise
                continue
            if end < len(self._text) or not self._read_on():  # where a piece ends, a number may go on
                self._at = end
                return value

    def parts(self, begin: str, end: str) -> Iterator[None]:
        """Steps over the marks of an array or an object, and halts before each part."""
        self.require(begin)
        if self.next() != end:
            yield
        while self.next() != end:
            self.require(",")
            yield
        self.require(end)

    def _read_on(self) -> bool:
        """Reads another piece, at least as long as what is at hand: however often, it adds up to little."""
        left = self._text[self._at :]
        more = self._file.read(max(_PIECE, len(left)))
        self._text, self._at = left + more, 0
        return bool(more)
