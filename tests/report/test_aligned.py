"""Columns of text stay in line, whatever is written in them."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleet.core.text import clean
from fleet.report.aligned import aligned

CELLS = st.text(max_size=20)


def test_columns_begin_in_a_line_and_those_named_end_in_one() -> None:
    assert aligned(("name", "n"), [("東京", "5"), ("b", "12")], right=("n",)) == [
        "name   n",
        "東京   5",
        "b     12",
    ]


def test_without_rows_there_is_the_head() -> None:
    assert aligned(("name", "n"), []) == ["name  n"]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_the_last_column_begins_where_the_first_one_is_widest(rows: list[tuple[str, str]]) -> None:
    lines = aligned(("name", "n"), [(name, f"|{rest}|") for name, rest in rows])
    widest = max([4, *(cell_len(clean(name, 1000)) for name, _ in rows)])
    for line, (name, rest) in zip(lines[1:], rows, strict=True):
        first, last = clean(name, 1000), f"|{clean(rest, 1000)}|"
        assert line == f"{first}{' ' * (widest - cell_len(first))}  {last}"
