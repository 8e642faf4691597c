"""The file in which limits that gateways taught outlive a run; see `core.pacing.remembered`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.client.kept_file import KeptRows
from fleet.core.pacing.limits import Limit
from fleet.core.pacing.remembered import Taught, by_key, dump, load, with_news


class LimitFile:
    """The file at `path`; `wall` tells the time in seconds."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._rows: KeptRows[Taught] = KeptRows(path, wall, "learned limits", load, dump)
        self._wall = wall

    def recall(self) -> Mapping[str, tuple[Limit, ...]]:
        """The limits that are still believed, by throttle key and class."""
        return by_key(self._rows.recall())

    def keep(self, key: str, limit: Limit) -> None:
        """Remembers a limit that was told just now. Seldom enough not to need a thread."""
        news = Taught(key, limit.policy, limit.count, limit.window, self._wall())
        self._rows.keep(with_news(self._rows.recall(), news))
