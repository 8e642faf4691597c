"""Files that the command line names: read with words for what is wrong, written for the user's eyes alone."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from fleet.cli.output import reason
from fleet.core.errors import UsageError
from fleet.core.planning.plan_file import PLAN_BEGINS
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
    try:
        why = _obstacle(Path(os.path.realpath(path)), appended)
    except OSError as error:
        why = reason(error)
    if why:
        raise UsageError(f"{path}: cannot write the {what}: {why}")


def require_plan_target(path: Path) -> None:
    """As `require_target`, and no slip costs a job file or a configuration: only a plan is replaced."""
    require_target(path, "plan")
    try:
        with path.open("rb") as file:
            begins = file.read(len(PLAN_BEGINS))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {reason(error)}; choose another name for the plan"
        ) from None
    if begins not in (b"", PLAN_BEGINS):
        raise UsageError(f"{path}: is there already and is no plan; choose another name for the plan")


def _obstacle(target: Path, appended: bool) -> str:
    """What keeps the file from being written; empty when nothing does."""
    mode = _mode(target)
    if mode and appended:
        if stat.S_ISDIR(mode):
            return "is a directory"
        return "" if os.access(target, os.W_OK) else "permission denied"
    if mode and not stat.S_ISREG(mode):
        return "not a regular file"
    folder = _mode(target.parent)
    if not folder:
        return "no such file or directory"
    return unwritable(target.parent) if stat.S_ISDIR(folder) else "not a directory"


def _mode(path: Path) -> int:
    """The file's mode, 0 when there is none. Raises OSError for a path that cannot be looked at."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


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
