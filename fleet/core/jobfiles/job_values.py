"""Values as people write them in job files: durations, shares, waves, names, and their JSON Schema.

Neighbours: `job_models` makes the file's parts of them, job types use them for their own parameters.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from fleet.core.errors import UsageError
from fleet.core.rollout import Share
from fleet.core.selecting.selector import Selector
from fleet.core.text import clean


def parse_duration(value: object) -> float:
    """Seconds of a text such as 90s, 10m, 1h30m or 3d. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{clean(repr(value), 40)} is not a duration such as 90s, 10m or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(days * 86_400 + hours * 3600 + minutes * 60 + seconds)


def parse_share(value: object) -> Share:
    """A number of at least 1, or a percentage from 1% to 100%. Raises ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        share = Share(value)
    elif isinstance(value, str) and (percent := _PERCENT.fullmatch(value)):
        share = Share(int(percent[1]), percent=True)
    else:
        raise ValueError(f"{clean(repr(value), 40)} is neither a number nor a percentage such as 5%")
    if share.amount < 1:
        raise ValueError(f"{share} would let nothing happen; give at least 1 or 1%")
    if share.percent and share.amount > 100:
        raise ValueError(f"{share} is more than everything; give at most 100%")
    return share


def parse_percentage(value: object) -> Share:
    """A percentage from 1% to 100%. Raises ValueError for anything else."""
    share = parse_share(value)
    if not share.percent:
        raise ValueError(f"{share} is no percentage such as 50%")
    return share


def parse_waves(value: object) -> tuple[Share, ...]:
    """Running totals such as [1, 5%, 100%], each larger than the one before. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of running totals such as [1, 5%, 100%]")
    waves = tuple(parse_share(item) for item in value)
    for kind in (False, True):
        for one, other in pairwise(share for share in waves if share.percent is kind):
            if other.amount <= one.amount:
                raise ValueError(f"{other} does not follow after {one}; each wave is a larger running total")
    if Share(100, percent=True) in waves[:-1]:
        raise ValueError("100% is everything; nothing can follow after it")
    return waves


_DURATION = re.compile(r"(?=.)(?:(\d{1,3})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PERCENT = re.compile(r"(0|[1-9]\d{0,2})%", re.ASCII)


def _positive(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("must be longer than nothing, such as 30m")
    return seconds


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("must be 1 to 100 letters, digits, '.', '-' or '_', the first a letter or digit")
    return value


def _unlike(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a name is listed twice")
    return values


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(other <= one for one, other in pairwise(values)):
        raise ValueError("must be wave numbers in rising order, such as [1, 2]")
    return values


def _expression(value: object) -> Selector:
    """YAML's true and false are CEL's."""
    text = str(value).lower() if isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError("must be text; put it in quotes")
    try:
        return Selector.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _webhook(value: str) -> str:
    try:
        url = urlsplit(value)
        port, host = url.port, url.hostname or ""
    except ValueError:
        raise ValueError("is no web address such as https://example.com/notices") from None
    local = host in ("localhost", "127.0.0.1", "::1")
    if not host or port == 0 or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is no web address such as https://example.com/notices")
    if url.scheme != "https" and not (url.scheme == "http" and local):
        raise ValueError("must begin with https://; plain http is for this machine only")
    if url.username is not None or url.fragment:
        raise ValueError("must hold neither a user nor a fragment")
    return value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL; no program could be given it")
    return value


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^(?=.)([0-9]{1,3}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$",
    "examples": ["90s", "10m", "1h30m"],
}
_SHARE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"}],
    "examples": [3, "5%"],
}
Duration = Annotated[float, PlainValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[float, PlainValidator(_positive), WithJsonSchema(_DURATION_SCHEMA)]
Percentage = Annotated[
    Share, PlainValidator(parse_percentage), WithJsonSchema(_SHARE_SCHEMA["anyOf"][1] | {"examples": ["50%"]})
]
ShareText = Annotated[Share, PlainValidator(parse_share), WithJsonSchema(_SHARE_SCHEMA)]
Waves = Annotated[
    tuple[Share, ...],
    PlainValidator(parse_waves),
    WithJsonSchema({"type": "array", "minItems": 1, "items": _SHARE_SCHEMA}),
]
Word = Annotated[
    str, AfterValidator(_word), WithJsonSchema({"type": "string", "pattern": f"^{_WORD.pattern}$"})
]
Names = Annotated[
    tuple[str, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_unlike)
]
Argument = Annotated[str, Field(min_length=1), AfterValidator(_argument)]
Webhook = Annotated[str, AfterValidator(_webhook)]
Arguments = Annotated[tuple[Argument, ...], Field(min_length=1)]
WaveNumbers = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_rising),
]
Expression = Annotated[
    Selector,
    PlainValidator(_expression),
    WithJsonSchema({"type": ["string", "boolean"]}),
    Field(description="A CEL expression; fleet ls --fields lists its fields."),
]
