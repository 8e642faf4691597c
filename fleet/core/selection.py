"""Which notebooks a selector picks, and whether two readings of the fleet agree about it.

A listing moves while it is read: rows slip from page to page as notebooks come and go. What was selected
counts only when two consecutive passes say the same of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.core.notebook import Notebook
from fleet.core.patch import FIELD_TABLE, read_field
from fleet.core.selector import Selector

MAX_PASSES = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """One scope's matches, in order of id; `rows` are all that the last pass read.

    `unstable` ones matched but did not hold still; they are left out.
    """

    scope: str
    rows: tuple[Notebook, ...]
    matched: tuple[Notebook, ...]
    unstable: tuple[Notebook, ...] = ()


def select(rows: Iterable[Notebook], selector: Selector, scope: str, now: int) -> dict[str, Notebook]:
    """The rows that match, by id. Raises SelectorError when the expression fails on a row."""
    matched = (row for row in rows if selector.matches(row, scope, now))
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
