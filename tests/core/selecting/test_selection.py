"""What a selector picks, and when two readings of a fleet agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.notebook import Endpoint, Flavor, Image, Lease, LeaseType, Notebook, Status, Volume
from fleet.core.patch import FIELD_TABLE, readable
from fleet.core.selecting.packed import Packed
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
    assert tuple(moved([ONE], {"1": CHANGES[field](ONE)})) == ("1",)


@pytest.mark.row(40)
def test_a_row_in_one_pass_only_has_moved_and_ids_come_in_order() -> None:
    both = replace(ONE, id="2")
    assert tuple(moved([replace(ONE, id="3"), both], {"1": ONE, "2": both})) == ("1", "3")


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
    found = moved([replace(ONE, status=first)], {"1": replace(ONE, status=second)})
    assert (not found) == agree


def test_what_no_plan_rests_on_may_move() -> None:
    assert not moved([ONE], {"1": replace(ONE, update_at=9, owner="bob", current_time=5)})


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


SEEN = st.lists(st.sets(st.sampled_from("abcdABCD")).map(lambda word: "".join(sorted(word))), min_size=2)


@given(SEEN, st.sampled_from(["", "before each", "at the end, too"]))
def test_to_lay_a_pass_aside_changes_nothing(seen: list[str], aside: str) -> None:
    wanted, taken = Passes("lab-a"), Passes("lab-a")
    for word in seen:
        if aside:
            taken.lay_aside()
        rows = {id.lower(): replace(ONE, id=id.lower(), name=id) for id in word}
        selected = {key: row for key, row in rows.items() if key != "d"}
        taken.take(rows.values(), selected)
        wanted.take(rows.values(), selected)
    if aside == "at the end, too":
        taken.lay_aside()
        taken.lay_aside()
    assert (taken.agree, taken.selection()) == (wanted.agree, wanted.selection())


LEASES = st.none() | st.builds(Lease, st.booleans(), st.sampled_from(LeaseType), st.integers(0, 2**62))
KEYS = st.none() | st.lists(st.text(max_size=3), max_size=2).map(tuple)


@given(
    st.lists(
        st.builds(
            Notebook,
            id=st.text(max_size=3),
            status=st.sampled_from(Status),
            name=st.text(max_size=3),
            custom_spec=st.none() | st.builds(Flavor, st.text(max_size=3), arch=st.text(max_size=3)),
            image=st.builds(Image, st.text(max_size=3), resource_categories=st.just(("CPU",))),
            lease=LEASES,
            volume=st.none() | st.builds(Volume, capacity=st.integers(-(2**63), 2**63 - 1)),
            endpoints=st.lists(st.builds(Endpoint, st.text(max_size=3), KEYS, KEYS), max_size=2).map(tuple),
            tags=st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
        ),
        max_size=5,
    ),
    st.integers(0, 300),
)
def test_packed_notebooks_come_back_as_they_were(rows: list[Notebook], more: int) -> None:
    rows += [replace(ONE, id=str(number)) for number in range(more)]
    packed = Packed(rows)
    assert list(packed) == rows
    assert list(packed) == rows


@given(st.lists(st.sets(st.sampled_from("abcd")).map(lambda word: "".join(sorted(word))), min_size=2))
def test_whatever_one_of_the_last_two_passes_selected_has_one_place(seen: list[str]) -> None:
    found = passes(*seen).selection()
    assert sorted(ids(found.matched) + ids(found.unstable)) == sorted({*seen[-2], *seen[-1]})
