"""Progress as a picture that stays in place, for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleet.core.duration import duration
from fleet.core.events import Event, Outcome
from fleet.core.text import clean
from fleet.telemetry import wording
from fleet.telemetry.progress import Progress
from fleet.telemetry.quiet import QuietStream
from fleet.telemetry.snapshot import Snapshot, WaveProgress, WaveState

WAVES = 5  # how many are shown at once
LONGEST = 400  # characters of what may name a command
NAME = 24  # characters of a name, so that the reason beside it stays in sight

_COLORS = {
    Outcome.FAILED: "red",
    Outcome.STRANDED: "bold red",
    Outcome.UNKNOWN: "magenta",
    Outcome.DRIFTED: "yellow",
}


class LiveView:
    """Draws the run four times a second from a thread of its own; an event costs its counting only.

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
        self._now = now
        self._whole = whole
        self._lock = Lock()
        console = Console(file=cast(TextIO, QuietStream(stream)), markup=False, highlight=False, emoji=False)
        self._live = Live(
            console=console, get_renderable=self._draw, refresh_per_second=4, redirect_stdout=False
        )

    def __enter__(self) -> LiveView:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._progress.apply(event)

    def _draw(self) -> Group:
        with self._lock:
            snapshot = self._progress.snapshot(self._now())
        return picture(snapshot, self._whole)


def picture(snapshot: Snapshot, whole: Callable[[str], str] = str) -> Group:
    """The snapshot as lines that are cut where the terminal is narrow; those that may name commands fold."""
    head = f"{snapshot.run}  {clean(snapshot.job)}  {wording.place(snapshot)}  {duration(snapshot.elapsed)}"
    lines: list[RenderableType] = [
        _line(head, "bold"),
        _bar(snapshot),
        *map(_line, filter(None, [wording.waits(snapshot)])),
        _line(wording.outcomes(snapshot)),
        _line(wording.activity(snapshot)),
        *(_wave(wave, len(str(len(snapshot.waves)))) for wave in _near(snapshot.waves)),
    ]
    lines += [_line(f"no answer: {clean(trouble)}", "red") for trouble in snapshot.out_of_reach]
    if snapshot.slowed:
        lines.append(_line(f"throttled: {clean(snapshot.slowed)}", "yellow"))
    lines += [Text(whole(f"held: {clean(held, LONGEST)}"), style="yellow") for held in snapshot.held]
    if snapshot.steered:
        lines.append(_line(f"steered: {clean(snapshot.steered)}", "cyan"))
    for trouble in snapshot.troubles:
        whose = f"{clean(trouble.scope, NAME)} {clean(trouble.name, NAME)}"
        what = f"{trouble.outcome}: {whose}: {clean(trouble.reason)}"
        lines.append(_line(what, _COLORS[trouble.outcome]))
    if snapshot.reason:
        lines.append(Text(whole(clean(snapshot.reason, LONGEST)), style="bold"))
    return Group(*lines)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _bar(snapshot: Snapshot) -> Table:
    row = Table.grid(padding=(0, 1))
    share = 100 * snapshot.ended // snapshot.total if snapshot.total else 100
    row.add_row(
        ProgressBar(total=max(1, snapshot.total), completed=snapshot.ended, width=30),
        _line(f"{snapshot.ended}/{snapshot.total} ended, {share}%, {wording.work(snapshot)}"),
    )
    return row


def _wave(wave: WaveProgress, digits: int) -> Text:
    style = {WaveState.RUNNING: "", WaveState.HALTED: "red"}.get(wave.state, "dim")
    return _line(f"wave {wave.number:>{digits}}  {wave.ended}/{wave.size}  {wave.state}", style)


def _near(waves: tuple[WaveProgress, ...]) -> tuple[WaveProgress, ...]:
    """The waves around the one that goes on."""
    current = sum(wave.state is not WaveState.WAITING for wave in waves) - 1
    first = max(0, min(current - WAVES // 2, len(waves) - WAVES))
    return waves[first : first + WAVES]
