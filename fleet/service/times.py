"""The file in which the times of stops and starts outlive a run. `core.planning.times` knows what is in it.

It is a convenience, never a condition: whatever is wrong with it is warned about, and it counts as empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from fleet.client.kept_file import KeptFile
from fleet.core.planning.times import Timed, dump, load, with_news


class TimeFile:
    """The file at `path`; `wall` tells the time in seconds."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._file = KeptFile(path)
        self._wall = wall

    def recall(self) -> tuple[Timed, ...]:
        """Every stop and start that is still believed."""
        try:
            data = self._file.read()
            return () if data is None else load(data, self._wall())
        except OSError as error:
            self._warn(f"cannot be read: {error.strerror}")
        except ValueError:
            self._warn("is damaged or of another version, and counts as empty")
        return ()

    def keep(self, news: Sequence[Timed]) -> None:
        """Adds what a run timed."""
        if not news:
            return
        try:
            self._file.replace(dump(with_news(self.recall(), news)))
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")

    def _warn(self, problem: str) -> None:
        structlog.get_logger().warning(
            "times of stops and starts are not remembered", file=str(self._file.path), problem=problem
        )
