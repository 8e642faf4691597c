"""The file in which limits that gateways taught outlive a run. `core.pacing.remembered` knows what is in it.

It is a convenience, never a condition: whatever is wrong with it is warned about and it counts as empty. Two
runs that write at once may lose a limit, which costs one refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from fleet.client.kept_file import KeptFile
from fleet.core.pacing.pace import Limit
from fleet.core.pacing.remembered import Taught, by_key, dump, load, with_news


class LimitFile:
    """The file at `path`; `wall` tells the time in seconds."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._file = KeptFile(path)
        self._wall = wall

    def recall(self) -> Mapping[str, tuple[Limit, ...]]:
        """The limits that are still believed, by throttle key and class."""
        return by_key(self._read())

    def keep(self, key: str, limit: Limit) -> None:
        """Remembers a limit that was told just now. Seldom enough not to need a thread."""
        news = Taught(key, limit.policy, limit.count, limit.window, self._wall())
        try:
            self._file.replace(dump(with_news(self._read(), news)))
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")

    def _read(self) -> tuple[Taught, ...]:
        try:
            data = self._file.read()
            return () if data is None else load(data, self._wall())
        except OSError as error:
            self._warn(f"cannot be read: {error.strerror}")
        except ValueError:
            self._warn("is damaged or of another version, and counts as empty")
        return ()

    def _warn(self, problem: str) -> None:
        structlog.get_logger().warning(
            "learned limits are not remembered", file=str(self._file.path), problem=problem
        )
