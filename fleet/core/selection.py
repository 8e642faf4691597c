"""Which notebooks a selector picks, and whether two readings of the fleet agree about it.

A listing moves while it is read: rows slip from page to page as notebooks come and go. What was selected
counts only when two consecutive passes say the same of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fleet.core.notebook import Notebook
from fleet.core.patch import FIELD_TABLE, read_field

MAX_PASSES = 4

Key = tuple[str, str]  # scope and notebook id


class Picker(Protocol):
    """What a selection is made with: a selector, or the notebooks of an earlier run."""

    @property
    def text(self) -> str: ...

    def matches(self, notebook: Notebook, scope: str, now: int) -> bool: ...

    def pushdown(self) -> Mapping[str, str]: ...

    def ids(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Known:
    """Picks notebooks by their keys; one that is gone is for the planner to say, not a typing mistake."""

    text: str
    keys: frozenset[Key]

    def matches(self, notebook: Notebook, scope: str, now: int) -> bool:
        return (scope, notebook.id) in self.keys

    def pushdown(self) -> Mapping[str, str]:
        return {}

    def ids(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Selection:
    """One scope's matches, in order of id; `rows` are all that the last pass read. The repr shows neither.

    `unstable` ones matched in one of the last two passes but did not hold still; they are left out.
    """

    scope: str
    rows: tuple[Notebook, ...] = field(repr=False)
    matched: tuple[Notebook, ...] = field(repr=False)
    unstable: tuple[Notebook, ...] = field(default=(), repr=False)


def select(rows: Iterable[Notebook], picker: Picker, scope: str, now: int) -> dict[str, Notebook]:
    """The rows that match, by id. Raises SelectorError when the expression fails on a row."""
    matched = (row for row in rows if picker.matches(row, scope, now))
    return {row.id: row for row in sorted(matched, key=lambda row: row.id)}


def moved(first: Mapping[str, Notebook], second: Mapping[str, Notebook]) -> tuple[str, ...]:
    """Ids that two passes disagree about: selected in one only, or with another value in a planned field.

    A status on its way (STOPPING, then STOPPED) is no disagreement: both mean the same resting state.
    """
    differ = [key for key, row in second.items() if key not in first or _face(first[key]) != _face(row)]
    return tuple(sorted([*differ, *(key for key in first if key not in second)]))


@dataclass(slots=True)
class Passes:
    """The passes over one scope. Only the last two count: either they agree, or these did not hold still."""

    scope: str
    taken: int = 0
    restless: Mapping[str, Notebook] = field(default_factory=dict)
    _rows: tuple[Notebook, ...] = ()
    _selected: Mapping[str, Notebook] = field(default_factory=dict)

    def take(self, rows: Iterable[Notebook], selected: Mapping[str, Notebook]) -> None:
        """Takes in one more pass: all that it read, and what of it was selected."""
        ids = moved(self._selected, selected)
        self.restless = {key: selected[key] if key in selected else self._selected[key] for key in ids}
        self._rows, self._selected, self.taken = tuple(rows), selected, self.taken + 1

    @property
    def agree(self) -> bool:
        """Whether the last two passes say the same of what is selected."""
        return self.taken > 1 and not self.restless

    def selection(self) -> Selection:
        """What is selected, without those that did not hold still."""
        calm = tuple(row for key, row in self._selected.items() if key not in self.restless)
        return Selection(self.scope, self._rows, calm, tuple(self.restless.values()))


def _face(notebook: Notebook) -> tuple[object, ...]:
    values = tuple(read_field(notebook, name) for name in FIELD_TABLE)
    return (notebook.status.heading or notebook.status, *values)
