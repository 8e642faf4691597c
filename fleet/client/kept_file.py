"""A small file that is replaced as a whole: read by whoever comes, never seen half written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import structlog

_MOST = 1 << 20  # bytes

T = TypeVar("T")


class KeptRows(Generic[T]):
    """What runs learned, in the file at `path`; `what` it is for people, `wall` tells the time in seconds.

    It is a convenience, never a condition: whatever is wrong with it is warned about and it counts as empty.
    Two runs that write at once may lose what one of them learned. `load` gets the content and the time, and
    raises ValueError for what `dump` did not write.
    """

    def __init__(
        self,
        path: Path,
        wall: Callable[[], float],
        what: str,
        load: Callable[[bytes, float], tuple[T, ...]],
        dump: Callable[[tuple[T, ...]], bytes],
    ) -> None:
        self._file = KeptFile(path)
        self._wall = wall
        self._what = what
        self._load = load
        self._dump = dump

    def recall(self) -> tuple[T, ...]:
        """Every row that is still believed."""
        try:
            data = self._file.read()
            return () if data is None else self._load(data, self._wall())
        except OSError as error:
            self._warn(f"cannot be read: {error.strerror}")
        except ValueError:
            self._warn("is damaged or of another version, and counts as empty")
        return ()

    def keep(self, rows: tuple[T, ...]) -> None:
        """Puts the rows in the place of all that was there."""
        try:
            self._file.replace(self._dump(rows))
        except OSError as error:
            self._warn(f"cannot be written: {error.strerror}")

    def _warn(self, problem: str) -> None:
        structlog.get_logger().warning(
            f"{self._what} are not remembered", file=str(self._file.path), problem=problem
        )


class KeptFile:
    """The file at `path`, for its owner's eyes only. Both methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """What is in it, cut after a mebibyte; None when there is no such file."""
        try:
            with open(self.path, "rb", opener=_opener) as file:
                return file.read(_MOST)
        except FileNotFoundError:
            return None

    def replace(self, data: bytes) -> None:
        """Puts the data in place as a whole."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # 0600
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise


def _opener(path: str, flags: int) -> int:
    """Follows no link and waits for no pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
