"""Which notebooks a selector picks, and whether two readings of the fleet agree about it.

A listing moves while it is read: rows slip from page to page as notebooks come and go. What was selected
counts only when two consecutive passes say the same of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """One scope's matches, in order of id; `rows` are all that the last pass read.

    `unstable` ones matched but did not hold still; they are left out.
    """

    scope: str
    rows: tuple[Notebook, ...]
    matched: tuple[Notebook, ...]
    unstable: tuple[Notebook, ...] = ()


def select(rows: Iterable[Notebook], picker: Picker, scope: str, now: int) -> dict[str, Notebook]:
    """The rows that match, by id. Raises SelectorError when the expression fails on a row."""
    matched = (row for row in rows if picker.matches(row, scope, now))
    return {row.id: row for row in sorted(matched, key=lambda row: row.id)}


def moved(first: Mapping[str, Notebook], second: Mapping[str, Notebook]) -> tuple[str, ...]:
    """Ids that two passes disagree about: selected in one only, or with another value in a planned field.

    A status on its way (STOPPING, then STOPPED) is no disagreement: both mean the same resting state.
    """
    ids = sorted(first.keys() | second.keys())
    return tuple(
        key for key in ids if key not in first or key not in second or _face(first[key]) != _face(second[key])
    )


def _face(notebook: Notebook) -> tuple[object, ...]:
    values = tuple(read_field(notebook, name) for name in FIELD_TABLE)
    return (notebook.status.heading or notebook.status, *values)
