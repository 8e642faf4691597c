"""A process that stands still is not dead: what it holds stays its own, and it goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from fleet.journal.lock import is_locked
from tests.steering.lab import PATIENCE, Lab, until

pytestmark = [pytest.mark.timeout(4 * PATIENCE), pytest.mark.processes]


@pytest.mark.row(22, 68)
def test_a_frozen_run_keeps_what_it_holds_and_goes_on_when_it_wakes(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.job(4, concurrency=2)
    run = lab.run()
    until(lambda: len(lab.away()) >= 2)
    run.popen.send_signal(signal.SIGSTOP)
    other = lab.run().end()
    assert "changed" not in other.counts
    kept = [row["reason"] for row in other.json["rows"] if row["outcome"] != "unchanged"]
    assert len(kept) >= 2
    assert set(kept) == {f"claimed by run {run.folder.name}"}
    assert is_locked(run.folder)
    run.popen.send_signal(signal.SIGCONT)
    result = run.end()
    assert (result.code, result.counts) == (0, {"changed": 4})
    assert len(lab.writes("StopNotebook")) == 4
    assert lab.away() == set()
