"""How to ask a run that goes on from another terminal: the words, and the way to its socket.

`steering` is the other end of the socket, `helm` does what is asked. Nothing here needs more than the
standard library and pydantic, so that whoever looks at a run gets his answer at once.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleet.core.errors import FleetError, UsageError
from fleet.journal.lock import is_locked, watched

ADDRESS = "steering"  # the file in the run's folder that says where the socket is
LONGEST_ANSWER = 1 << 20
PREFIX = "fleet-"  # of a folder of our own, for want of a runtime folder
SHORT_PLACE = "/tmp"  # noqa: S108 - its path is short, and mkdtemp makes a folder for us alone
CLIENT_TIME = 2.0  # s for one client
REACH_TIME = 3.0  # s to wait for a run that is just beginning, and for its answer
MOST_UNDER_WAY = 1000


class Verb(StrEnum):
    """What can be asked of a run."""

    STATUS = "status"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    SET = "set"
    APPROVE = "approve"


class Ask(BaseModel):
    """What is asked; the fields after the verb belong to `set`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    do: Verb
    rate: str = Field("", max_length=40)
    concurrency: int | None = Field(None, ge=1, le=MOST_UNDER_WAY)
    scopes: tuple[str, ...] = ()


class Answer(BaseModel):
    """What came of it, in words, and how the run stands. `limits` is by throttle key and class.

    `waits` says by the same keys what requests wait for, `binding` which budgets keep the next change from
    starting. `misused` says that the words were wrong, so that asking again does not help.
    """

    model_config = ConfigDict(frozen=True)

    done: bool
    text: str
    misused: bool = False
    paused: bool = False
    ending: str = ""
    concurrency: int = 0
    limits: Mapping[str, tuple[str, ...]] = {}
    waits: Mapping[str, str] = {}
    binding: tuple[str, ...] = ()


def clear_away(folder: Path) -> None:
    """Removes the socket that a killed process left of the run in `folder`; nothing while one works on it."""
    with watched(folder) as locked, suppress(OSError, ValueError):
        if not locked:
            note = folder / ADDRESS
            _remove_socket(Path(os.fsdecode(note.read_bytes())), folder.name)
            note.unlink()


def _remove_socket(path: Path, run: str) -> None:
    """Removes the socket unless somebody answers there, and never anything else: the note may be forged."""
    named = re.fullmatch(rf"{re.escape(run)}(-\d+)?\.sock", path.name)
    with suppress(FileNotFoundError):
        if named and stat.S_ISSOCK(path.lstat().st_mode) and not is_answered(path):
            path.unlink()
    if named and path.parent.parent == Path(SHORT_PLACE) and path.parent.name.startswith(PREFIX):
        with suppress(OSError):
            path.parent.rmdir()


def is_answered(path: Path) -> bool:
    """Whether somebody listens at the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CLIENT_TIME)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def ask(folder: Path, question: Ask) -> Answer:
    """What the run in `folder` answers.

    Raises FleetError when no process works on it, when it cannot be reached, or when it refuses, and
    UsageError when it is asked with wrong words. What a dead process left behind is removed.
    """
    try:
        answer = Answer.model_validate_json(_reached(folder, question.model_dump_json().encode()))
    except OSError as error:
        raise _unreachable(folder, (error.strerror or "no answer in time").lower()) from None
    except ValidationError:
        raise _unreachable(folder, "its answer is not understood, it may be of another version") from None
    if not answer.done:
        raise (UsageError if answer.misused else FleetError)(f"{folder.name}: {answer.text}")
    return answer


def _reached(folder: Path, line: bytes) -> bytes:
    """The answer to a line, also of a run that is just beginning."""
    deadline = time.monotonic() + REACH_TIME
    while True:
        if not is_locked(folder):
            clear_away(folder)
            raise FleetError(f"{folder.name}: is not going on; see: fleet report {folder.name}")
        try:
            return _exchange(folder, line)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _exchange(folder: Path, line: bytes) -> bytes:
    path = (folder / ADDRESS).read_bytes()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(REACH_TIME)
        connection.connect(path)
        connection.sendall(line + b"\n")
        with connection.makefile("rb") as answer:
            return answer.readline(LONGEST_ANSWER)


def _unreachable(folder: Path, problem: str) -> FleetError:
    return FleetError(
        f"{folder.name}: goes on, but cannot be steered: {problem}; to end it, press Ctrl-C where it runs"
    )
