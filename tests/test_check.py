"""The check command: every step has an end, says what went wrong, and leaves nothing running."""

from __future__ import annotations

import os
import select
import shlex
import tomllib
from pathlib import Path

from tests.check import ROOT, Step, run, steps

ENDLESS = """
import subprocess, sys
child = subprocess.Popen(["sh", "-c", "trap '' INT; echo > $0; exec sleep 600 > $0", sys.argv[1]])
child.wait()
"""


def test_a_step_that_succeeds_is_silent() -> None:
    assert run(Step("calm", "python -c pass", limit=60.0)) == ""


def test_a_step_that_fails_is_told_with_its_exit_code() -> None:
    assert run(Step("bad", "python -c 'raise SystemExit(3)'", limit=60.0)) == "ended with exit code 3"


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """The child does not hear the interrupt, and holds a pipe open as long as it lives."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    command = shlex.join(["python", "-c", ENDLESS, str(pipe)])
    assert run(Step("endless", command, limit=5.0)) == "was not over after 5 s"
    assert os.read(reader, 1) == b"\n"
    assert select.select([reader], [], [], 30.0)[0], "somebody still holds the pipe"
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_what_the_default_suite_leaves_out_has_a_step() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    words = shlex.split(options["addopts"])
    left_out = words[words.index("-m") + 1].removeprefix("not ").split(" and not ")
    commands = [step.command for step in steps(fresh=1)]
    for mark in left_out:
        assert any(f"-m {mark}" in command or f"-m '{mark} " in command for command in commands), mark
