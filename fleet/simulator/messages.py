"""Values that cross the border of the simulated cloud: HTTP messages in and out, parsed calls inside.

``app`` turns sockets into ``Request`` and ``Reply`` into sockets; ``cloud`` turns a ``Request``
into a ``Call`` for one of the operations, which answers with an ``Answer``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.simulator.routing import Operation


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``path`` and ``query`` are still percent-encoded, header names lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    client: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, and how: after ``delay`` seconds, or not at all when ``dropped``."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    delay: float = 0.0
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user of the account; every notebook belongs to one."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in: who calls which operation on what, at which wall second."""

    operation: Operation
    project: str
    target: str
    query: Mapping[str, str]
    body: dict[str, Any]
    user: User
    now: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation says when it does not refuse."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def answer(value: object) -> Answer:
    return Answer(to_json(value))
