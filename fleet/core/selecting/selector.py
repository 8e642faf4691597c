"""Who is meant: a CEL expression over a notebook's fields, checked before anything is read.

A misspelt field, an unknown status word or a wrong type is refused when the text is parsed. What only a
notebook can show (a tag that it lacks) refuses the whole selection instead of leaving the notebook out.
Neighbours: `fields` says what may be asked, `expression` talks to the CEL runtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fleet.core.catalog import Catalog
from fleet.core.errors import UsageError
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import require_uuid
from fleet.core.selecting.expression import (
    Condition,
    Environment,
    Problem,
    compile_condition,
    environment,
    problem_at,
    refusal,
)
from fleet.core.selecting.expression import SelectorError as SelectorError
from fleet.core.selecting.fields import FIELDS, UNREAD, Field, Offer, Subject
from fleet.core.selecting.syntax_tree import Node
from fleet.core.spelling import nearest
from fleet.core.text import clean


@dataclass(frozen=True, slots=True)
class Selector:
    """A checked expression. Two selectors are equal when their texts are."""

    text: str
    _condition: Condition = field(repr=False, compare=False)
    _reads: tuple[Field, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Selector:
        """The selector in `text`. Raises SelectorError: a sentence, the expression, a caret."""
        for problem in _has_without_tag(text):
            raise refusal(text, problem)
        condition = compile_condition(_environment(), text, FIELDS)
        for problem in _unknown_words(text, condition.tree):
            raise refusal(text, problem)
        names = {node.variable for node in condition.tree.walk()}
        return cls(text, condition, tuple(field for field in FIELDS.values() if field.name in names))

    def matches(self, notebook: Notebook, scope: str, now: int, catalog: Catalog = UNREAD) -> bool:
        """Whether the notebook, held by `scope` and seen at wall time `now` (ms), is meant.

        `catalog` must hold the `offers`. Raises SelectorError when that cannot be decided: then the whole
        selection must be refused.
        """
        verdict = self.verdict(Subject(notebook, scope, now, catalog))
        if isinstance(verdict, bool):
            return verdict
        who = f"{clean(notebook.name) or 'notebook'} ({scope}, {notebook.id})"
        raise SelectorError(f"cannot be decided for {who}: {verdict}\n  {clean(self.text)}")

    def verdict(self, subject: Subject) -> bool | str:
        """Whether the subject is meant, or why that cannot be decided."""
        values = {name: value for name, value in self.values(subject).items() if value is not None}
        cut = next((name for name, value in values.items() if _holds_nul(value)), None)
        verdict = f"{cut} holds a NUL character" if cut else self._condition.evaluate(values)
        return verdict if isinstance(verdict, bool) else _undecided(verdict)

    def values(self, subject: Subject) -> dict[str, Any]:
        """The fields that the expression asks for, with what they are for the subject; None where nothing."""
        return {field.name: field.read(subject) for field in self._reads}

    @property
    def offers(self) -> frozenset[Offer]:
        """The parts of a scope's catalogue that the expression asks of."""
        return frozenset(field.offer for field in self._reads if field.offer is not None)

    @property
    def tree(self) -> Node:
        """The checked expression."""
        return self._condition.tree

    def both(self, other: Selector) -> Selector:
        """The selector for what this one and the other one mean together."""
        return Selector.parse(f"{_enclosed(self.text)} && {_enclosed(other.text)}")

    __and__ = both

    def ids(self) -> tuple[str, ...]:
        """The notebook ids that the expression names: each must exist, or somebody mistyped it."""
        named = [
            literal.literal or ""
            for node in self._condition.tree.walk()
            for variable, literal in (*_equal_to_text(node), *_one_of_texts(node))
            if variable == "id"
        ]
        return parse_ids(named)

    def pushdown(self) -> Mapping[str, str]:
        """Filters for the list call, by the name of the query, that the expression certainly implies.

        Only exact filters: those with `field == "literal"` as one of the terms that "&&" joins at the top.
        What comes back must still be asked one by one.
        """
        filters: dict[str, str] = {}
        for node in _conjuncts(self._condition.tree):
            for variable, literal in _equal_to_text(node) if node.function == "_==_" else ():
                query, shape = _QUERIES.get(variable, ("", _NOTHING))
                if shape.fullmatch(literal.literal or ""):
                    filters.setdefault(query, literal.literal or "")
        return filters


def fields() -> tuple[Field, ...]:
    """Every field that a selector may use, with type and meaning."""
    return tuple(FIELDS.values())


def parse_ids(texts: Iterable[str]) -> tuple[str, ...]:
    """The notebook ids in a list given by hand, each once. Raises UsageError for one that is no UUID."""
    return tuple(dict.fromkeys(require_uuid("id", text.strip()).lower() for text in texts if text.strip()))


def read_ids(text: str, where: str) -> tuple[str, ...]:
    """The notebook ids in a file: one a line, the rest of a line after "#" is a comment.

    Raises UsageError with `where` and the line for anything that is no UUID, and for a file without any.
    """
    found: dict[str, None] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if word:
            found[require_uuid(f"{where}:{number}: id", word).lower()] = None  # exports write capitals
    if not found:
        raise UsageError(f"{where}: names no notebook; write an id a line")
    return tuple(found)


def unmatched(ids: Iterable[str], notebooks: Iterable[Notebook]) -> tuple[str, ...]:
    """The ids that none of the notebooks has."""
    known = {notebook.id for notebook in notebooks}
    return tuple(id for id in ids if id not in known)


