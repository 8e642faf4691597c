"""One pass over a paged listing: where it goes on, and when it may not be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.client.listing import Pass
from fleet.client.rows import Page
from fleet.core.errors import CallError, Meaning


def page(first: int, count: int, total: int | None) -> Page:
    """`count` rows, numbered from `first`."""
    return Page([{"id": str(number)} for number in range(first, first + count)], total)


def walk(*pages: Page) -> Pass:
    state = Pass("notebooks of scope lab-a", 50)
    for each in pages:
        assert not state.done
        state.take(each)
    return state


@given(st.integers(0, 1000))
def test_a_pass_ends_where_the_total_says_and_nowhere_else(total: int) -> None:
    state = Pass("notebooks", 50)
    seen = 0
    while not state.done:
        assert state.offset == seen
        count = min(50, total - seen)
        state.take(page(seen, count, total))
        seen += count
    assert seen == total


def test_a_short_page_before_the_total_goes_on() -> None:
    assert walk(page(0, 30, 60), page(30, 30, 60)).done


def test_the_latest_total_counts() -> None:
    assert walk(page(0, 50, 60), page(50, 9, 59)).done


def test_without_a_total_a_short_page_is_the_last() -> None:
    assert not walk(page(0, 50, None)).done
    assert walk(page(0, 50, None), page(50, 0, None)).done


@pytest.mark.row(40)
def test_rows_that_moved_between_pages_are_no_mistake_of_the_listing() -> None:
    assert walk(page(0, 50, 60), page(49, 10, 60)).done


@pytest.mark.row(40, 41)
@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ([page(0, 50, 60), page(50, 0, 60)], "ended after 50 of 60 rows"),
        ([page(0, 50, 600), page(0, 50, 600)], "repeats itself after 50 rows"),
        ([page(0, 50, None), page(0, 50, None)], "repeats itself after 50 rows"),
        ([page(n, 1, n + 3) for n in range(100)], "did not end within 20 pages"),
        ([page(n, 1, 10**9) for n in range(20_000)], "did not end within 20000 pages"),
    ],
)
def test_a_listing_with_a_hole_or_without_an_end_is_odd(pages: list[Page], told: str) -> None:
    with pytest.raises(CallError, match=f"the list of notebooks of scope lab-a {told}") as caught:
        walk(*pages)
    assert caught.value.meaning is Meaning.ODD
