"""Every benchmark still runs and keeps the shape that scripts read. What it measures is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.request_path import CLIENTS

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]  # dozens of processes on a busy machine

BACKOFF = "repeat with growing pauses; 200/s, not told"
ROOT = Path(__file__).resolve().parents[2]
ROW = {"client", "req_s", "cpu_us", "rss_mb", "ratios", "spread", "latency_ms", "more"}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def measure(name: str, target: Path) -> tuple[dict[str, Any], str]:
    """The JSON and the table of a quick run."""
    done = run(name, "--quick", "--json", str(target))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(target.read_text("utf-8"))
    return result, done.stdout


@pytest.mark.parametrize(
    ("name", "client", "rival"),
    [
        ("journal", "commits, 400 at once", "JSON lines, fsync a row"),
        ("selector", "lease", "lease, by hand"),
        ("signing", "fleet, new path", "vendor SDK"),
    ],
)
def test_a_quick_run_gives_the_table_and_the_json_that_scripts_read(
    name: str, client: str, rival: str, tmp_path: Path
) -> None:
    result, table = measure(name, tmp_path / "result.json")
    rows = checked(name, result, table)
    assert rows[client]["ratios"][rival] > 0


def checked(name: str, result: dict[str, Any], table: str) -> dict[str, dict[str, Any]]:
    """The rows by client, in the shape that scripts read."""
    assert set(result) == {"name", "conditions", "rows", "checks"}
    assert result["name"] == name
    assert {"python", "build", "cpu", "versions", "seed", "rounds"} <= set(result["conditions"])
    rows = {row["client"]: row for row in result["rows"]}
    for row in rows.values():
        assert set(row) == ROW
        assert min(row["req_s"], row["cpu_us"]) > 0
        low, high = row["spread"]["cpu_us"]
        assert low <= row["cpu_us"] <= high
        assert row["client"] in table
    for check in result["checks"]:
        assert set(check) == {"what", "value", "goal", "ok"}
        assert check["what"] in table
    assert result["checks"]
    return rows


def test_every_client_sends_the_same_updates_and_those_not_installed_are_named(tmp_path: Path) -> None:
    result, table = measure("request_path", tmp_path / "result.json")
    rows = checked("request_path", result, table)
    kinds = {client.partition(";")[0] for client in rows}
    assert {"fleet engine", "fleet client", "aiohttp gather", "SDK async"} <= kinds
    assert not kinds & set(result["conditions"]["left_out"])
    assert len(kinds) + len(result["conditions"]["left_out"]) == len(CLIENTS)
    for scene in ("plain, 0 ms, 8 at once", "TLS, 2 ms, 8 at once"):
        engine = rows[f"fleet engine; {scene}"]
        assert engine["ratios"]["aiohttp gather"] > 0
        assert engine["more"]["requests a change"] >= 2
        per_change = engine["cpu_us"] * engine["more"]["requests a change"]
        assert engine["more"]["CPU us a change"] == pytest.approx(per_change, rel=0.01)


def test_pacing_is_judged_at_the_server(tmp_path: Path) -> None:
    result, table = measure("pacing", tmp_path / "result.json")
    rows = checked("pacing", result, table)
    own, floor = rows["fleet; 50/s"]["more"], rows["no_limiter; 50/s"]["more"]
    assert own["server stalled ms"] > 0
    late = 50 * own["server stalled ms"] / 1000  # may have come earlier than the server saw
    assert own["fullest window"] <= 51 + late
    assert floor["fullest window"] > 100
    assert rows["fleet; 200/s, not told"]["more"]["429s"] < rows[BACKOFF]["more"]["429s"]


def test_makespan_beats_lock_step_in_virtual_time(tmp_path: Path) -> None:
    result, table = measure("makespan", tmp_path / "result.json")
    rows = checked("makespan", result, table)
    assert [name.endswith("times known") for name in rows] == [False, True]
    for row in rows.values():
        assert row["more"]["over the lower bound"] >= 1
        assert row["more"]["over greedy slots"] >= 1
        assert row["more"]["away over own time"] >= 1
        assert row["more"]["lock-step over it"] > 1
        assert row["more"]["writes a change"] >= 3


def test_every_stage_of_every_size_comes_to_its_end(tmp_path: Path) -> None:
    result, table = measure("fleet_scale", tmp_path / "result.json")
    rows = checked("fleet_scale", result, table)
    assert len(rows) == 9
    assert 5_000 <= rows["resume, 10,000 notebooks"]["more"]["known changes"] < 10_000


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    result, table = measure("processes", tmp_path / "result.json")
    rows = checked("processes", result, table)
    assert len(rows) == 4
    assert any(row["ratios"] for row in rows.values())


def test_selectors_answer_as_the_same_questions_by_hand(tmp_path: Path) -> None:
    result, _ = measure("selector", tmp_path / "result.json")
    differing = next(check for check in result["checks"] if check["what"].startswith("answers that differ"))
    assert differing["ok"]


def test_an_unknown_program_is_refused_with_the_names_that_there_are() -> None:
    done = run("selectr")
    assert done.returncode == 2
    assert "'selectr'" in done.stderr
    for name in ("fleet_scale", "journal", "makespan", "pacing", "processes", "request_path", "signing"):
        assert name in done.stderr


def test_a_missing_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = run("signing", "--json", str(tmp_path / "missing" / "result.json"))
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr
    assert done.stdout == ""
