"""fleet demo: the whole road, on a small fleet."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.cli import demo
from fleet.core.pacing.limits import Rate
from fleet.simulator.rules import Rules
from fleet.simulator.throttle import Limit

Shell = Any


def test_the_demo_walks_the_road_and_proves_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NOTEBOOKS", 4)
    monkeypatch.setattr(demo, "TIME_SCALE", 5000.0)
    result = shell("demo", "--folder", "new/folder")
    assert result.code == 0
    commands = [line.split()[2] for line in result.out.splitlines() if line.startswith("$ fleet ")]
    assert commands == ["plan", "show", "apply", "report"]
    proofs = [line for line in result.out.splitlines() if line.startswith(("  ok  ", "  NOT "))]
    assert len(proofs) == 10
    assert all(line.startswith("  ok  ") for line in proofs)
    assert {"new/folder/fleet.toml", "new/folder/job.yaml", "new/folder/plan.json"} < shell.files
    made = [*(shell.folder / "new/folder").rglob("*"), shell.folder / "new/folder"]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}


def test_the_demo_replaces_nobody_s_files(shell: Shell) -> None:
    shell.write("fleet.toml", "mine")
    assert "is not empty; name a new folder" in shell.refused("demo", "--folder", shell.folder)
    assert "--folder: fleet.toml: file exists" in shell.refused("demo", "--folder", "fleet.toml")
    assert "not a directory" in shell.refused("demo", "--folder", "fleet.toml/x")
    assert (shell.folder / "fleet.toml").read_text() == "mine"


def test_the_demo_s_gateway_allows_its_rate_and_no_more() -> None:
    limits = demo.gateway_of(Rate(150, 10.0)).throttle
    assert {(one.calls, one.policy, one.limit, one.seconds) for one in limits} == {
        ("reads", "user", 150, 10),
        ("writes", "user", 150, 10),
    }


def test_a_demo_that_is_refused_at_the_gateway_says_so(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NOTEBOOKS", 4)
    monkeypatch.setattr(demo, "TIME_SCALE", 5000.0)
    monkeypatch.setattr(demo, "gateway_of", lambda _: Rules(throttle=(Limit(limit=12, seconds=1),)))
    result = shell("demo", "--folder", "new")
    assert result.code == 3
    assert "  NOT not one request was refused as too many (429)" in result.out
