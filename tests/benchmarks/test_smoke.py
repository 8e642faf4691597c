"""Every benchmark still runs and keeps the shape that scripts read. What it measures is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
ROW = {"client", "req_s", "cpu_us", "rss_mb", "ratios", "spread", "latency_ms"}


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
    assert set(result) == {"name", "conditions", "rows", "checks"}
    assert result["name"] == name
    assert {"python", "build", "cpu", "versions", "seed", "rounds"} <= set(result["conditions"])
    rows = {row["client"]: row for row in result["rows"]}
    assert rows[client]["ratios"][rival] > 0
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


def test_selectors_answer_as_the_same_questions_by_hand(tmp_path: Path) -> None:
    result, _ = measure("selector", tmp_path / "result.json")
    differing = next(check for check in result["checks"] if check["what"].startswith("answers that differ"))
    assert differing["ok"]


def test_an_unknown_program_is_refused_with_the_names_that_there_are() -> None:
    done = run("selectr")
    assert done.returncode == 2
    assert "'selectr'" in done.stderr
    assert "journal, selector, signing" in done.stderr.replace("'", "")


def test_a_missing_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = run("signing", "--json", str(tmp_path / "missing" / "result.json"))
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr
    assert done.stdout == ""
