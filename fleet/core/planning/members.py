"""Reads the text of a large JSON object bit by bit, so that it never lies in memory as a whole.

Neighbour: `plan`, whose files can hold a change for each of a million notebooks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def members(text: str, listed: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The members of the object in `text`, in its order; those in `listed` row by row if they are arrays.

    None for JSON that is no object. Raises ValueError (or RecursionError) where the text is no JSON, once
    it has come there.
    """
    cursor = _Cursor(text)
    if cursor.next() != "{":
        json.loads(text)
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
    if cursor.next():
        raise ValueError("something follows the object")


class _Cursor:
    """A place in a JSON text."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def next(self) -> str:
        """The next character that is no blank, where the cursor stays; empty at the end."""
        blanks = _BLANKS.match(self._text, self._at)
        self._at = blanks.end() if blanks else self._at
        return self._text[self._at : self._at + 1]

    def require(self, mark: str) -> None:
        """Steps over `mark`."""
        if self.next() != mark:
            raise ValueError(f"no {mark} at {self._at}")
        self._at += 1

    def value(self) -> Any:
        """Steps over a whole value."""
        self.next()
        value, self._at = _DECODER.raw_decode(self._text, self._at)
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
