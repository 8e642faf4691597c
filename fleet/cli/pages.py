"""How far a listing has come, on stderr: at 60 requests a minute a large fleet takes minutes to read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from fleet.cli.output import say
from fleet.core.text import clean

ON_TERMINAL, PIPED = 1.0, 10.0  # s between two remarks

_ERASE = "\r\x1b[K"


class PageProgress:
    """Told of every page; says so now and then: in one place on a `terminal`, in lines elsewhere.

    `now` gives monotonic seconds. A listing that is read at once is not worth a word.
    """

    def __init__(self, now: Callable[[], float], *, terminal: bool | None = None) -> None:
        self._now = now
        self._terminal = _can_erase() if terminal is None else terminal
        self._every = ON_TERMINAL if self._terminal else PIPED
        self._last = now()
        self._shown = False

    def __enter__(self) -> PageProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._terminal:
            say(_ERASE)

    def __call__(self, scope: str, number: int, page: int, pages: int | None) -> None:
        """Page `page` of `pages`, as far as the cloud says how many, of pass `number` over the scope."""
        now = self._now()
        if now - self._last < self._every:
            return
        self._last, self._shown = now, True
        of = "" if pages is None else f" of {pages}"
        text = f"{clean(scope)}: page {page}{of}, pass {number}"
        say(f"{_ERASE}{text}" if self._terminal else f"{text}\n")


def _can_erase() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
