"""Progress as plain lines, for logs of other programs and for people without a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TextIO

from fleet.core.duration import duration
from fleet.core.events import Event, Held, OutOfReach, RunEnded, Slowed, Steered, WaveEnded, WaveStarted
from fleet.core.text import clean
from fleet.telemetry import wording
from fleet.telemetry.progress import Progress
from fleet.telemetry.quiet import QuietStream
from fleet.telemetry.snapshot import Snapshot

EVERY = 5.0  # seconds between two lines
LONGEST = 400  # characters of what may name a command

_WAVE = re.compile(r"wave [0-9]+: ")


class PlainView:
    """Writes a line at each start and end of a wave, and one every few seconds while events come in.

    `now` gives wall time in seconds, the time that events carry.
    """

    def __init__(
        self,
        progress: Progress,
        stream: TextIO,
        now: Callable[[], float],
        whole: Callable[[str], str] = str,
    ) -> None:
        self._progress = progress
        self._stream = QuietStream(stream)
        self._now = now
        self._last = now()
        self._whole = whole

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        self._progress.apply(event)
        now = self._now()
        news = _news(event)
        if news is None and 0 <= now - self._last < EVERY:
            return
        self._last = now
        self._stream.write(self._whole(line(self._progress.snapshot(now), news)))
        self._stream.flush()


def line(snapshot: Snapshot, news: str | None = None) -> str:
    """The snapshot as one line, whatever its length: programs and logs fold for themselves.

    News of a wave say which: they stand in the place of the wave that was started last.
    """
    place = wording.place(snapshot)
    label = place if news is None else news if _WAVE.match(news) else f"{place} {news}"
    parts = [
        f"{duration(snapshot.elapsed)} {label}",
        f"{snapshot.ended}/{snapshot.total} ended",
        wording.outcomes(snapshot),
        wording.activity(snapshot),
        wording.remaining(snapshot),
        *map(clean, snapshot.out_of_reach),
    ]
    return "; ".join(parts) + "\n"


def _news(event: Event) -> str | None:
    """What deserves a line at once."""
    match event:
        case WaveStarted():
            return "starts"
        case WaveEnded(go=True):
            return "ended: go"
        case WaveEnded():
            return f"ended: halt ({clean(event.reason, LONGEST)})"
        case Slowed():
            return f"throttled ({clean(event.text)})"
        case Held():
            return f"{clean(event.where)}: {clean(event.text, LONGEST) or 'no longer held'}"
        case OutOfReach(text=""):
            return f"{clean(event.host)} answers again"
        case OutOfReach():
            return "no answer"
        case Steered():
            return clean(event.what)
        case RunEnded():
            return f"run ended ({clean(event.reason, LONGEST)})" if event.reason else "run ended"
        case _:
            return None
