"""What gateways taught in earlier runs: limits by throttle key and class, each with its age.

Arithmetic and format only; `client.memory` keeps the file. A limit is believed for a day: quotas are raised,
and one that is forgotten costs a single refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from fleet.core.pacing.limits import Limit
from fleet.core.pacing.pace import LARGEST

BELIEVED = 86400.0  # s


@dataclass(frozen=True, slots=True)
class Taught:
    """A limit of one throttle key and class, and when it was told (wall seconds)."""

    key: str
    policy: str
    count: int
    window: float
    at: float

    @property
    def limit(self) -> Limit:
        return Limit(self.policy, self.count, self.window)

    def holds(self, now: float) -> bool:
        """Whether it is young enough at `now` to be believed, and makes sense; the future is no age."""
        sane = 0 < self.count <= LARGEST and 0.0 < self.window <= BELIEVED
        return sane and 0.0 <= now - self.at <= BELIEVED


@dataclass(frozen=True, slots=True)
class _Document:
    taught: tuple[Taught, ...]
    format: Literal[1] = 1


_FORMAT: TypeAdapter[_Document] = TypeAdapter(_Document)


def load(data: bytes, now: float) -> tuple[Taught, ...]:
    """What `dump` wrote, without what is too old. Raises ValueError for anything else."""
    return tuple(one for one in _FORMAT.validate_json(data, strict=True).taught if one.holds(now))


def dump(taught: Iterable[Taught]) -> bytes:
    """The file's content."""
    return _FORMAT.dump_json(_Document(tuple(taught)), indent=1) + b"\n"


def with_news(taught: Iterable[Taught], news: Taught) -> tuple[Taught, ...]:
    """`taught` with `news` in the place of what was known of the same key, policy and window."""
    about = news.key, news.policy, news.window
    return (*(one for one in taught if (one.key, one.policy, one.window) != about), news)


def by_key(taught: Iterable[Taught]) -> Mapping[str, tuple[Limit, ...]]:
    """The limits of every key."""
    found: dict[str, tuple[Limit, ...]] = {}
    for one in taught:
        found[one.key] = (*found.get(one.key, ()), one.limit)
    return found
