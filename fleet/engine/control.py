"""How a run is told to end early: no new changes, those under way come home."""

from __future__ import annotations

import anyio

from fleet.core.errors import FATAL
from fleet.core.events import Answered, Blind, Event, RunEnd


class Control:
    """Shared by whoever may stop a run: signals, budgets, deadlines, lost credentials.

    The first reason stands.
    """

    def __init__(self) -> None:
        self.end: tuple[RunEnd, str] | None = None
        self.draining = anyio.Event()

    def drain(self, end: RunEnd, reason: str) -> None:
        """Lets no further change start."""
        if self.end is None:
            self.end = (end, reason)
            self.draining.set()

    def observe(self, event: Event) -> None:
        """Ends the run at the first failure that every further call would share."""
        if isinstance(event, Answered | Blind) and event.meaning in FATAL:
            self.drain(RunEnd.LOCKED_OUT, f"{event.meaning}: {event.text}")
