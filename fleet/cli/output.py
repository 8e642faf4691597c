"""Where words go: results to stdout, everything else to stderr, foreign text cleaned in both."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.cells import cell_len

from fleet.core.errors import FleetError
from fleet.core.text import clean

LONGEST = 1000  # characters of a line
INDENT = "    "

_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def write(text: str) -> None:
    """A result, to stdout. Who reads may leave early: that is no error and the command goes on.

    Raises FleetError when it cannot be written for another reason, such as a full disk.
    """
    try:
        _send(text, sys.stdout)
    except BrokenPipeError:
        _abandon(sys.stdout)
    except OSError as error:
        _abandon(sys.stdout)
        raise FleetError(f"cannot write to stdout: {reason(error)}") from None


def say(text: str) -> None:
    """A remark, to stderr. It never fails: a run must not stop because nobody listens."""
    try:
        _send(text, sys.stderr)
    except OSError:
        _abandon(sys.stderr)


def write_lines(lines: Iterable[str]) -> None:
    """Lines to stdout, each cleaned."""
    write(cleaned(lines))


def say_lines(lines: Iterable[str]) -> None:
    """Lines to stderr, each cleaned."""
    say(cleaned(lines))


def cleaned(lines: Iterable[str]) -> str:
    """The lines as one text, each of them harmless and ended."""
    return "".join(f"{clean(line, LONGEST)}\n" for line in lines)


def folded(lines: Iterable[str], stream: TextIO) -> Iterator[str]:
    """The lines, each broken between words where a terminal is too narrow for it; whole for anything else."""
    width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    for line in lines:
        yield from _fold(line, width) if 0 < width < _seen(line) else (line,)


def reason(error: OSError) -> str:
    """Why the system refused, in its words."""
    return (error.strerror or "error").lower()


def _fold(line: str, width: int) -> Iterator[str]:
    part = ""
    for word in re.findall(r"\s*\S+", line):
        if part.strip() and _seen(part + word) > width:
            yield part
            part = INDENT + word.lstrip()
        else:
            part += word
    yield part


def _seen(text: str) -> int:
    """How many columns the text takes on a terminal."""
    return cell_len(_COLOR.sub("", text))


def finish() -> None:
    """Sends what is still buffered; where nobody takes it, it goes nowhere and that is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _abandon(stream)


def _send(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _abandon(stream: TextIO) -> None:
    """What is still to come goes nowhere; the interpreter's own last flush would complain otherwise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
