"""Chooses how progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, Self, TextIO

from fleet.core.events import Event
from fleet.core.planning.plan import Plan
from fleet.telemetry.live import LiveView
from fleet.telemetry.plain import PlainView
from fleet.telemetry.progress import Progress
from fleet.telemetry.quiet import QuietStream


class ProgressView(Protocol):
    """A view of one run: open while the run goes on, called with its events. Never fails, never waits."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, event: Event) -> None: ...


def progress_view(
    plan: Plan,
    stream: TextIO,
    now: Callable[[], float],
    *,
    term: str,
    past: Iterable[Event] = (),
    whole: Callable[[str], str] = str,
) -> ProgressView:
    """A live picture when `stream` is a terminal of a kind (`term`, as in TERM) that can draw, else lines.

    `now` gives wall time in seconds. What happened in the `past` is counted, but not told. `whole` completes
    the commands that are named.
    """
    progress = Progress(plan)
    for event in past:
        progress.apply(event)
    able = QuietStream(stream).isatty() and term not in ("", "dumb", "unknown")
    return (LiveView if able else PlainView)(progress, stream, now, whole)
