"""YAML files into frozen values, with one clear line when something is wrong.

Used for rules and faults. The safe loader only; a key written twice and a key that nobody knows are
errors, the latter with the nearest right one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Hashable
from typing import Any, TypeVar

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
    adapter: TypeAdapter[T] = TypeAdapter(shape)
    try:
        # JSON mode lets lists stand for tuples while types stay strict.
        return adapter.validate_json(_as_json(empty if value is None else value, where))
    except ValidationError as error:
        raise DocumentError(f"{where}: {_first_problem(error, shape)}") from error


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
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    name = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        near = difflib.get_close_matches(name, sorted(_names(shape)), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {place!r}{hint}"
    at = f"{place}: " if place else ""
    return f"{at}{problem['msg']}"


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
