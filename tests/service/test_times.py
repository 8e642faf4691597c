"""The file of learned times: whole or not there, and never a reason to fail."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleet.core.planning.times import BELIEVED, Timed
from fleet.service.times import TimeFile

NOW = 1_764_000_000.0
STOP = Timed("https://here", "cpu", "stop", 20.0, NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "times.json"


def file(path: Path, later: float = 0.0) -> TimeFile:
    return TimeFile(path, lambda: NOW + later)


def warnings(logs: Sequence[Any]) -> list[str]:
    return [log["problem"] for log in logs if log["log_level"] == "warning"]


def test_what_runs_timed_is_added_up_and_forgotten_after_a_month(path: Path) -> None:
    assert file(path).recall() == ()
    file(path).keep([STOP])
    file(path).keep([STOP])
    assert file(path, later=60.0).recall() == (STOP, STOP)
    assert file(path, later=BELIEVED + 1.0).recall() == ()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_run_without_a_restart_leaves_no_file(path: Path) -> None:
    file(path).keep([])
    assert not path.exists()


def test_a_damaged_file_counts_as_empty_and_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"{}")
    with capture_logs() as logs:
        assert file(path).recall() == ()
    assert warnings(logs) == ["is damaged or of another version, and counts as empty"]
    file(path).keep([STOP])
    assert file(path).recall() == (STOP,)


def test_a_file_that_cannot_be_used_stops_nobody(path: Path) -> None:
    path.mkdir(parents=True)
    with capture_logs() as logs:
        assert file(path).recall() == ()
        file(path).keep([STOP])
    assert [text.partition(":")[0] for text in warnings(logs)] == [
        "cannot be read",
        "cannot be read",
        "cannot be written",
    ]
