"""How two values of a notebook's field differ, in words for a row: what is, and what was to be found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

_PLAIN = re.compile(r"[\w.:/@+-]+")
_MISSING = object()


def differences(field: str, seen: Any, expected: Any, word: str) -> Iterator[str]:
    """Each part of the field that is not as expected, such as `image_id is new, was old`.

    Of objects and lists of objects only the parts that differ are named; `word` comes before what was
    expected.
    """
    if isinstance(seen, Mapping) and isinstance(expected, Mapping):
        for key in dict.fromkeys((*expected, *seen)):
            one, other = seen.get(key, _MISSING), expected.get(key, _MISSING)
            if one != other:
                yield from differences(f"{field}.{key}", one, other, word)
    elif _objects(seen) and _objects(expected):
        for number, (one, other) in enumerate(zip_longest(seen, expected, fillvalue=_MISSING), start=1):
            if one != other:
                yield from differences(f"{field}[{number}]", one, other, word)
    else:
        yield f"{field} is {shown(seen)}, {word} {shown(expected)}"


def shown(value: Any) -> str:
    """A value as a person would write it: bare where that is clear, quoted where it is not."""
    if value in (None, "", [], (), {}):
        return "empty"
    match value:
        case str():
            return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
        case bool():
            return "true" if value else "false"
        case Mapping():
            return f"({', '.join(f'{key}: {shown(part)}' for key, part in value.items())})"
        case list() | tuple():
            return f"[{', '.join(map(shown, value))}]"
        case _:
            return "not there" if value is _MISSING else str(value)


def _objects(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(one, Mapping) for one in value)
