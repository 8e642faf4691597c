"""The file in which limits that gateways taught outlive a run. `core.remembered` knows what is in it.

It is a convenience, never a condition: whatever is wrong with it is warned about and it counts as empty. Two
runs that write at once may lose a limit, which costs one refusal.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from fleet.core.pace import Limit
from fleet.core.remembered import Taught, by_key, dump, load, with_news

_MOST = 1 << 20  # bytes


class LimitFile:
    """The file at `path`; `wall` tells the time in seconds."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._path = path
        self._wall = wall

    def recall(self) -> Mapping[str, tuple[Limit, ...]]:
        """The limits that are still believed, by throttle key and class."""
        return by_key(self._read())

    def keep(self, key: str, limit: Limit) -> None:
        """Remembers a limit that was told just now. Seldom enough not to need a thread."""
        news = Taught(key, limit.policy, limit.count, limit.window, self._wall())
        try:
            self._replace(dump(with_news(self._read(), news)))
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")

    def _read(self) -> tuple[Taught, ...]:
        try:
            with open(self._path, "rb", opener=_opener) as file:
                return load(file.read(_MOST), self._wall())
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._warn(f"cannot be read: {error.strerror}")
        except ValueError:
            self._warn("is damaged or of another version, and counts as empty")
        return ()

    def _replace(self, data: bytes) -> None:
        """Puts the file in place as a whole, for the owner's eyes only."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")  # 0600
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, self._path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise

    def _warn(self, problem: str) -> None:
        structlog.get_logger().warning(
            "learned limits are not remembered", file=str(self._path), problem=problem
        )


def _opener(path: str, flags: int) -> int:
    """Follows no link and waits for no pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
