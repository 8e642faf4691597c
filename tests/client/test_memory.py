"""The file of learned limits: private, whole or not there, and never a reason to fail."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fleet.client.memory import LimitFile
from fleet.core.pacing.limits import Limit
from fleet.core.pacing.remembered import BELIEVED

NOW = 1_764_000_000.0
USER = Limit("user", 60, 60.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "limits.json"


def test_what_was_kept_is_recalled_by_the_next_run(path: Path) -> None:
    LimitFile(path, lambda: NOW).keep("k, reads", USER)
    LimitFile(path, lambda: NOW).keep("k, writes", Limit("api", 5, 1.0))
    found = LimitFile(path, lambda: NOW + 60.0).recall()
    assert found == {"k, reads": (USER,), "k, writes": (Limit("api", 5, 1.0),)}


def test_after_a_day_it_is_forgotten(path: Path) -> None:
    LimitFile(path, lambda: NOW).keep("k", USER)
    assert LimitFile(path, lambda: NOW + BELIEVED + 1.0).recall() == {}


def test_the_file_is_for_the_owner_only_and_nothing_is_left_beside_it(path: Path) -> None:
    LimitFile(path, lambda: NOW).keep("k", USER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["limits.json"]


def test_without_a_file_nothing_is_known_and_nothing_is_said(path: Path) -> None:
    with capture_logs() as logs:
        assert LimitFile(path, lambda: NOW).recall() == {}
    assert logs == []


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff{")


def folder(path: Path) -> None:
    path.mkdir()


def link(path: Path) -> None:
    LimitFile(path.parent / "elsewhere", lambda: NOW).keep("k", USER)
    path.symlink_to(path.parent / "elsewhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [garbage, folder, link, pipe])
def test_what_cannot_be_read_is_warned_about_and_counts_as_empty(
    path: Path, make: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    make(path)
    with capture_logs() as logs:
        assert LimitFile(path, lambda: NOW).recall() == {}
    assert [(log["log_level"], log["file"]) for log in logs] == [("warning", str(path))]


def test_damage_is_mended_by_the_next_limit(path: Path) -> None:
    path.parent.mkdir()
    garbage(path)
    with capture_logs():
        LimitFile(path, lambda: NOW).keep("k", USER)
    assert LimitFile(path, lambda: NOW).recall() == {"k": (USER,)}


def test_what_cannot_be_written_is_warned_about_and_changes_nothing(path: Path) -> None:
    path.parent.write_bytes(b"")  # no folder
    with capture_logs() as logs:
        LimitFile(path, lambda: NOW).keep("k", USER)
    assert {log["log_level"] for log in logs} == {"warning"}
    assert path.parent.read_bytes() == b""
