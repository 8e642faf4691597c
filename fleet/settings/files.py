"""Reading small text files that may hold secrets."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path

from fleet.core.errors import UsageError

_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file's text and who else may read it. `where` is its name in messages."""

    where: str
    path: Path
    text: str = field(repr=False)
    private: bool

    def require_private(self) -> None:
        """Raises UsageError unless the file is ours and nobody else may read or write it."""
        if not self.private:
            raise UsageError(
                f"{self.where}: holds secrets, but it is not yours alone; "
                f"own it and run: chmod 600 {shlex.quote(str(self.path))}"
            )


def read_text(path: Path, where: str) -> TextFile:
    """Reads the file that `path` leads to; links are followed and the file at their end is judged.

    Raises UsageError when there is none, when it is no regular file, too long or not UTF-8.
    """
    problem = ""
    try:
        real = path.resolve(strict=True)
        with open(real, "rb", opener=_opener) as file:
            facts = os.fstat(file.fileno())
            data = file.read(_MOST + 1) if stat.S_ISREG(facts.st_mode) else None
    except OSError as error:
        raise UsageError(f"{where}: {(error.strerror or 'cannot be read').lower()}") from None
    except RuntimeError:
        raise UsageError(f"{where}: its links lead in a circle") from None
    if data is None:
        raise UsageError(f"{where}: not a regular file")
    if len(data) > _MOST:
        raise UsageError(f"{where}: larger than 1 MiB")
    text = ""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"{where}: not UTF-8 text (byte {error.start})"
    if problem:
        raise UsageError(problem)
    return TextFile(where, real, text, private=is_private(facts.st_uid, facts.st_mode, os.geteuid()))


def is_private(owner: int, mode: int, us: int) -> bool:
    """Whether a file of `owner` with `mode` is in nobody's hands but ours."""
    return owner == us and not mode & 0o077


def _opener(path: str, flags: int) -> int:
    """Opens a resolved path: no new link is followed, no FIFO is waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
