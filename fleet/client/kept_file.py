"""A small file that is replaced as a whole: read by whoever comes, never seen half written."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_MOST = 1 << 20  # bytes


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
