"""Files that the command line names: read with words for what is wrong, written for the user's eyes alone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from fleet.cli.output import reason
from fleet.core.errors import UsageError
from fleet.journal.filesystem import unwritable

PRIVATE = 0o600


def read_file(path: Path, what: str) -> bytes:
    """The file's content. Raises UsageError in words when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read this {what}: {reason(error)}") from None


def read_text(path: Path, what: str) -> str:
    """The file's text. Raises UsageError in words when it cannot be read."""
    try:
        return read_file(path, what).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this {what} is not UTF-8 text") from None


def require_target(path: Path, what: str, *, appended: bool = False) -> None:
    """Raises UsageError when the file could not be written, before work is spent on what is to be in it.

    It will be replaced, unless it is to be `appended` to.
    """
    target = Path(os.path.realpath(path))
    if appended and target.is_dir():
        why = "is a directory"
    elif appended and os.path.lexists(target):
        why = "" if os.access(target, os.W_OK) else "permission denied"
    elif os.path.lexists(target) and not target.is_file():
        why = "not a regular file"
    elif not os.path.lexists(target.parent):
        why = "no such file or directory"
    else:
        why = unwritable(target.parent) if target.parent.is_dir() else "not a directory"
    if why:
        raise UsageError(f"{path}: cannot write the {what}: {why}")


def write_file(path: Path, data: bytes, what: str) -> None:
    """Replaces the file in one go, so that a full disk or a crash leaves no half of it.

    Raises UsageError in words when it cannot be written.
    """
    require_target(path, what)
    target = Path(os.path.realpath(path))
    half = target.parent / f".{secrets.token_hex(8)}.half"
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, target)
    except OSError as error:
        with suppress(OSError):
            half.unlink()
        raise UsageError(f"{path}: cannot write the {what}: {reason(error)}") from None


def append_to(path: Path, what: str, *, buffering: int = -1) -> TextIO:
    """The file, open for more. `buffering` as `open` has it. Raises UsageError in words when it cannot be."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        return os.fdopen(number, "a", buffering=buffering, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot write the {what}: {reason(error)}") from None
