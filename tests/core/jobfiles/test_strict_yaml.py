"""YAML without surprises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.jobfiles.strict_yaml import LARGEST, read_yaml


def refusal(text: str) -> str:
    try:
        document = read_yaml(text, "x.yaml")
    except UsageError as error:
        return str(error)
    assert document.problems
    return str(document.refusal())


@pytest.mark.parametrize(
    "word",
    [
        "no", "yes", "on", "off", "True", "NO", "12:30:45", "2026-01-31", "010", "0x10", "1_000", "1e3",
        ".inf", "+5", "5%", "=", "9999999999999999999",
    ],
)  # fmt: skip
def test_a_plain_word_is_text(word: str) -> None:
    assert read_yaml(f"a: {word}", "x").data == {"a": word}


@pytest.mark.security("yaml")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("'5'", "5"),
        ('"true"', "true"),
    ],
)
def test_only_these_are_no_text(text: str, value: object) -> None:
    found = read_yaml(f"a: {text}", "x").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_knows_its_line() -> None:
    document = read_yaml("a: 1\nb:\n  c: x\n  d:\n    - 1\n    - e: 2\n", "x")
    assert document.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "d"): 4,
        ("b", "d", 0): 5,
        ("b", "d", 1): 6,
        ("b", "d", 1, "e"): 6,
    }
    document.complain(("b", "d", 1, "f"), "is missing")
    document.complain(("f",), "is missing")
    document.complain(("b", "c"), "is odd")
    assert str(document.refusal()) == "x:1: f: is missing\nx:3: b.c: is odd\nx:6: b.d[1].f: is missing"


def test_of_a_value_and_its_parts_only_the_first_complaint_is_kept() -> None:
    document = read_yaml("a: {b: ~, c: 1}\nd: 2\n", "x")
    document.complain(("a",), "needs b")
    document.complain(("a", "b"), "must be text")
    document.complain(("d",), "is odd")
    document.complain(("d", "e"), "is missing")
    told = "x:1: a.b: is empty; give a value or leave the key out\nx:2: d: is odd"
    assert str(document.refusal()) == told


def test_every_surprise_is_told() -> None:
    told = refusal('a: 1\nb:\na: 2\nc: [1, ~]\n"\\ud800": 1\n').splitlines()
    assert [line.partition(": ")[0] for line in told] == ["x.yaml:2", "x.yaml:3", "x.yaml:4", "x.yaml:5"]


def test_words_about_a_value_are_given_its_place() -> None:
    document = read_yaml("a:\n  b:\n    - {c: 1}\n", "x")
    assert document.placed("a.b[0].c: is odd\nb: is another\na: is long") == (
        "x:3: a.b[0].c: is odd\n  b: is another\nx:1: a: is long"
    )
    assert document.placed("b: is one\nand goes on") == "b: is one\nand goes on"


@pytest.mark.security("yaml")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: must be a mapping with job, name and select"),
        ("[1]", "x.yaml: must be a mapping with job, name and select"),
        ("a: 1\na: 2", "x.yaml:2: a: is given twice, first in line 1"),
        ("a: {b: 1,\n c: 2,\n b: 3}", "x.yaml:3: a.b: is given twice, first in line 1"),
        ("a:", "x.yaml:1: a: is empty; give a value or leave the key out"),
        ("a: ~", "x.yaml:1: a: is empty; give a value or leave the key out"),
        ("a: [1, null]", "x.yaml:1: a[1]: is empty; give a value or leave the key out"),
        ("a: &x 1", "x.yaml:1: anchors and aliases are not allowed; write the value out"),
        ("a: 1\nb: *x", "x.yaml:2: anchors and aliases are not allowed; write the value out"),
        ("a: !!str 5", "x.yaml:1: tags (!name) are not allowed"),
        ("a: !!python/object:os.system x", "x.yaml:1: tags (!name) are not allowed"),
        ("a: 1\n---\na: 2", "x.yaml:2: a second document starts"),
        ("a: b: c", "x.yaml:1: mapping values are not allowed here"),
        ("a: \x07", "x.yaml: is not YAML text: unacceptable character #x0007: "),
        ("? [1]\n: 2", "x.yaml:1: a key must be a plain word"),
        ('a: "\\ud800"', "x.yaml:1: a: holds half a character (a lone surrogate)"),
        ("a: " + "[" * 40 + "]" * 40, "x.yaml:1: a[0][0]: is nested too deeply"),
        ("a: " + "[" * 9000 + "]" * 9000, "x.yaml: is nested too deeply"),
        ("#" * (LARGEST + 1), "x.yaml: is larger than 1 MiB; a job file has a few dozen lines"),
    ],
)
def test_a_surprise_is_refused(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert read_yaml("<<: {a: 1}", "x").data == {"<<": {"a": 1}}


@pytest.mark.security("yaml")
@given(st.text(st.sampled_from("ab:- \n[]{}#&*!|>'\"%@`,?~0\\u\t"), max_size=40))
def test_any_text_is_a_mapping_or_a_refusal(text: str) -> None:
    try:
        document = read_yaml(text, "x.yaml")
    except UsageError as error:
        told = str(error)
    else:
        told = str(document.refusal()) if document.problems else f"x.yaml {sorted(document.data)}"
    assert told.startswith("x.yaml")
