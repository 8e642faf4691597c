"""Reading query parameters: numbers, enumerations, flags, paging, with the refusals they cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from fleet.simulator.paging import Page
from fleet.simulator.refusals import Refusal, bad_parameter

Row = TypeVar("Row")


_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not _WHOLE.match(text):
        raise bad_parameter(f"The parameter {name} must be a whole number.")
    return int(text)


def number(query: Mapping[str, str], name: str, default: int, least: int = 0) -> int:
    """A whole number that is the default or at least ``least``."""
    value = integer(query, name, default)
    if value < least and value != default:
        raise bad_parameter(f"The parameter {name} must be at least {least}.")
    return value


def choice(query: Mapping[str, str], name: str, allowed: Iterable[str], default: str) -> str:
    value = query.get(name, default)
    if value not in allowed and value != default:
        raise bad_parameter(f"The parameter {name} must be one of {', '.join(allowed)}.")
    return value


def flag(query: Mapping[str, str], name: str, default: bool) -> bool:
    text = query.get(name, str(default).lower())
    if text not in ("true", "false"):
        raise bad_parameter(f"The parameter {name} must be true or false.")
    return text == "true"


def page(query: Mapping[str, str], default_limit: int) -> Page:
    """Any limit, for the lists whose pages do not restrict it."""
    return Page(number(query, "limit", default_limit, least=1), number(query, "offset", 0))


def sort(
    rows: Iterable[Row], query: Mapping[str, str], keys: Mapping[str, Callable[[Row], Any]]
) -> list[Row]:
    """Sorted by the ``sort_key`` list in ``sort_dir``; raises 6303 for a key that is not known."""
    names = [name.strip() for name in query["sort_key"].split(",")]
    unknown = [name for name in names if name not in keys]
    if unknown:
        raise Refusal("ModelArts.6303", f"The field {unknown[0]} does not support sorting.")
    descending = choice(query, "sort_dir", ("ASC", "DESC"), "DESC") == "DESC"
    return sorted(rows, key=lambda row: tuple(keys[name](row) for name in names), reverse=descending)
