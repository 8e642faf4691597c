"""A process that is killed while notebooks are stopped: every later command knows whose they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.steering.lab import PATIENCE, Lab, until

MakeLab = Callable[..., Lab]

pytestmark = [pytest.mark.timeout(4 * PATIENCE), pytest.mark.processes]


def test_nobody_takes_the_stops_of_a_killed_run_for_the_users_wish(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=10.0)
    lab.job(3, concurrency=3)
    killed = lab.run()
    until(lambda: len(lab.away()) == 3)
    killed.popen.kill()
    killed.popen.wait()
    away, writes, name = lab.away(), len(lab.writes()), killed.folder.name

    again = lab.run().end()
    resume = f"resume {name} --run-dir {killed.base}"
    assert (again.code, again.counts) == (4, {"not-started": 3})
    assert {row["reason"] for row in again.json["rows"]} == {
        f"stopped by run {name}, which owes it: fleet {resume} --config {lab.folder / 'fleet.toml'}"
    }
    back = lab("undo", name, "--run-dir", killed.base, "--all")
    assert "3 notebooks were left stopped, as the run broke off, and will not be planned" in back.err
    assert f"fleet resume {name} --config {lab.folder / 'fleet.toml'} --run-dir {killed.base}\n" in back.err
    assert "stranded" not in back.err
    assert all(notebook in back.out + back.err for notebook in away)
    assert len(lab.writes()) == writes

    resumed = lab(*resume.split(), "-o", "json")
    assert (resumed.code, resumed.counts, lab.away()) == (0, {"changed": 3}, set())
    assert lab.run().end().code == 0
