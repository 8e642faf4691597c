"""YAML files into frozen values, with one clear line when something is wrong.

Used for rules and faults. The safe loader only; a key written twice and a key that nobody knows are
errors, the latter with the nearest right one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Hashable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

CONFIG = ConfigDict(extra="forbid", strict=True)

T = TypeVar("T")


class DocumentError(ValueError):
    """A file cannot be used; the text says where and why on one line."""


class _Loader(yaml.SafeLoader):
    """The safe loader, except that a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is written twice (line {line})"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_document(shape: type[T], text: str, where: str, empty: object) -> T:
    """The document as ``shape``; ``empty`` stands for an empty file, ``where`` names the file."""
    try:
        # A subclass of the safe loader: it makes plain values only.
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise DocumentError(f"{where}: not valid YAML: {_yaml_problem(error)}") from error
    try:
        # JSON mode lets lists stand for tuples while types stay strict.
        found: T = _adapter(cast(Any, shape)).validate_json(
            _as_json(empty if value is None else value, where)
        )
        return found
    except ValidationError as error:
        raise DocumentError(f"{where}: {_first_problem(error, shape)}") from error


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    """Making one takes longer than most documents."""
    return TypeAdapter(shape)


def _as_json(value: object, where: str) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DocumentError(f"{where}: holds a value that is not plain data: {error}") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        place = "" if error.problem_mark is None else f" (line {error.problem_mark.line + 1})"
        return f"{error.problem}{place}"
    return " ".join(str(error).split())


def _first_problem(error: ValidationError, shape: Any) -> str:
    """The first problem in our words where pydantic's would not help the writer of the file."""
    problem = error.errors(include_url=False)[0]
    *outer, last = problem["loc"] or ("",)
    context = problem.get("ctx", {})
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return _at(outer, f"unknown key {last!r}{_near(str(last), _names(_meant(shape, outer)))}")
    if problem["type"] == "union_tag_invalid":
        known = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        tag = context["tag"]
        hint = _near(tag, known) or f"; known are {', '.join(known)}"
        return _at(problem["loc"], f"unknown {context['discriminator']} {tag!r}{hint}")
    if problem["type"] == "union_tag_not_found":
        return _at(problem["loc"], f"the key {context['discriminator']} is missing")
    if problem["type"] in ("tuple_type", "list_type"):
        return _at(problem["loc"], "must be a list")
    if problem["type"] in ("dataclass_type", "dict_type", "model_attributes_type"):
        return _at(problem["loc"], "must be a mapping")
    if problem["type"] in ("enum", "literal_error") and isinstance(problem["input"], str):
        known = re.findall(r"'([^']*)'", context["expected"])
        return _at(problem["loc"], f"{problem['msg']}{_near(problem['input'], known)}")
    if problem["type"] == "value_error":
        return _at(problem["loc"], str(context["error"]))
    return _at(problem["loc"], problem["msg"])


def _at(place: Sequence[int | str], what: str) -> str:
    """``what`` behind the place in the document: items by number, from 1."""
    parts = [f"item {part + 1}" if isinstance(part, int) else part for part in place if part != ""]
    return ": ".join([*parts, what])


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _meant(shape: Any, place: Sequence[int | str]) -> Any:
    """The kind of item that ``place`` goes through, else the whole shape."""
    inner = [shape]
    for one in inner:
        if dataclasses.is_dataclass(one) and any(
            field.name == "kind" and field.default in place for field in dataclasses.fields(one)
        ):
            return one
        inner += typing.get_args(one)
    return shape


def _names(shape: Any) -> set[str]:
    """Every key that may stand somewhere in a document of this shape."""
    names: set[str] = set()
    if dataclasses.is_dataclass(shape):
        hints = typing.get_type_hints(shape)
        for field in dataclasses.fields(shape):
            names |= {field.name} | _names(hints[field.name])
    for inner in typing.get_args(shape):
        names |= _names(inner)
    return names
