"""A terminal beside a simulated cloud: runs in real processes, and what the cloud wrote down about them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.core.events import Intended, Steered
from fleet.journal.reader import read_journal
from fleet.service.asking import Answer, Ask, Verb, ask

WRITES = frozenset({"StopNotebook", "UpdateNotebook", "StartNotebook", "RenewLease"})
PATIENCE = 120.0  # s; the machine may be busy

JOB = """\
job: image-migration
name: torch
select: id in IDS
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, concurrency: CONCURRENCY}
"""


def until(happened: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@dataclass(frozen=True)
class Result:
    """What a process left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def counts(self) -> dict[str, int]:
        """The outcomes of a report in JSON."""
        return {word: number for word, number in self.json["counts"].items() if number}


@dataclass
class Process:
    """`fleet run` under way. Its output goes to files, so that nobody has to read it."""

    popen: subprocess.Popen[bytes]
    base: Path
    out: Path
    err: Path

    @property
    def folder(self) -> Path:
        """The run's folder, as soon as it has one."""
        until(lambda: bool(list(self.base.glob("*/journal.db"))))
        (found,) = self.base.glob("*/journal.db")
        return found.parent

    def touched_before(self, what: str) -> set[str]:
        """The notebooks whose first write was announced before the run was steered so, by its journal."""
        contents = read_journal(self.folder / "journal.db")
        place = next(
            number
            for number, event in enumerate(contents.events)
            if isinstance(event, Steered) and event.what == what
        )
        items = {event.item for event in contents.events[:place] if isinstance(event, Intended)}
        return {change.id for change in contents.plan.changes if change.item in items}

    def ask(self, verb: Verb, **words: Any) -> Answer:
        return ask(self.folder, Ask(do=verb, **words))

    def end(self) -> Result:
        """Waits for the end."""
        code = self.popen.wait(PATIENCE)
        return Result(code, self.out.read_text(), self.err.read_text())


@dataclass
class Lab:
    """A cloud in a process of its own, and a terminal beside it."""

    folder: Path
    environ: dict[str, str]
    stack: ExitStack
    runs: int = 0
    begun: int = 0

    def job(self, count: int, concurrency: int) -> None:
        """A job for `count` running notebooks."""
        chosen = 'image.name.startsWith("pytorch1.8") && status == "RUNNING"'
        ids = self("ls", "-s", chosen, "-o", "id").out.split()[:count]
        assert len(ids) == count
        text = JOB.replace("CONCURRENCY", str(concurrency)).replace("IDS", json.dumps(ids))
        (self.folder / "job.yaml").write_text(text)

    def run(self, *options: object, **streams: Any) -> Process:
        """Begins a run with a run folder of its own."""
        self.runs += 1
        base = self.folder / f"runs-{self.runs}"
        return self.begin(base, "run", "job.yaml", "--yes", "-o", "json", *options, **streams)

    def begin(self, base: Path, *words: object, **streams: Any) -> Process:
        self.begun += 1
        out, err = (self.folder / f"{kind}-{self.begun}" for kind in ("out", "err"))
        line = [sys.executable, "-m", "fleet", *map(str, words), "--run-dir", str(base)]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                line,
                cwd=self.folder,
                env=self.environ,
                **{"stdout": stdout, "stderr": stderr, "start_new_session": True, **streams},
            )
        self.stack.callback(_finish, popen)
        return Process(popen, base, out, err)

    def __call__(self, *words: object) -> Result:
        """One command to its end."""
        line = [sys.executable, "-m", "fleet", *map(str, words)]
        done = subprocess.run(
            line, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every request that the cloud has taken in so far."""
        text = (self.folder / "requests.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def writes(self, operation: str = "") -> list[dict[str, Any]]:
        return [row for row in self.log if row["operation"] in ({operation} if operation else WRITES)]

    def touched(self) -> set[str]:
        """The notebooks that the cloud got a write to."""
        return {row["notebook"] for row in self.writes()}

    def away(self) -> set[str]:
        """The notebooks that were stopped and not started again."""
        last = {
            row["notebook"]: row["operation"] for row in self.writes() if row["operation"] != "UpdateNotebook"
        }
        return {notebook for notebook, operation in last.items() if operation == "StopNotebook"}


def _finish(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
