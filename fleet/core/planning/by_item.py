"""What is known of each item of a plan, in less memory than dictionaries and sets take.

Events name changes by their items. The items of a whole plan are numbered through, so that its own order is
table enough; only an excerpt has gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from fleet.core.planning.plan import Change

T = TypeVar("T")


def changes_by_item(changes: Sequence[Change]) -> Mapping[int, Change]:
    """The changes by their items."""
    if all(change.item == at for at, change in enumerate(changes)):
        return _Numbered(changes)
    return {change.item: change for change in changes}


class _Numbered(Mapping[int, Change]):
    """Changes whose items are their places."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes
        self._size = len(changes)

    def __getitem__(self, item: int) -> Change:
        if 0 <= item < self._size:
            return self._changes[item]
        raise KeyError(item)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, int) and 0 <= item < self._size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._size))

    def __len__(self) -> int:
        return self._size


class Marks:
    """A small number for each item, in a byte; 0 says that there is none. `size` counts the others."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.size = 0

    def __getitem__(self, item: int) -> int:
        return self._bytes[item] if item < len(self._bytes) else 0

    def __setitem__(self, item: int, mark: int) -> None:
        if item >= len(self._bytes):
            self._bytes.extend(bytes(item + 1 - len(self._bytes)))
        self.size += bool(mark) - bool(self._bytes[item])
        self._bytes[item] = mark

    def items(self, mark: int) -> list[int]:
        """The items that have this mark."""
        return [item for item, one in enumerate(self._bytes) if one == mark]
