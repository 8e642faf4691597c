"""Why a notebook is in or out, term by term, with the values that each term saw."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.notebook import Notebook, Status
from fleet.core.rollout import Share
from fleet.core.selecting.explain import Term, explain, place_in, why
from fleet.core.selecting.fields import Subject
from fleet.core.selecting.sampling import Sample
from fleet.core.selecting.selection import Known, Narrowed, Selection
from fleet.core.selecting.selector import Selector

NOTEBOOK = Notebook(
    "f9937afa-4451-42db-a76b-72d624749f66", Status.RUNNING, name="训练", owner="ana", tags={"team": "a(b"}
)
SUBJECT = Subject(NOTEBOOK, "lab-a", 1_784_948_034_829)


def told(text: str) -> Term:
    return explain(Selector.parse(text), SUBJECT)


def plain(term: Term) -> Any:
    """A term as nested lists of texts with their verdicts."""
    if not term.joint:
        return (term.text, term.verdict)
    return [term.joint, term.verdict, *map(plain, term.parts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("true", True)),
        (' ( (owner == "ana"))  // all', ('owner == "ana"', True)),
        (
            'owner == "ana" && status == "STOPPED" && true',
            ["&&", False, ('owner == "ana"', True), ('status == "STOPPED"', False), ("true", True)],
        ),
        (
            '(name == "a && b" || tags.team == "a(b") && !(true && false)',
            [
                "&&",
                True,
                ["||", True, ('name == "a && b"', False), ('tags.team == "a(b"', True)],
                ("!(true && false)", True),
            ],
        ),
        (
            'name == "训" || (owner == "练" || name == "训练") // a && b\n || false',
            [
                "||",
                True,
                ('name == "训"', False),
                ('owner == "练"', False),
                ('name == "训练"', True),
                ("false", False),
            ],
        ),
        (
            '["a", "b"].exists(x, x == "a" && true) ? true && true : false',
            ('["a", "b"].exists(x, x == "a" && true) ? true && true : false', True),
        ),
        (
            'false && tags.none == "x"',
            [
                "&&",
                False,
                ("false", False),
                ('tags.none == "x"', "it has no tag 'none'; ask has(tags.none) first"),
            ],
        ),
    ],
)
def test_the_terms_are_those_that_and_and_or_join(text: str, expected: Any) -> None:
    assert plain(told(text)) == expected


def test_each_term_tells_the_values_that_it_saw() -> None:
    term = told('owner == "ana" && volume.capacity > 5 && created < now')
    assert [dict(part.values) for part in term.parts] == [
        {"owner": "ana"},
        {"volume.capacity": None},
        {"created": None, "now": term.parts[2].values["now"]},
    ]
    assert term.verdict == "volume.capacity has no value, it has no volume"


_LEAVES = st.sampled_from(
    ['owner == "ana"', 'name == ")("', "has(tags.team)", 'tags.team == "x && y"', "true", "!false", "(false)"]
)
_TEXTS = st.recursive(
    _LEAVES,
    lambda inner: st.tuples(
        inner,
        st.sampled_from(["&&", " || ", "\n&& "]),
        inner,
        st.sampled_from(["{}", "({})", "( {} )", "!({})"]),
    ).map(lambda t: t[3].format(f"{t[0]}{t[1]}{t[2]}")),
    max_leaves=12,
)


@given(_TEXTS)
def test_the_verdict_of_the_whole_follows_from_its_terms(text: str) -> None:
    def check(term: Term) -> None:
        verdicts = [part.verdict for part in term.parts]
        if term.joint:
            assert term.verdict is (all(verdicts) if term.joint == "&&" else any(verdicts))
        assert Selector.parse(term.text).matches(NOTEBOOK, "lab-a", SUBJECT.now) is term.verdict
        for part in term.parts:
            check(part)

    term = told(text)
    assert term.verdict is Selector.parse(text).matches(NOTEBOOK, "lab-a", SUBJECT.now)
    check(term)


OTHER = replace(NOTEBOOK, id="0f3bd2c5-9f6e-4b8d-8f0a-5f6f4b1c2d3e")
ALL = [Selection("lab-a", (NOTEBOOK, OTHER), (NOTEBOOK, OTHER))]


def findings(picker: Any, sample: Sample | None = None, selections: Any = ALL) -> list[tuple[str, bool]]:
    return [(finding.what, finding.met) for finding in why(picker, sample, selections, SUBJECT)]


def test_every_condition_is_told_in_its_order_whatever_the_others_say() -> None:
    select, keep = Selector.parse('owner == "bob"'), Selector.parse("has(tags.team)")
    inner = Narrowed(select, (OTHER.id,), (keep,))
    assert findings(Narrowed(inner, (NOTEBOOK.id, OTHER.id))) == [
        ("select", False),
        ("not in the list of 1 ids", False),
        ("exclude", False),
        ("in the list of 2 ids", True),
    ]
    assert findings(Narrowed(Selector.parse("true"), None, (Selector.parse("has(tags.keep)"),))) == [
        ("select", True),
        ("exclude", True),
    ]
    assert findings(Known("those", frozenset())) == []


@pytest.mark.parametrize("most", [1, 2])
def test_the_place_in_the_sample_is_told(most: int) -> None:
    sample = Sample(Share(most), 5)
    chosen = sample.of([("lab-a", NOTEBOOK.id), ("lab-a", OTHER.id)])
    finding = place_in(
        sample, ("lab-a", NOTEBOOK.id), frozenset({("lab-a", NOTEBOOK.id), ("lab-a", OTHER.id)})
    )
    assert finding.met is (("lab-a", NOTEBOOK.id) in chosen)
    assert finding.what.startswith(f"a sample of {most} with seed 5: number ")
    assert finding.what.endswith(f" of 2, the first {most} are in it")
    assert findings(Selector.parse("true"), sample) == [("select", True), (finding.what, finding.met)]


def test_who_is_not_selected_has_no_place_in_the_sample() -> None:
    nobody = [Selection("lab-a", (NOTEBOOK,), ())]
    assert findings(Selector.parse("false"), Sample(Share(1)), nobody) == [("select", False)]


def test_what_kept_changing_is_told() -> None:
    restless = [Selection("lab-a", (NOTEBOOK,), (), (NOTEBOOK,))]
    assert findings(Selector.parse("true"), None, restless) == [
        ("select", True),
        ("it kept changing while the fleet was read", False),
    ]
