"""fleet demo: the whole road, on a small fleet."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.cli import demo

Shell = Any


def test_the_demo_walks_the_road_and_proves_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NOTEBOOKS", 4)
    monkeypatch.setattr(demo, "TIME_SCALE", 5000.0)
    result = shell("demo", "--folder", "new/folder")
    assert result.code == 0
    commands = [line.split()[2] for line in result.out.splitlines() if line.startswith("$ fleet ")]
    assert commands == ["plan", "show", "apply", "report"]
    proofs = [line for line in result.out.splitlines() if line.startswith(("  ok  ", "  NOT "))]
    assert len(proofs) == 4
    assert all(line.startswith("  ok  ") for line in proofs)
    assert {"new/folder/fleet.toml", "new/folder/job.yaml", "new/folder/plan.json"} < shell.files
    assert (shell.folder / "new/folder/fleet.toml").stat().st_mode & 0o777 == 0o600


def test_the_demo_replaces_nobody_s_files(shell: Shell) -> None:
    shell.write("fleet.toml", "mine")
    assert "is not empty; name a new folder" in shell.refused("demo", "--folder", shell.folder)
    assert "--folder: fleet.toml: file exists" in shell.refused("demo", "--folder", "fleet.toml")
    assert "not a directory" in shell.refused("demo", "--folder", "fleet.toml/x")
    assert (shell.folder / "fleet.toml").read_text() == "mine"
