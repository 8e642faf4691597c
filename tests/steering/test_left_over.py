"""What a killed run leaves behind: the socket by which it was steered, until somebody finds the run dead."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.journal.lock import RunLock
from fleet.service.asking import ADDRESS, PREFIX, SHORT_PLACE, Ask, Verb, ask, clear_away

RUN = "20261130-081500-k3f9"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path short enough for a socket; it may be removed."""
    made = Path(tempfile.mkdtemp(prefix="left-", dir="/tmp"))
    yield made
    for path in made.glob("*"):
        path.unlink()
    if made.exists():
        made.rmdir()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run on which no process works any more."""
    made = tmp_path / RUN
    made.mkdir(mode=0o700)
    RunLock(made).release()
    return made


def leave(folder: Path, path: Path) -> Path:
    """A socket that nobody answers, and the note that says where it is."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    (folder / ADDRESS).write_bytes(os.fsencode(path))
    return path


@pytest.mark.parametrize("name", [f"{RUN}.sock", f"{RUN}-123.sock"])
def test_asking_a_dead_run_removes_its_socket(folder: Path, place: Path, name: str) -> None:
    path = leave(folder, place / name)
    with pytest.raises(FleetError, match="is not going on"):
        ask(folder, Ask(do=Verb.STATUS))
    assert (path.exists(), (folder / ADDRESS).exists(), place.exists()) == (False, False, True)


def test_a_folder_that_was_made_for_the_socket_alone_goes_too(folder: Path) -> None:
    own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=SHORT_PLACE))
    leave(folder, own / f"{RUN}.sock")
    clear_away(folder)
    assert not own.exists()


def test_a_run_that_lives_keeps_its_socket(folder: Path, place: Path) -> None:
    path, lock = leave(folder, place / f"{RUN}.sock"), RunLock(folder)
    clear_away(folder)
    lock.release()
    assert path.exists()
    assert (folder / ADDRESS).exists()


def test_a_socket_that_another_run_answers_is_left_alone(folder: Path, place: Path) -> None:
    path = place / f"{RUN}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        (folder / ADDRESS).write_bytes(os.fsencode(path))
        clear_away(folder)
        assert path.exists()
    assert not (folder / ADDRESS).exists()


@pytest.mark.security("input")
@pytest.mark.parametrize("name", ["other.sock", f"{RUN}.txt", f"{RUN}.sock"])
def test_a_note_that_was_tampered_with_removes_nothing(folder: Path, place: Path, name: str) -> None:
    target = place / name
    target.write_text("precious")
    (folder / ADDRESS).write_bytes(os.fsencode(target))
    clear_away(folder)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("note", [b"", b"\0", b"/a\0b/" + RUN.encode() + b".sock", b"x" * 5000, b"/nowhere"])
def test_a_note_that_leads_nowhere_does_no_harm(folder: Path, note: bytes) -> None:
    (folder / ADDRESS).write_bytes(note)
    clear_away(folder)
