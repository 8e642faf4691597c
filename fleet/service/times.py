"""The file in which the times of stops and starts outlive a run; see `core.planning.times`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fleet.client.kept_file import KeptRows
from fleet.core.planning.times import Timed, dump, load, with_news


class TimeFile:
    """The file at `path`; `wall` tells the time in seconds."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._rows: KeptRows[Timed] = KeptRows(path, wall, "times of stops and starts", load, dump)

    def recall(self) -> tuple[Timed, ...]:
        """Every stop and start that is still believed."""
        return self._rows.recall()

    def keep(self, news: Sequence[Timed]) -> None:
        """Adds what a run timed."""
        if news:
            self._rows.keep(with_news(self._rows.recall(), news))
