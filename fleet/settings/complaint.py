"""A failed validation, a line each: where in the file, what, and the nearest right key. Never the value."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleet.core.text import clean
from fleet.settings.tables import (
    CREDENTIAL_TABLES,
    METRICS_TABLES,
    FileTables,
    GuardsTable,
    RunTable,
    ScopeTable,
    Table,
)

# pydantic's type of error -> our words; other types keep pydantic's text, which never holds a value.
_WORDS = {
    "missing": "missing",
    "string_type": 'must be text in quotes "..."',
    "string_too_short": "must not be empty",
    "tuple_type": "must be an array [...]",
    "too_short": "must not be empty",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "union_tag_not_found": "kind is missing: ",
    "union_tag_invalid": "kind must be ",
}
_KINDS = {
    "credentials": "aksk, password, token or profile",
    "metrics": "aom, prometheus or file",
}

Place = tuple[int | str, ...]

UNKNOWN = "extra_forbidden"


def complaints(error: ValidationError, raw: Mapping[str, Any]) -> list[str]:
    """The problems of the file `raw`, unknown keys first: a misspelt key is missing under its right name."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return [_complaint(problem, raw) for problem in sorted(problems, key=lambda one: one["type"] != UNKNOWN)]


def _complaint(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    place: Place = problem["loc"]
    if problem["type"] == UNKNOWN:
        text = unknown_key(str(place[-1]), _keys(_table_at(place[:-1])))
    elif place == ("scope",):
        text = "at least one [[scope]] table is needed, with name, region and project_id"
    else:
        text = _WORDS.get(problem["type"], problem["msg"])
        if problem["type"].startswith("union_tag"):
            text += _KINDS[str(place[0])]
    return f"{_path(place)}: {text}{_which_scope(place, raw)}"


def unknown_key(wrong: str, known: list[str], word: str = "key") -> str:
    """The words for a name that does not exist, with the nearest that does."""
    near = get_close_matches(wrong, known, n=1)
    return (
        f"unknown {word}; did you mean {near[0]}?" if near else f"unknown {word}; known: {', '.join(known)}"
    )


def _table_at(place: Place) -> type[Table]:
    match place:
        case ("scope", *_):
            return ScopeTable
        case ("credentials", _, kind):
            return CREDENTIAL_TABLES[str(kind)]
        case ("metrics", _, kind):
            return METRICS_TABLES[str(kind)]
        case ("run",):
            return RunTable
        case ("guards",):
            return GuardsTable
        case _:
            return FileTables


def _keys(table: type[Table]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]


def _path(place: Place) -> str:
    parts = list(place)
    if len(parts) > 2 and parts[0] in _KINDS:
        del parts[2]  # pydantic names the kind here; the file has no such level
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{clean(part)}" if path else clean(part)
    return path


def _which_scope(place: Place, raw: Mapping[str, Any]) -> str:
    """The scope's name beside its number, where it has one."""
    match place:
        case ("scope", int(number), key, *_) if key != "name":
            name = raw["scope"][number].get("name")
            return f" (scope {clean(name)})" if isinstance(name, str) and name else ""
        case _:
            return ""
