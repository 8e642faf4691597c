"""Real `fleet` processes around a real simulated cloud, fast enough to start hundreds of them.

A process here is forked from one that has everything imported already; what it then runs is the very command
line of `python -m fleet`. Whoever forks must be single-threaded: `in_lanes` takes care of that.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from fleet.__main__ import main
from fleet.simulator.records import Record
from tests.storms.request_log import read_log, writes

T = TypeVar("T")

PATIENCE = 120.0  # s for a command; the machine may be busy
NOTEBOOKS = 20
TIME_SCALE = 150.0
RATE = "200/s"

# What commands import when they need it.
LAZY = (
    "fleet.cli.app",
    "fleet.simulator.app",
    "jobs.image_migration",
    "cel_expr_python",
    "anyio._backends._asyncio",
)

JOB = """\
job: image-migration
name: killed
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, concurrency: 5}
guards: {max_share: 100%, confirm_over: 500}
"""
COLUMNS = (
    "id,name,status,description,flavor,tags,image.id,lease.enabled,lease.type,lease.left,"
    "volume.capacity,endpoints,ssh.keys,ssh.whitelist"
)


@dataclass(frozen=True)
class Result:
    """What a command left behind; a `code` below zero is the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """A process under way. Its output goes to files, so that nobody has to read it."""

    pid: int
    out: Path
    err: Path

    def lives(self, seconds: float) -> bool:
        """Waits; whether the process is still there afterwards."""
        descriptor = os.pidfd_open(self.pid)
        try:
            return not select.select([descriptor], [], [], seconds)[0]
        finally:
            os.close(descriptor)

    def lives_until(self, happened: Callable[[], bool]) -> bool:
        """Waits for something that the process does; False when it ends before."""
        while not happened():
            if not self.lives(0.002):
                return False
        return True

    def kill(self) -> Result:
        """Ends the process here and now."""
        os.kill(self.pid, signal.SIGKILL)
        return self.end()

    def end(self) -> Result:
        """Waits for the end."""
        if self.lives(PATIENCE):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return Result(os.waitstatus_to_exitcode(status), self.out.read_text(), self.err.read_text())


@dataclass
class Lab:
    """A cloud in a process of its own, and a folder with a configuration, a job and the runs."""

    folder: Path
    cloud: Command
    commands: int = 1

    def begin(self, *words: object) -> Command:
        """Starts a `fleet` command."""
        self.commands += 1
        return _fork(self.folder, self.commands, [str(word) for word in words])

    def __call__(self, *words: object) -> Result:
        """One command to its end."""
        return self.begin(*words).end()

    def apply(self) -> Command:
        return self.begin("apply", "plan.json", "--yes", "-o", "json", "--run-dir", "runs")

    def resume(self, run: Path) -> Command:
        return self.begin("resume", run.name, "-o", "json", "--run-dir", "runs")

    @property
    def run(self) -> Path | None:
        """The folder of the newest run that has a journal."""
        journals = (self.folder / "runs").glob("*/journal.db")
        newest = max(journals, key=lambda path: path.stat().st_mtime_ns, default=None)
        return newest.parent if newest is not None else None

    @property
    def log(self) -> list[Record]:
        """Every request that the cloud has taken in so far."""
        return read_log(self.folder / "requests.jsonl")

    @property
    def writes(self) -> list[Record]:
        """Those that were to change something, whatever became of them."""
        return writes(self.log)

    def fleet(self) -> dict[str, dict[str, Any]]:
        """Every notebook as it is now, by id."""
        listed = self("ls", "-o", "json", "--columns", COLUMNS)
        assert listed.code == 0, listed.err
        return {row["id"]: row for row in listed.json}


@contextmanager
def make_lab(folder: Path, seed: int) -> Iterator[Lab]:
    """A fresh fleet, planned for."""
    folder.mkdir(mode=0o700)
    (folder / "runtime").mkdir(mode=0o700)
    size = f"--notebooks {NOTEBOOKS} --seed {seed} --time-scale {TIME_SCALE}"
    cloud = _fork(folder, 1, f"simulate {size} --request-log requests.jsonl".split())
    try:
        _configure(folder, _introduction(cloud))
        lab = Lab(folder, cloud)
        planned = lab("plan", "job.yaml", "-o", "plan.json")
        assert planned.code == 0, planned.err
        yield lab
    finally:
        cloud.kill()


def _introduction(cloud: Command) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while not (line := cloud.out.read_text()).endswith("\n"):
        if time.monotonic() > deadline or not cloud.lives(0.01):
            raise TimeoutError(f"the cloud did not come up: {cloud.err.read_text()}")
    told: dict[str, Any] = json.loads(line)
    return told


def _configure(folder: Path, told: dict[str, Any]) -> None:
    where = f'endpoint = "{told["base_url"]}"\niam_endpoint = "{told["base_url"]}"\n'
    scopes = [
        f'[[scope]]\nname = "lab-{number}"\nregion = "{told["region"]}"\nproject_id = "{project}"\n{where}'
        f'credentials = "lab"\nrate = "{RATE}"\npoll = "1s"\n'
        for number, project in enumerate(told["projects"])
    ]
    keys = f'access_key = "{told["access_key"]}"\nsecret_key = "{told["secret_key"]}"\n'
    (folder / "fleet.toml").touch(mode=0o600)
    (folder / "fleet.toml").write_text("\n".join([*scopes, f'[credentials.lab]\nkind = "aksk"\n{keys}']))
    (folder / "job.yaml").write_text(JOB)


def _fork(folder: Path, number: int, words: list[str]) -> Command:
    out, err = folder / f"out-{number}", folder / f"err-{number}"
    out.touch()
    pid = os.fork()
    if pid == 0:
        _become_fleet(folder, out, err, words)
    return Command(pid, out, err)


def _become_fleet(folder: Path, out: Path, err: Path, words: list[str]) -> NoReturn:
    """Runs the command line as `python -m fleet` does, and never returns."""
    code = 70
    try:
        os.chdir(folder)
        for descriptor, path, flags in (
            (0, Path(os.devnull), os.O_RDONLY),
            (1, out, os.O_WRONLY | os.O_TRUNC),
            (2, err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(path, flags, 0o600), descriptor)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "PYTHONPATH")}
        os.environ.clear()
        os.environ.update({**kept, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "runtime")})
        sys.argv = ["fleet", *words]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def in_lanes(stories: Sequence[Callable[[], T]], lanes: int) -> Iterator[T]:
    """What comes of each story, as they end; `lanes` of them at once, each in a process."""
    server = multiprocessing.get_context("forkserver")  # it imports once, and has no threads
    server.set_forkserver_preload(list(LAZY))
    with ProcessPoolExecutor(min(lanes, len(stories)), mp_context=server, initializer=_warm_up) as pool:
        try:
            for future in as_completed([pool.submit(story) for story in stories]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _warm_up() -> None:
    for module in LAZY:
        importlib.import_module(module)
