"""The one check command: form, types, layers, the default suite, the long proofs. Stops at the first failure.

    python tests/check.py [--skip STEP ...]

Every step runs in the environment of this program, is told with the command that repeats it, and has an end:
its limit is several times what it takes on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOMENT = 20.0  # s for a step to clean up


@dataclass(frozen=True)
class Step:
    """A tool with its arguments, and the seconds after which it is given up."""

    name: str
    command: str
    limit: float

    @property
    def line(self) -> list[str]:
        """The command line, with the tool of the environment that this program runs in."""
        tool, *words = shlex.split(self.command)
        return [str(Path(sys.executable).with_name(tool)), *words]


def steps(fresh: int) -> tuple[Step, ...]:
    """Every step; `fresh` is the first seed of what nobody has tried before."""
    return (
        Step("format", "ruff format --check .", 60),
        Step("lint", "ruff check .", 60),
        Step("types", "mypy", 300),
        Step("layers", "lint-imports", 120),
        Step("tests", "pytest", 600),
        Step("long", "pytest -m 'long and not processes'", 300),
        Step("processes", "pytest -m processes", 600),
        Step("kills", f"python -m tests.storms.kills --cycles 50 --seed {fresh}", 600),
        Step("storms", "python -m tests.storms.storm --first 0 --seeds 400", 300),
        Step("fresh storms", f"python -m tests.storms.storm --first {fresh} --seeds 2000 --seconds 40", 150),
    )


def run(step: Step) -> str:
    """What went wrong, or nothing. The output goes where ours goes.

    The step and everything that it started are one group, so that nothing of it outlives us.
    """
    process = subprocess.Popen(step.line, cwd=ROOT, process_group=0)
    try:
        code = process.wait(step.limit)
    except subprocess.TimeoutExpired:
        return f"was not over after {step.limit:.0f} s"
    finally:
        _end(process)
    return f"ended with exit code {code}" if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """A step that is not over may clean up; then its whole group is gone."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(MOMENT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    """Runs the steps that were not skipped."""
    every = steps(fresh=int(time.time()))
    options = argparse.ArgumentParser(description="Checks everything that must hold.")
    options.add_argument(
        "--skip", action="append", default=[], choices=[step.name for step in every], help="leave a step out"
    )
    skipped = options.parse_args().skip
    for step in every:
        if step.name in skipped:
            continue
        began = time.monotonic()
        print(f"== {step.name}: {step.command}", flush=True)
        if trouble := run(step):
            print(f"== {step.name} {trouble}; again: {step.command}", file=sys.stderr, flush=True)
            return 1
        print(f"== {step.name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
