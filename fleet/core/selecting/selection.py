"""Which notebooks a selector picks, and whether two readings of the fleet agree about it.

A listing moves while it is read: rows slip from page to page as notebooks come and go. What was selected
counts only when two consecutive passes say the same of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fleet.core.catalog import Catalog
from fleet.core.notebook import Notebook
from fleet.core.patch import FIELD_TABLE, read_field
from fleet.core.selecting.fields import UNREAD, Offer
from fleet.core.selecting.packed import Packed
from fleet.core.selecting.selector import Selector

MAX_PASSES = 4

Key = tuple[str, str]  # scope and notebook id


class Picker(Protocol):
    """What a selection is made with: a selector, or the notebooks of an earlier run."""

    @property
    def text(self) -> str: ...

    @property
    def offers(self) -> frozenset[Offer]: ...

    def matches(self, notebook: Notebook, scope: str, now: int, catalog: Catalog = UNREAD) -> bool: ...

    def pushdown(self) -> Mapping[str, str]: ...

    def ids(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Known:
    """Picks notebooks by their keys; one that is gone is for the planner to say, not a typing mistake."""

    text: str
    keys: frozenset[Key]

    @property
    def offers(self) -> frozenset[Offer]:
        return frozenset()

    def matches(self, notebook: Notebook, scope: str, now: int, catalog: Catalog = UNREAD) -> bool:
        return (scope, notebook.id) in self.keys

    def pushdown(self) -> Mapping[str, str]:
        return {}

    def ids(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Picks what another picker picks, but only notebooks in a list of ids, and none that `exclude` matches.

    Without a list (None) every id will do. An id of the list that no scope holds is a mistake.
    """

    base: Picker
    listed: tuple[str, ...] | None = None
    exclude: tuple[Selector, ...] = ()
    _listed: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_listed", frozenset(self.listed or ()))

    @property
    def text(self) -> str:
        return self.base.text

    @property
    def offers(self) -> frozenset[Offer]:
        return self.base.offers.union(*(one.offers for one in self.exclude))

    def matches(self, notebook: Notebook, scope: str, now: int, catalog: Catalog = UNREAD) -> bool:
        return (
            self.lists(notebook)
            and self.base.matches(notebook, scope, now, catalog)
            and not any(one.matches(notebook, scope, now, catalog) for one in self.exclude)
        )

    def lists(self, notebook: Notebook) -> bool:
        """Whether the list of ids, if there is one, has this notebook."""
        return self.listed is None or notebook.id in self._listed

    def pushdown(self) -> Mapping[str, str]:
        return self.base.pushdown()

    def ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.base.ids(), *(self.listed or ()))))

    def remarks(self) -> Iterator[str]:
        """What narrows the selection, for a person."""
        if isinstance(self.base, Narrowed):
            yield from self.base.remarks()
        if self.listed is not None:
            yield f"only from a list of {len(self.listed)} ids"
        for one in self.exclude:
            yield f"without: {' '.join(one.text.split())}"


@dataclass(frozen=True, slots=True)
class Selection:
    """One scope's matches, in order of id; `rows` are all that the last pass read. The repr shows neither.

    `catalog` is what was read of the scope's for the picker.
    `unstable` ones matched in one of the last two passes but did not hold still; they are left out.
    """

    scope: str
    rows: tuple[Notebook, ...] = field(repr=False)
    matched: tuple[Notebook, ...] = field(repr=False)
    unstable: tuple[Notebook, ...] = field(default=(), repr=False)
    catalog: Catalog = field(default=UNREAD, repr=False)


def select(
    rows: Iterable[Notebook], picker: Picker, scope: str, now: int, catalog: Catalog = UNREAD
) -> dict[str, Notebook]:
    """The rows that match, by id. Raises SelectorError when the expression fails on a row."""
    matched = (row for row in rows if picker.matches(row, scope, now, catalog))
    return {row.id: row for row in sorted(matched, key=lambda row: row.id)}


def moved(first: Iterable[Notebook], second: Mapping[str, Notebook]) -> dict[str, Notebook]:
    """Those that two passes disagree about, in order of id: selected in one only, or with another value in a
    planned field. Each as it was seen last; `first` may be asked for twice.

    A status on its way (STOPPING, then STOPPED) is no disagreement: both mean the same resting state.
    """
    differ, known = dict[str, Notebook](), 0
    for row in first:
        later = second.get(row.id)
        known += later is not None
        if later is None or not _alike(row, later):
            differ[row.id] = later or row
    if known < len(second):
        differ |= {key: second[key] for key in second.keys() - {row.id for row in first}}
    return dict(sorted(differ.items()))


@dataclass(slots=True)
class Passes:
    """The passes over one scope. Only the last two count: either they agree, or these did not hold still.

    Of a large fleet two passes would not lie in memory side by side: while the next one is read, the last is
    packed.
    """

    scope: str
    taken: int = 0
    restless: Mapping[str, Notebook] = field(default_factory=dict)
    _selected: Iterable[Notebook] = ()
    _others: Iterable[Notebook] = ()

    def lay_aside(self) -> None:
        """Packs the last pass, because another one will be read. Nothing else may hold its rows."""
        self._selected, self._others = Packed(self._selected), Packed(self._others)

    def take(self, rows: Iterable[Notebook], selected: Mapping[str, Notebook]) -> None:
        """Takes in one more pass: all that it read, and what of it was selected."""
        self.restless = moved(self._selected, selected) if self.taken else {}
        self._selected, self.taken = tuple(selected.values()), self.taken + 1
        self._others = tuple(row for row in rows if row.id not in selected)

    @property
    def agree(self) -> bool:
        """Whether the last two passes say the same of what is selected."""
        return self.taken > 1 and not self.restless

    def selection(self) -> Selection:
        """What is selected, without those that did not hold still."""
        selected = tuple(self._selected)
        calm = tuple(row for row in selected if row.id not in self.restless)
        return Selection(self.scope, (*selected, *self._others), calm, tuple(self.restless.values()))


def _alike(one: Notebook, other: Notebook) -> bool:
    """Whether a plan rests on nothing in which they differ."""
    return one == other or _face(one) == _face(other)


def _face(notebook: Notebook) -> tuple[object, ...]:
    values = tuple(read_field(notebook, name) for name in FIELD_TABLE)
    return (notebook.status.heading or notebook.status, *values)
