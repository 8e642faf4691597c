"""A list of notebooks in a file."""

from __future__ import annotations

import re

import pytest

from fleet.core.errors import UsageError
from fleet.core.selecting.selector import read_ids

ID, OTHER = "f9937afa-4451-42db-a76b-72d624749f66", "e1a07296-22a8-4f05-8bc8-e936c8e54090"


def test_a_file_of_ids_is_one_a_line_with_comments() -> None:
    text = f"\ufeff# the first wave\n{ID}\n\n  {OTHER}  # another\n{ID}\n"
    assert read_ids(text, "ids.txt") == (ID, OTHER)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{ID}\nnb-1", "ids.txt:2: id: 'nb-1' is not a UUID"),
        (f"{ID} {OTHER}", "ids.txt:1: id: "),
        ("# nobody\n", "ids.txt: names no notebook; write an id a line"),
        ("", "ids.txt: names no notebook"),
    ],
)
def test_a_file_of_ids_with_anything_else_is_refused_with_the_line(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(problem)}"):
        read_ids(text, "ids.txt")
