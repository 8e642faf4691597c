"""Values that cross the border of the simulated cloud: HTTP messages in and out, parsed calls inside.

``app`` turns sockets into ``Request`` and ``Reply`` into sockets; ``cloud`` turns a ``Request``
into a ``Call`` for one of the operations, which answers with an ``Answer``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleet.simulator.paging import Page
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
class Sending:
    """What is written to the connection in place of a proper answer: pieces, each after a pause in
    seconds. Then the connection is closed; by a reset (RST) when ``reset``."""

    pieces: tuple[tuple[float, bytes], ...] = ()
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back after ``delay`` seconds. ``answered``: the caller gets to see all of it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    delay: float = 0.0
    sending: Sending | None = field(default=None, repr=False)
    answered: bool = True


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user of the account; every notebook belongs to one."""

    id: str
    name: str


SOMEBODY = User("somebody".rjust(32, "0"), "somebody")
"""The user as whom people of a faults file act: never the one whom clients act as."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in: who calls which operation on what, at which wall second.

    ``cut`` gives the rows of a page of a list where it is not to be the true one.
    """

    operation: Operation
    project: str
    target: str
    query: Mapping[str, str]
    body: dict[str, Any]
    user: User
    now: float
    cut: Callable[[Page, Sequence[Any]], Sequence[Any]] | None = None


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
