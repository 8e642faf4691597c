"""A lab on a loopback socket, and the command line as a person or a script would use it."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fleet.cli.app import run
from fleet.simulator.app import serve
from fleet.simulator.audit import is_write
from fleet.simulator.cloud import Cloud
from fleet.simulator.faults import load_faults
from fleet.simulator.seed import make_cloud
from fleet.simulator.world import Notebook

SCOPES = ("lab-a", "lab-b")
RUN_LINE = re.compile(r"run \d{8}-\d{6}-[0-9a-z]{4}")
JOB = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8") && status == "STOPPED"
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, change_deadline: 20s}
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def run(self) -> str:
        """The id of the run that was begun; there is exactly one line for it."""
        (found,) = [line for line in self.said if RUN_LINE.fullmatch(line)]
        return found.removeprefix("run ")

    @property
    def said(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


@dataclass
class Shell:
    """Runs commands in this process, from a folder and a home of its own."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *words: object, stdin: str = "") -> Result:
        self.capture.readouterr()
        self.patch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run([str(word) for word in words])
        captured = self.capture.readouterr()
        assert "Traceback" not in captured.err
        return Result(int(code), captured.out, captured.err)

    def refused(self, *words: object, code: int = 64, lines: int = 1, stdin: str = "") -> str:
        """The complaint of a command that must fail with `code`, in `lines` lines and nothing on stdout."""
        result = self(*words, stdin=stdin)
        assert (result.code, result.out) == (code, ""), result
        assert result.err.startswith("fleet: ")
        assert len(result.said) == lines, result.err
        return result.err

    def write(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    @property
    def files(self) -> set[str]:
        """Every file below the folder, but not the home folder's."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and "home" not in path.relative_to(self.folder).parts
        }


@dataclass
class Lab:
    """A cloud that listens, with a configuration and a job file that fit it."""

    cloud: Cloud
    url: str
    shell: Shell
    runs: Path = field(init=False)

    def __post_init__(self) -> None:
        self.runs = self.shell.folder / "runs"
        self.shell.write("fleet.toml", self.config())
        self.shell.write("job.yaml", JOB)

    def config(
        self, scopes: Sequence[str] = SCOPES, *, url: str = "", secret: str = "", more: str = ""
    ) -> str:
        """A fleet.toml; `more` goes into every scope."""
        identity, where = self.cloud.identity, url or self.url
        tables = [
            f'[[scope]]\nname = "{name}"\nregion = "{identity.region}"\nproject_id = "{project.id}"\n'
            f'endpoint = "{where}"\niam_endpoint = "{where}"\ncredentials = "lab"\n'
            f'rate = "5000/s"\npoll = "1s"\n{more}\n'
            for name, project in zip(scopes, identity.projects, strict=False)
        ]
        keys = f'access_key = "{identity.access_key}"\nsecret_key = "{secret or identity.secret_key}"\n'
        return "\n".join([*tables, f'[credentials.lab]\nkind = "aksk"\n{keys}'])

    def job(self, old: str = "", new: str = "", name: str = "job.yaml") -> Path:
        """The job file, with `old` replaced by `new`."""
        assert old in JOB
        return self.shell.write(name, JOB.replace(old, new, 1))

    def pick(self, count: int, status: str = "STOPPED") -> Path:
        """A job file for the first `count` old notebooks with that status."""
        found = [row.id for row in self.old(status)][:count]
        assert len(found) == count
        return self.job(JOB.splitlines()[2], f"select: id in {json.dumps(found)}")

    def old(self, status: str = "STOPPED") -> list[Notebook]:
        """The notebooks on the old image, by id."""
        rows = self.cloud.world.notebooks.values()
        found = [row for row in rows if row.image.name.startswith("pytorch1.8") and row.status == status]
        return sorted(found, key=lambda row: row.id)

    def plan(self, job: Path | None = None) -> Path:
        """A plan file for the job."""
        path = self.shell.folder / "plan.json"
        assert self.shell("plan", job or "job.yaml", "-o", path).code == 0
        return path

    def apply(self, plan: Path | None = None, *options: object) -> Result:
        """Performs a plan without asking."""
        return self.shell("apply", plan or self.plan(), "--yes", "--run-dir", self.runs, *options)

    @property
    def writes(self) -> list[str]:
        """The operations that were to change something, whatever became of them."""
        return [record.operation for record in self.cloud.log if is_write(record)]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith(("HW_", "HUAWEICLOUD_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    yield Shell(tmp_path, capsys, monkeypatch)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def make_lab(shell: Shell, portal: BlockingPortal) -> Iterator[Callable[..., Lab]]:
    """Makes labs: `make_lab(faults, notebooks)` with the faults as YAML."""
    servers = []

    def make(faults: str = "[]", notebooks: int = 40) -> Lab:
        cloud = make_cloud(
            notebooks=notebooks,
            seed=7,
            now=time.time(),
            projects=len(SCOPES),
            time_scale=2000.0,
            faults=load_faults(faults),
        )
        server = portal.wrap_async_context_manager(serve(cloud, clock=time.time))
        servers.append(server)
        return Lab(cloud, server.__enter__(), shell)

    yield make
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()
