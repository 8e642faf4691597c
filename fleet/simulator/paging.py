"""A page of a list, as its caller asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list; ``limit`` 0 means everything."""

    limit: int
    offset: int

    def cut(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows[self.offset : self.offset + self.limit] if self.limit else rows[self.offset :]

    def numbers(self, total: int, first: int) -> dict[str, int]:
        """The reply's counters; ``first`` is how this list numbers its first page."""
        size = self.limit or max(total, 1)
        return {
            "current": self.offset // size + first,
            "pages": -(-total // size),
            "size": self.limit or total,
            "total": total,
        }
