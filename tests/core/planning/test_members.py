"""The JSON of a plan is read bit by bit as json would read it whole."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.planning.members import members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["rows", "a", "b", '"', "{"]), VALUES)


class Drops(StringIO):
    """A text that comes a character at a time."""

    def read(self, _size: int | None = -1, /) -> str:
        return super().read(1)


def together(text: StringIO) -> dict[str, Any]:
    """The object again, put together from its members."""
    found: dict[str, Any] = {}
    for key, value in members(text, ["rows"]):
        if key == "rows":
            found.setdefault(key, []).append(value)
        else:
            found[key] = value
    return found


@given(OBJECTS, st.sampled_from([None, 0, 1, "\t"]), st.sampled_from(["", " ", "\r\n"]))
def test_the_members_are_those_of_the_object(
    raw: dict[str, Any], indent: int | str | None, around: str
) -> None:
    rows = raw.get("rows", [])
    raw = {**raw, "rows": rows if isinstance(rows, list) else [rows]}
    text = around + json.dumps(raw, indent=indent) + around
    wanted = {key: value for key, value in raw.items() if key != "rows" or value}
    assert together(StringIO(text)) == wanted
    assert together(Drops(text)) == wanted


@given(st.text(alphabet='{}[]:,"a1 tru', max_size=12))
def test_what_is_no_json_is_refused(text: str) -> None:
    try:
        whole = json.loads(text)
    except ValueError:
        for read in (StringIO, Drops):
            with pytest.raises(ValueError, match=r"\w"):
                list(members(read(text), ["a"]))
    else:
        assert isinstance(whole, dict) or not list(members(StringIO(text), ["a"]))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1]} x',
        '{"a": [1]} {}',
        '{"a": [1 2]}',
        '{"a": [1}',
        '{"a": [1,]}',
        '{"a": [,1]}',
        '{"a": [1] "b": 2}',
        '{"a": [1],}',
        '{"a" [1]}',
        "{1: 2}",
        "{a: 2}",
        "[1,",
        "",
    ],
)
def test_what_is_nearly_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        list(members(StringIO(text), ["a"]))


@given(OBJECTS, st.data())
def test_a_text_that_was_cut_is_refused(raw: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(raw)
    with pytest.raises(ValueError, match=r"\w"):
        list(members(StringIO(text[: data.draw(st.integers(0, len(text) - 1))]), ["rows"]))


def test_rows_come_before_the_text_behind_them_is_read() -> None:
    found = members(StringIO('{"rows": [1, nonsense'), ["rows"])
    assert next(found) == ("rows", 1)
    with pytest.raises(ValueError, match="Expecting value"):
        next(found)
