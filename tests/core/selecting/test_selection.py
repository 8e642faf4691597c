"""What a selector picks, and when two readings of a fleet agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Endpoint, Image, Notebook, Status, Volume
from fleet.core.patch import FIELD_TABLE, readable
from fleet.core.selecting.selection import Passes, Selection, moved, select
from fleet.core.selecting.selector import Selector, SelectorError

NOW = 1_750_000_000_000
ONE = Notebook(
    "1",
    Status.RUNNING,
    name="nb",
    flavor="small",
    image=Image("old"),
    volume=Volume("EVS", 50),
    endpoints=(Endpoint("SSH", ("key",), ("203.0.113.7",)),),
)


@pytest.mark.row(40)
def test_what_matches_is_kept_by_id_in_order_and_a_row_read_twice_counts_once() -> None:
    rows = [replace(ONE, id=key) for key in ("3", "1", "2", "1")] + [
        replace(ONE, id="4", status=Status.STOPPED)
    ]
    found = select(rows, Selector.parse('status == "RUNNING"'), "lab-a", NOW)
    assert list(found) == ["1", "2", "3"]


def test_a_selection_shows_itself_without_its_rows() -> None:
    assert repr(Selection("lab-a", (ONE,), (ONE,), (ONE,))) == "Selection(scope='lab-a')"


def test_the_scope_can_be_asked_for() -> None:
    assert select([ONE], Selector.parse('scope == "lab-a"'), "lab-a", NOW)
    assert not select([ONE], Selector.parse('scope == "lab-b"'), "lab-a", NOW)


def test_a_row_that_the_selector_cannot_decide_refuses_the_whole_selection() -> None:
    with pytest.raises(SelectorError):
        select([ONE, replace(ONE, id="2", volume=None)], Selector.parse("volume.capacity > 5"), "lab-a", NOW)


CHANGES: dict[str, Callable[[Notebook], Notebook]] = {
    "name": lambda row: replace(row, name="other"),
    "description": lambda row: replace(row, description="other"),
    "flavor": lambda row: replace(row, flavor="large"),
    "image_id": lambda row: replace(row, image=Image("new")),
    "storage_new_size": lambda row: replace(row, volume=Volume("EVS", 80)),
    "endpoints": lambda row: replace(row, endpoints=()),
    "status": lambda row: replace(row, status=Status.FROZEN),
}


def test_every_field_that_a_plan_may_rest_on_is_tried_here() -> None:
    assert {name for name in FIELD_TABLE if readable(name)} == CHANGES.keys() - {"status"}


@pytest.mark.parametrize("field", CHANGES)
def test_a_row_with_another_value_in_a_planned_field_has_moved(field: str) -> None:
    assert moved({"1": ONE}, {"1": CHANGES[field](ONE)}) == ("1",)


@pytest.mark.row(40)
def test_a_row_in_one_pass_only_has_moved_and_ids_come_in_order() -> None:
    both = replace(ONE, id="2")
    assert moved({"3": ONE, "2": both}, {"1": ONE, "2": both}) == ("1", "3")


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        (Status.STOPPING, Status.STOPPED, True),
        (Status.STARTING, Status.RUNNING, True),
        (Status.SNAPSHOTTING, Status.RUNNING, True),
        (Status.RUNNING, Status.STOPPING, False),
        (Status.STARTING, Status.START_FAILED, False),
    ],
)
def test_a_status_on_its_way_agrees_with_where_it_leads(first: Status, second: Status, agree: bool) -> None:
    found = moved({"1": replace(ONE, status=first)}, {"1": replace(ONE, status=second)})
    assert (found == ()) == agree


def test_what_no_plan_rests_on_may_move() -> None:
    assert moved({"1": ONE}, {"1": replace(ONE, update_at=9, owner="bob", current_time=5)}) == ()


def passes(*seen: str) -> Passes:
    """One pass for each word; its letters are the ids that it selects, a capital one has another name."""
    taken = Passes("lab-a")
    for word in seen:
        rows = {id.lower(): replace(ONE, id=id.lower(), name=id) for id in word}
        taken.take(rows.values(), rows)
    return taken


def ids(rows: tuple[Notebook, ...]) -> str:
    return "".join(row.id for row in rows)


def test_one_pass_agrees_with_nothing_and_two_alike_do() -> None:
    assert not passes("ab").agree
    assert not passes("").agree
    assert passes("ab", "ab").agree
    assert not passes("ab", "ab", "aB").agree
    assert passes("a", "ab", "ab").agree


@pytest.mark.parametrize(
    ("seen", "matched", "unstable"),
    [
        (["ab", "ab"], "ab", ""),
        (["ab", "aB"], "a", "b"),
        (["ab", "a"], "a", "b"),
        (["a", "ab"], "a", "b"),
        (["abc", "ab", "a"], "a", "b"),
    ],
)
def test_what_did_not_hold_still_is_kept_apart_wherever_it_was_seen(
    seen: list[str], matched: str, unstable: str
) -> None:
    found = passes(*seen).selection()
    assert (ids(found.matched), ids(found.unstable), ids(found.rows)) == (
        matched,
        unstable,
        seen[-1].lower(),
    )


@given(st.lists(st.sets(st.sampled_from("abcd")).map(lambda word: "".join(sorted(word))), min_size=2))
def test_whatever_one_of_the_last_two_passes_selected_has_one_place(seen: list[str]) -> None:
    found = passes(*seen).selection()
    assert sorted(ids(found.matched) + ids(found.unstable)) == sorted({*seen[-2], *seen[-1]})
