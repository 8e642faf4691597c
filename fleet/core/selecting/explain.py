"""Why a notebook is in a selection or out of it: each term of the expressions, with the values that it saw.

Neighbours: `selector` decides, `selection` joins the conditions, `sampling` ranks. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fleet.core.selecting.fields import Subject
from fleet.core.selecting.sampling import Sample, keys_of
from fleet.core.selecting.selection import Key, Narrowed, Picker, Selection
from fleet.core.selecting.selector import Selector, without_texts
from fleet.core.selecting.syntax_tree import Node

_JOINTS = {"_&&_": "&&", "_||_": "||"}


@dataclass(frozen=True, slots=True)
class Term:
    """An expression or a part of one: true, false, or in words why neither.

    A term without `parts` has the `values` of the fields that it asks for, None where there is none.
    """

    text: str
    verdict: bool | str
    values: Mapping[str, Any]
    joint: str = ""
    parts: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the conditions that a notebook must meet, in words, and whether it does.

    `term` is the expression behind it, where there is one.
    """

    what: str
    met: bool
    term: Term | None = None


Findings: TypeAlias = tuple[Finding, ...]


def explain(selector: Selector, subject: Subject) -> Term:
    """The expression's terms, as "&&" and "||" join them."""
    text = selector.text
    return _term(selector, selector.tree, (0, len(text)), without_texts(text), subject)


def findings(picker: Picker, subject: Subject) -> Iterator[Finding]:
    """What the picker asks of the subject."""
    if isinstance(picker, Selector):
        term = explain(picker, subject)
        yield Finding("select", term.verdict is True, term)
    elif isinstance(picker, Narrowed):
        yield from findings(picker.base, subject)
        if picker.listed is not None:
            there = picker.lists(subject.notebook)
            yield Finding(f"{'' if there else 'not '}in the list of {len(picker.listed)} ids", there)
        for one in picker.exclude:
            term = explain(one, subject)
            yield Finding("exclude", term.verdict is False, term)


def why(picker: Picker, sample: Sample | None, selections: Sequence[Selection], subject: Subject) -> Findings:
    """What speaks for the subject and what against it; `selections` are those before the sample is drawn."""
    found = list(findings(picker, subject))
    key = subject.scope, subject.notebook.id
    if any(one.scope == subject.scope and subject.notebook in one.unstable for one in selections):
        found.append(Finding("it kept changing while the fleet was read", False))
    selected = frozenset(keys_of(selections))
    if sample is not None and key in selected:
        found.append(place_in(sample, key, selected))
    return tuple(found)


def place_in(sample: Sample, key: Key, selected: frozenset[Key]) -> Finding:
    """Whether the sample of what is `selected` holds the key, one of them."""
    place = sample.ranked(selected).index(key) + 1
    most = min(sample.limit.of(len(selected)), len(selected))
    return Finding(f"{sample}: number {place} of {len(selected)}, the first {most} are in it", place <= most)


def _term(selector: Selector, node: Node, span: tuple[int, int], bare: str, subject: Subject) -> Term:
    """The term that `node` stands for: the part `span` of the selector's text, whose texts `bare` blanks."""
    start, end = _bare_span(bare, *span)
    joint = _JOINTS.get(node.function, "")
    own = Selector.parse(selector.text[start:end])
    verdict = own.verdict(subject)
    if not joint:
        return Term(own.text, verdict, own.values(subject))
    one, other = node.parts
    at = node.offset
    parts = (
        _term(selector, one, (start, at), bare, subject),
        _term(selector, other, (at + len(joint), end), bare, subject),
    )
    same = [part.parts if part.joint == joint else (part,) for part in parts]
    return Term(own.text, verdict, {}, joint, tuple(part for group in same for part in group))


def _bare_span(bare: str, start: int, end: int) -> tuple[int, int]:
    """The span without blanks at its ends and without the parentheses around it."""
    while True:
        part = bare[start:end]
        start += len(part) - len(part.lstrip())
        end -= len(part) - len(part.rstrip())
        if not (bare[start:end].startswith("(") and _closing(bare, start) == end - 1):
            return start, end
        start, end = start + 1, end - 1


def _closing(bare: str, opening: int) -> int:
    """Where the parenthesis at `opening` is closed."""
    depth = 0
    for at in range(opening, len(bare)):
        depth += (bare[at] == "(") - (bare[at] == ")")
        if depth == 0:
            return at
    return -1
