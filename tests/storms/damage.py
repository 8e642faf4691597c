"""Runs that somebody did something to between a kill and the resume: other plans, other versions, lost bytes.

Each story is told by real commands, see `commands`, and comes back with what the resume said and sent.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan, load_plan, seal
from fleet.journal.runs import new_run_id
from fleet.journal.writer import InlineJournal
from fleet.service.running import open_run
from fleet.simulator.records import Record
from tests.storms.commands import Lab, Result, make_lab
from tests.storms.request_log import repeats

ONCE = ("StopNotebook", "StartNotebook")


@dataclass(frozen=True)
class Aftermath:
    """What the resume left behind, what it sent that was to change something, and what is wrong with that."""

    said: Result
    sent: tuple[Record, ...]
    complaints: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it was refused as it should be: one line, and nothing sent."""
        lines = self.said.err.splitlines()
        return self.said.code in (1, 64) and not self.sent and len(lines) == 1 and not self.said.out


def changed_plan(seed: int) -> Aftermath:
    """The plan file in the run's folder is replaced by another valid one."""
    with _broken_off(seed) as (lab, run):
        plan = _plan(lab)
        other = seal(replace(plan, job="another"))
        assert other.digest != plan.digest
        (run / "plan.json").write_bytes(dump_plan(other))
        return _resume(lab, run)


def other_version(seed: int) -> Aftermath:
    """The run was begun by another version of the program."""
    with _lab(seed) as lab:
        plan = seal(replace(_plan(lab), engine="0.0.1"))
        run = open_run(lab.folder / "runs", new_run_id(time.time(), "old0"), plan, InlineJournal)
        run.journal.close()
        return _resume(lab, run.path)


def second_process(seed: int) -> tuple[Result, Aftermath]:
    """The run is resumed while its own process works on it; what became of that one comes first."""
    with _lab(seed) as lab:
        command = lab.apply()
        assert command.lives_until(lambda: len(lab.writes) >= 2)
        run = lab.run
        assert run is not None
        said = lab.resume(run).end()
        result = command.end()
        return result, Aftermath(said, (), tuple(_wrong(lab, result)))


def cut(seed: int) -> Aftermath:
    """The end of the journal, or of its write-ahead log, is lost."""
    return _spoilt(seed, lambda data, draw: data[: draw.randrange(len(data))])


def flipped(seed: int) -> Aftermath:
    """One bit of the journal or of its write-ahead log is wrong."""

    def flip(data: bytes, draw: Random) -> bytes:
        place, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
        return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]

    return _spoilt(seed, flip)


def _spoilt(seed: int, spoil: Callable[[bytes, Random], bytes]) -> Aftermath:
    draw = Random(f"spoil/{seed}")
    with _broken_off(seed) as (lab, run):
        files = (run / "journal.db", run / "journal.db-wal")
        file = draw.choice([file for file in files if file.exists() and file.stat().st_size])
        file.write_bytes(spoil(file.read_bytes(), draw))
        return _resume(lab, run)


@contextmanager
def _lab(seed: int) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="damage-") as folder, make_lab(Path(folder) / "lab", seed) as lab:
        yield lab


@contextmanager
def _broken_off(seed: int) -> Iterator[tuple[Lab, Path]]:
    """A run that was killed after some of its writes."""
    with _lab(seed) as lab:
        wanted = Random(f"writes/{seed}").randint(2, 8)
        command = lab.apply()
        command.lives_until(lambda: len(lab.writes) >= wanted)
        command.kill()
        run = lab.run
        assert run is not None
        yield lab, run


def _plan(lab: Lab) -> Plan:
    return load_plan((lab.folder / "plan.json").read_bytes(), "plan.json")


def _resume(lab: Lab, run: Path) -> Aftermath:
    before = len(lab.writes)
    said = lab.resume(run).end()
    sent = tuple(lab.writes[before:])
    return Aftermath(said, sent, tuple(_wrong(lab, said)) if said.out else ())


def _wrong(lab: Lab, result: Result) -> Iterator[str]:
    """What must not be, however much of the journal was lost, of a run that went on."""
    plan, fleet, log = _plan(lab), lab.fleet(), lab.log
    rows = {row["id"]: row for row in result.json["rows"]}
    selected = [*(one.id for one in plan.changes), *(one.id for one in plan.settled)]
    if sorted(rows) != sorted(selected):
        yield f"rows for {sorted(rows)}"
    yield from repeats(log)
    for change in plan.changes:
        row, found = rows[change.id], fleet[change.id]
        for operation in ONCE:
            times = sum((r.notebook, r.operation, r.applied) == (change.id, operation, True) for r in log)
            if times > 1:
                yield f"{change.id}: {operation} {times} times"
        done = found["image.id"] == change.after["image_id"] and found["status"] == change.run_state
        if (row["outcome"] == "changed") > done:
            yield f"{change.id}: changed, it says, but it is {found}"
        if found["status"] != change.run_state and row["outcome"] in ("changed", "unchanged", "skipped"):
            yield f"{change.id}: {row['outcome']}, but it is {found['status']}, not {change.run_state}"
