"""What a transport is, for those above it: where it goes, what it sends, and who has the last word before.

Two transports keep the same contract: `wire` and `session`. Nothing outside of this package may know which of
them runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from yarl import URL

from fleet.client.wire import Request, Response
from fleet.core.text import clean


class Departure(Protocol):
    """Asked with a connection in hand, as the last thing before the first byte."""

    def go(self) -> bool:
        """True counts the request as sent: its bytes must leave, once, in this step of the loop or the next.
        False asks to `wait` first.

        Raises CallError to call the request off.
        """
        ...

    async def wait(self) -> None:
        """Returns when `go` is worth asking again."""
        ...


class Transport(Protocol):
    """One way to one site."""

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        """Sends once, with `headers` (names in lower case) besides those of the site.

        `within` (s) bounds everything from the connection to the last byte of the answer. Raises CallError:
        `UNREACHABLE` and `TLS` mean that nothing left, `LOST` and `ODD` that the cloud may have acted. Raises
        ValueError, before anything is sent, for a request that no transport may send.
        """
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where a transport goes: an origin such as https://host:port, what to check when it cannot be reached,
    what the path of every request must start with, and what headers every request carries besides Host.
    """

    origin: str
    check: str
    prefix: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Host and, where it is not the default, port: the Host header."""
        return URL(self.origin).host_port_subcomponent or ""


def check_request(site: Site, request: Request) -> str:
    """The target of `request`. Raises ValueError unless it is one, and stays below the site's prefix."""
    target = request.target
    if (
        not target.startswith(site.prefix)
        or "/.." in request.path
        or not is_one_line(target)
        or " " in target
        or "#" in target
    ):
        raise ValueError(f"a request left its scope: {clean(request.path)}")
    return target


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises ValueError for a header that could become two. The value may be a secret and is not shown."""
    for name, value in headers.items():
        if not is_one_line(name) or not is_one_line(value):
            raise ValueError(f"header {clean(name, 40)} holds a character that no header may hold")


def is_one_line(text: str) -> bool:
    """Whether `text` is printable ASCII only: no line break, no NUL, nothing to decode."""
    return text.isascii() and text.isprintable()
