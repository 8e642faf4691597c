"""The runs on disk: one private folder each, with the plan, the journal and the log.

The folder that holds them all is decided elsewhere and given as `base`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from fleet.core.errors import UsageError
from fleet.core.fold import between_stages, count
from fleet.core.planning.members import members
from fleet.journal.errors import JournalError, OtherFormat
from fleet.journal.filesystem import network_mount
from fleet.journal.lock import is_locked
from fleet.journal.lost import PLAN as PLAN
from fleet.journal.lost import JournalLost, has_plan
from fleet.journal.reader import JournalReader

JOURNAL = "journal.db"
LOG = "log.jsonl"

_HEAD = 4096  # bytes of a plan, more than come before its rows

_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-z]{4}")
_PREFIX = re.compile(r"[0-9a-z-]{1,20}")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run at a glance. Instants are wall seconds.

    `state` is `running`, how the run ended (`finished`, `halted`, `interrupted`, `credentials lost`), or
    `damaged` when its journal cannot be read, `journal lost` when all the same its plan can tell what is
    owed, or `format N` when only another version can read it: then `counts` are empty. A run that broke off
    counts as `interrupted`. `stages` are those of its plan, 0 where notebooks are changed at once, and
    `between_stages` the notebooks that have so many of them done and not their last.
    """

    run: str
    job: str
    state: str
    started_at: float | None
    finished_at: float | None
    counts: Mapping[str, int]
    dir: Path
    stages: int = 0
    between_stages: Mapping[int, int] = field(default_factory=dict)


def new_run_id(now: float, rand4: str) -> str:
    """`YYYYMMDD-HHMMSS-xxxx` in UTC, from wall seconds and four characters of 0-9a-z."""
    run = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{rand4}"
    if not _RUN.fullmatch(run):
        raise ValueError(f"{rand4!r} is not four characters of 0-9 and a-z")
    return run


def create_run_dir(base: Path, run: str) -> Path:
    """Makes the folder of a new run, for the owner's eyes only.

    Raises UsageError for a name that is no run id, JournalError where no run can be kept.
    """
    if not _RUN.fullmatch(run):
        raise UsageError(f"{run[:60]!r} is not a run id such as 20261130-081500-k3f9")
    folder = base / run
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        kind = network_mount(base)
        if kind is not None:
            raise JournalError(f"{base}: is on {kind}; runs need a local disk, choose one with --run-dir")
        folder.mkdir(mode=0o700)
        _sync(base)
    except OSError as error:
        raise JournalError(f"{folder}: {error.strerror}; choose another place with --run-dir") from None
    return folder


def remove_run_dir(folder: Path) -> None:
    """Removes the folder of a run that never began, with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Makes a new entry of the folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def find_run(base: Path, name: str) -> Path:
    """The folder of the run with this id, or the only one whose id begins so. Raises UsageError otherwise."""
    if not _PREFIX.fullmatch(name):
        raise UsageError(f"{name[:60]!r} is not a run id, nor the beginning of one; see: fleet runs")
    found = [folder for folder in _run_dirs(base) if folder.name.startswith(name)]
    if not found:
        raise UsageError(f"{name}: no such run in {base}; see: fleet runs")
    if len(found) > 1:
        some = ", ".join(folder.name for folder in found[:5])
        raise UsageError(f"{name}: {len(found)} runs begin so ({some}{' ...' if len(found) > 5 else ''})")
    return found[0]


def list_runs(base: Path) -> list[RunSummary]:
    """Every run, the newest first."""
    return [_summary(folder) for folder in _run_dirs(base) if is_run_dir(folder)]


def is_run_dir(folder: Path) -> bool:
    """Whether the folder holds a run: its journal, or the plan of one whose journal is gone."""
    if os.path.exists(folder / JOURNAL):
        return True
    return _RUN.fullmatch(folder.absolute().name) is not None and has_plan(folder)


def _run_dirs(base: Path) -> list[Path]:
    """The run folders, the newest first. A link is none: it could lead anywhere."""
    try:
        with os.scandir(base) as entries:
            names = [
                entry.name
                for entry in entries
                if _RUN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{base}: {error.strerror}; name the folder of all runs with --run-dir") from None
    return [base / name for name in sorted(names, reverse=True)]


def _summary(folder: Path) -> RunSummary:
    running = is_locked(folder)
    try:
        with JournalReader(folder / JOURNAL) as reader:
            return _read_summary(folder, reader, running)
    except JournalLost:
        return RunSummary(folder.name, _planned_job(folder), "journal lost", None, None, {}, folder)
    except OtherFormat as other:
        return RunSummary(folder.name, _planned_job(folder), other.state, None, None, {}, folder)
    except JournalError:
        return RunSummary(folder.name, "", "damaged", None, None, {}, folder)


def _planned_job(folder: Path) -> str:
    """The job's name by the plan, which begins with it; empty where it does not."""
    with suppress(OSError, ValueError, RecursionError), (folder / PLAN).open("rb") as file:
        for key, value in members(StringIO(file.read(_HEAD).decode(errors="replace")), ()):
            if key == "job" and isinstance(value, str):
                return value
    return ""


def _read_summary(folder: Path, reader: JournalReader, running: bool) -> RunSummary:
    run, job, final = reader.meta["run"], reader.meta["job"], reader.meta.get("final")
    if final is not None:
        state = final["end"] or "interrupted"
        return RunSummary(run, job, state, final["started_at"], final["finished_at"], final["counts"], folder)
    brief = reader.brief()
    fold = reader.fold() if brief is None else brief.state
    state = "running" if running else fold.end or ("damaged" if fold.gaps else "interrupted")
    if brief is not None:
        counts = brief.counts(over=not running)
        return RunSummary(run, job, state, fold.started_at, fold.finished_at, counts, folder)
    rows = fold.rows(over=not running)
    stages = max((stage.number for stage in fold.plan.stages), default=0)
    made = (run, job, state, fold.started_at, fold.finished_at, count(rows), folder)
    return RunSummary(*made, stages, between_stages(rows))
