"""Changes and marks by item, as dictionaries would have them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.planning.by_item import Marks, changes_by_item
from fleet.core.planning.plan import Change

CHANGE = Change(0, "lab-a", "1", "nb", "ada", "", "small", 1, Status.RUNNING, False, True, (), {}, {})
ITEMS = st.integers(0, 40)


@given(st.integers(0, 5).map(range) | st.lists(ITEMS, max_size=4, unique=True), st.integers(-9, 45))
def test_changes_are_found_by_their_items_alone(items: list[int], item: int) -> None:
    changes = [replace(CHANGE, item=one) for one in items]
    table, found = {one.item: one for one in changes}, changes_by_item(changes)
    assert dict(found) == table
    assert (found.get(item), item in found, len(found)) == (table.get(item), item in table, len(table))


@given(st.lists(st.tuples(ITEMS, st.integers(0, 9))), ITEMS, st.integers(1, 9))
def test_marks_are_kept_by_item(put: list[tuple[int, int]], item: int, mark: int) -> None:
    marks = Marks()
    for at, one in put:
        marks[at] = one
    kept = {at: one for at, one in dict(put).items() if one}
    assert (marks[item], marks.size) == (kept.get(item, 0), len(kept))
    assert marks.items(mark) == sorted(at for at, one in kept.items() if one == mark)
