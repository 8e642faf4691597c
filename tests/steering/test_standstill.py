"""A process that stands still is not dead: what it holds stays its own, and it goes on where it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from fleet.journal.lock import is_locked

PATIENCE = 30.0

pytestmark = [pytest.mark.timeout(120), pytest.mark.processes]


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.row(22, 68)
def test_a_frozen_run_keeps_what_it_holds_and_goes_on_when_it_wakes(make_lab: Any) -> None:
    lab = make_lab()
    lab.job(4, concurrency=2)
    run = lab.run()
    until(lambda: len(lab.away()) >= 2)
    run.popen.send_signal(signal.SIGSTOP)
    other = lab.run().end()
    assert "changed" not in other.counts
    assert {row["reason"] for row in other.json["rows"]} == {f"claimed by run {run.folder.name}"}
    assert is_locked(run.folder)
    run.popen.send_signal(signal.SIGCONT)
    result = run.end()
    assert (result.code, result.counts) == (0, {"changed": 4})
    assert len(lab.writes("StopNotebook")) == 4
    assert lab.away() == set()
