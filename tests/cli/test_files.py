"""Files that commands write: whole or not at all, and for the user's eyes alone whatever the umask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.cli.files import append_to, require_plan_target, require_target, write_file
from fleet.core.errors import UsageError
from fleet.core.planning.plan_file import dump_plan
from tests.plans import make_change, make_plan


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """A umask that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.security("modes")
def test_a_file_is_replaced_as_a_whole_and_is_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old, longer than the new one")
    write_file(path, b"new", "plan")
    assert (path.read_bytes(), mode(path), [*tmp_path.iterdir()]) == (b"new", 0o600, [path])


def test_a_file_that_cannot_be_written_is_told_with_its_name_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}: cannot write the plan: not a regular file$"):
        write_file(tmp_path, b"new", "plan")
    with pytest.raises(UsageError, match=r"cannot write the plan: no such file or directory$"):
        write_file(tmp_path / "nowhere" / "plan.json", b"new", "plan")
    for appended in (True, False):
        for path in (tmp_path / ("a" * 300), tmp_path / ("a" * 300) / "log"):
            with pytest.raises(UsageError, match=r"cannot write the log: file name too long$"):
                require_target(path, "log", appended=appended)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.security("modes")
def test_a_log_grows_and_is_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for line in ("one\n", "two\n"):
        with append_to(path, "log") as log:
            log.write(line)
    assert (path.read_text(), mode(path)) == ("one\ntwo\n", 0o600)
    with pytest.raises(UsageError, match=r"cannot write the log: is a directory$"):
        append_to(tmp_path, "log")


@pytest.mark.security("modes")
def test_the_request_log_of_the_simulator_is_the_users_alone(tmp_path: Path) -> None:
    words = ["simulate", "--notebooks", "1", "--request-log", "requests.jsonl"]
    with subprocess.Popen(
        [sys.executable, "-m", "fleet", *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["base_url"].startswith("http://127.0.0.1:")
        assert mode(tmp_path / "requests.jsonl") == 0o600
        process.terminate()


def test_a_plan_replaces_nothing_but_a_plan(tmp_path: Path) -> None:
    plan, job, nothing = tmp_path / "plan.json", tmp_path / "job.yaml", tmp_path / "nothing"
    for _ in range(2):
        require_plan_target(plan)
        plan.write_bytes(dump_plan(make_plan(make_change(0))))
    nothing.touch()
    require_plan_target(nothing)
    job.write_text("name: a\n")
    with pytest.raises(UsageError, match="is there already and is no plan; choose another name"):
        require_plan_target(job)
    assert job.read_text() == "name: a\n"
