"""A process is killed and its journal destroyed: what it left stopped is found and started."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.steering.lab import PATIENCE, Lab, until

MakeLab = Callable[..., Lab]

pytestmark = [pytest.mark.timeout(4 * PATIENCE), pytest.mark.processes]


def test_what_a_killed_run_left_stopped_is_started_without_its_journal(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=30.0)
    lab.job(6, concurrency=3)
    killed = lab.run()
    until(lambda: bool(lab.writes("StartNotebook")) and lab.writes()[-1]["operation"] == "StopNotebook")
    killed.popen.kill()
    killed.popen.wait()
    folder, writes = killed.folder, len(lab.writes())
    for file in folder.glob("journal.db*"):
        file.write_bytes(b"rubbish " * 5000)

    refused = lab("report", folder.name, "--run-dir", killed.base)
    assert refused.code == 1
    recover = shlex.split(refused.err.partition("see what the run left with: fleet ")[2])
    found = lab(*recover)
    assert (found.code, len(lab.writes())) == (7, writes)
    starts = re.findall(r"^  .*: fleet (start .*)$", found.out, re.MULTILINE)
    assert starts
    for start in starts:
        done = lab(*shlex.split(start))
        assert done.code == 0, done.err
    until(lambda: lab(*recover).code == 0)
    assert len(lab.writes()) == writes + len(starts)
    home = [row["run_state"] for row in lab(*recover, "-o", "json").json["rows"]]
    assert home == [{"before": "RUNNING", "after": "RUNNING"}] * 6