class Unheld(UsageError):
    """No scope that was read holds notebooks with these `ids`; `scopes` where not all were asked."""

    def __init__(self, ids: Sequence[str], scopes: Sequence[str] = ()) -> None:
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        advice = "correct the id" if len(ids) == 1 else "correct the ids"
        match scopes:
            case ():
                who = "no scope holds a notebook"
            case (scope,):
                who, advice = f"scope {scope} holds no notebook", f"{advice}, or ask other scopes"
            case _:
                who, advice = (
                    f"none of {', '.join(scopes)} holds a notebook",
                    f"{advice}, or ask other scopes",
                )
        super().__init__(f"{who} with id {', '.join(ids[:3])}{more}; {advice}")
        self.ids = tuple(ids)


def require_all(ids: Iterable[str], notebooks: Iterable[Notebook]) -> None:
    """Raises Unheld naming the ids that no scope holds."""
    if lost := unmatched(ids, notebooks):
        raise Unheld(lost)


@cache
def _environment() -> Environment:
    return environment({field.name: field.type for field in FIELDS.values()})


def _enclosed(text: str) -> str:
    return f"({text}\n)" if "//" in text else f"({text})"  # a comment must not swallow the parenthesis


_NOTHING = re.compile("(?!)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Which queries of ListNotebooks filter exactly, and the values that the API accepts for them.
_QUERIES: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "image.id": ("image_id", _UUID),
    "status": ("status", re.compile("|".join(s for s in Status if s is not Status.STRANGE))),
    "pool.id": ("pool_id", re.compile(r"[a-z][a-z0-9-]{3,63}")),
    "owner_id": ("owner", re.compile(r"[0-9a-z]{32}")),
    "workspace": ("workspace_id", re.compile(r"[0-9a-z-]{1,64}")),
}


def _conjuncts(node: Node) -> Iterator[Node]:
    """The terms that "&&" joins at the top of the tree."""
    waiting = [node]
    while waiting:
        term = waiting.pop()
        if term.function == "_&&_":
            waiting.extend(reversed(term.parts))
        else:
            yield term


def _equal_to_text(node: Node) -> Iterator[tuple[str, Node]]:
    """The variable and the literal text that `node` compares for being equal or not, in either order."""
    if node.function in ("_==_", "_!=_"):
        for one, other in (node.parts, node.parts[::-1]):
            if one.variable and other.literal is not None:
                yield one.variable, other


def _one_of_texts(node: Node) -> Iterator[tuple[str, Node]]:
    """The variable and each literal text of the list that `node` looks it up in."""
    if node.function == "@in":
        one, listed = node.parts
        plain = not listed.function and all(part.literal is not None for part in listed.parts)
        for part in listed.parts if one.variable and plain else ():
            yield one.variable, part


def _unknown_words(text: str, tree: Node) -> Iterator[Problem]:
    """Comparisons that can never hold, such as status == "RUNING"."""
    for node in tree.walk():
        for variable, literal in (*_equal_to_text(node), *_one_of_texts(node)):
            words = FIELDS[variable].words if variable in FIELDS else ()
            word = literal.literal or ""
            if variable in ("id", "image.id") and word and not _UUID.fullmatch(word):
                yield problem_at(text, literal.offset, f"{variable} is a UUID, which {word!r} is not")
            if words and word not in words:
                advice = nearest(word, words) or f"; there are {', '.join(w for w in words if w)}"
                yield problem_at(text, literal.offset, f"{variable} is never {word!r}{advice}")


_TEXT = re.compile(
    r"""[rR]"[^"\n]*"|[rR]'[^'\n]*'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*""", re.DOTALL
)
_HAS = re.compile(r"\bhas\s*\(\s*([\w.]+)\s*\)")


def without_texts(text: str) -> str:
    """The expression with quotes for all of its literal texts, and blanks for its comments."""
    return _TEXT.sub(lambda match: (" " if match[0].startswith("//") else '"') * len(match[0]), text)


def _has_without_tag(text: str) -> Iterator[Problem]:
    """has() of a plain field: the runtime would take it for the field itself."""
    for match in _HAS.finditer(without_texts(text)):
        asked = FIELDS.get(match[1])
        if asked is not None:
            advice = asked.absent or f"every notebook has {asked.name}; compare its value"
            yield problem_at(text, match.start(), f"has() asks for a tag, such as has(tags.keep): {advice}")


def _holds_nul(value: object) -> bool:
    """The runtime ends text at a NUL, so that x, NUL, y would be equal to x."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or "\0" in text for key, text in value.items())
    return isinstance(value, list) and any("\0" in text for text in value)


_LACKS = re.compile(r'Key not found in map : "(.*)"')
_CODE = re.compile(r"^[A-Z_]+: ")
_VALUELESS = re.compile(r'No value with name "(.*)" found')


def _undecided(report: str) -> str:
    """Why the runtime could not come to a result, in plain words."""
    if lacks := _LACKS.search(report):
        return f"it has no tag {clean(lacks[1])!r}; ask has(tags.{clean(lacks[1])}) first"
    if valueless := _VALUELESS.search(report):
        known = FIELDS.get(valueless[1])
        return f"{valueless[1]} has no value, {known.absent if known else ''}"
    return clean(_CODE.sub("", report))
