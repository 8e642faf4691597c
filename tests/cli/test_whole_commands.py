"""Every command that is told can be typed as it stands, whatever configuration and run folder were named.

What is refused, halted, held or owed names commands in rooms that know neither: here is the sweep over them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from fleet.cli import applying
from fleet.cli.app import TREE
from fleet.core.commands import ABOUT_CLOUD, ABOUT_RUNS
from fleet.journal.claims import Claims
from fleet.journal.lock import RunLock
from fleet.journal.sqlite import JournalFile
from fleet.settings import claims_file
from fleet.simulator.messages import Reply, Request

Lab = Any
Shell = Any

COMMAND = re.compile(rf"\bfleet (?:{'|'.join(ABOUT_CLOUD | ABOUT_RUNS)})\b[^,;)\n]*")
LEASE = ("--duration", 7_200_000)


class Away:
    """Commands typed far from the configuration and from the run folders, whose paths need quotes."""

    def __init__(self, lab: Lab, shell: Shell) -> None:
        self.lab, self.shell = lab, shell
        self.config, self.runs = shell.folder / "my files" / "fleet.toml", shell.folder / "my runs"
        self.config.parent.mkdir()
        (shell.folder / "fleet.toml").rename(self.config)
        self.options = ("--config", self.config, "--run-dir", self.runs)

    def __call__(self, *words: object, **more: Any) -> Any:
        about = {option.opts[0] for option in TREE.commands[str(words[0])].params}
        options = self.options if "--run-dir" in about else self.options[:2]
        return self.shell(*words, *options, **more)

    def plan(self, job: Path | None = None) -> Path:
        path: Path = self.shell.folder / "plan.json"
        assert self("plan", job or "job.yaml", "-o", path).code == 0
        return path

    def run(self, job: Path | None = None) -> str:
        """A run that is over."""
        return str(self("apply", self.plan(job), "--yes").run)

    def commands(self, *texts: str, planned: bool = False) -> list[str]:
        """Every command in the texts, each of which must be whole.

        What a plan was `planned` with names no place for runs.
        """
        found = [shlex.split(one) for text in texts for one in COMMAND.findall(text)]
        for words in found:
            assert words.count("--config") == 1, words
            assert words[words.index("--config") + 1] == str(self.config)
            if words[1] in ABOUT_RUNS and not (planned and words[1] == "apply"):
                assert words.count("--run-dir") == 1, words
                assert words[words.index("--run-dir") + 1] == str(self.runs)
            assert self.shell(*words[1:], "--help").code == 0
        return [words[1] for words in found]


@pytest.fixture
def away(lab: Lab, shell: Shell) -> Away:
    return Away(lab, shell)


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def test_the_options_that_each_command_takes_are_known() -> None:
    for name, command in TREE.commands.items():
        options = {option for one in command.params for option in one.opts}
        assert ("--run-dir" in options) is (name in ABOUT_RUNS), name
        if "--config" not in options:
            assert name not in ABOUT_CLOUD | ABOUT_RUNS


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["report", "20991130"], ["runs"]),
        (["undo", "../../etc"], ["runs"]),
        (["apply", "job.yaml", "--yes"], ["plan"]),
        (["ls", "-s", 'zzz == "x"'], ["ls"]),
    ],
)
def test_a_refusal_of_words_names_a_whole_command(away: Away, words: list[str], named: list[str]) -> None:
    assert away.commands(away(*words).err) == named


def test_a_refusal_about_a_run_that_is_over_names_whole_commands(away: Away, shell: Shell) -> None:
    run = away.run(away.lab.pick(1))
    for words in (["pause"], ["approve"], ["cancel"], ["set", "--rate", "1/s"]):
        assert away.commands(away(words[0], run, *words[1:]).err) == ["report"]
    folder = away.runs / run
    told = shell("pause", folder, "--config", away.config)
    assert away.commands(told.err) == ["report"]


def test_a_refusal_about_a_run_that_goes_on_names_whole_commands(away: Away) -> None:
    run = away.run(away.lab.pick(1))
    lock = RunLock(away.runs / run)
    try:
        for command in ("undo", "retry"):
            assert away.commands(away(command, run).err) == ["report"]
    finally:
        lock.release()


def test_a_notebook_that_a_live_run_claims_names_the_whole_command_that_ends_it(away: Away) -> None:
    row, folder = away.lab.old()[0], away.runs / away.run(away.lab.pick(1))
    scope = next(
        name for name in ("lab-a", "lab-b") if row.id in away("ls", "--scope", name, "-o", "json").out
    )
    lock = RunLock(folder)
    with closing(Claims(claims_file(os.environ))) as claims:
        key = (f"{away.lab.url} {row.project}", row.id)
        claims.take([key], folder.name, folder, 1000.0, lambda folder, keys: ())
        told = away("start", row.id, "--scope", scope, *LEASE)
    lock.release()
    assert (told.code, away.commands(told.err)) == (4, ["cancel"])


def interrupted(away: Away, patch: pytest.MonkeyPatch) -> Any:
    """A run that was ended at once, as it had just stopped a notebook."""
    ids = [away.lab.old("RUNNING")[0].id, away.lab.old()[0].id]
    job = away.lab.job('image.name.startsWith("pytorch1.8") && status == "STOPPED"', f"id in {ids}")
    job.write_text(job.read_text().replace("rollout: {", "rollout: {concurrency: 1, "))
    plan, handle, sent = away.plan(job), away.lab.cloud.handle, list[str]()

    def twice(request: Request, now: float) -> Reply:
        reply = cast(Reply, handle(request, now))
        if (request.path.endswith("/stop") or sent) and len(sent) < 2:
            sent.append(request.path)
            os.kill(os.getpid(), signal.SIGINT)
        return reply

    patch.setattr(away.lab.cloud, "handle", twice)
    result = away("apply", plan, "--yes")
    patch.setattr(away.lab.cloud, "handle", handle)
    return result


def test_what_is_owed_is_told_with_whole_commands_in_every_form(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = interrupted(away, monkeypatch)
    run = result.run
    assert {"start", "resume"} <= {*away.commands(result.out, result.err)}
    assert {"start", "resume"} <= {*away.commands(*strings(away("report", run, "-o", "json").json))}
    rows = [json.loads(line) for line in away("report", run, "-o", "jsonl").out.splitlines()]
    assert away.commands(*strings(rows)) == ["start"]
    assert away.commands(away("report", run, "-o", "csv").out.replace('"', "")) == ["start"]
    assert away.commands(away("status", run).out)[:2] == ["resume", "start"]
    assert away.commands(*strings(away("status", run, "-o", "json").json)) == ["start"]
    assert away.commands(away("pause", run).err) == ["resume"]
    retried = away("retry", run, "-o", away.shell.folder / "again.json")
    assert away.commands(retried.err) == ["start", "apply"]
    planned = away("plan", away.shell.folder / "job.yaml", "-o", away.shell.folder / "next.json")
    assert {*away.commands(planned.out, planned.err, planned=True)} == {"resume", "apply"}
    shown = away.shell("--config", away.config, "show", away.shell.folder / "next.json")
    assert away.commands(shown.out) == ["resume"]
    later = away("apply", away.shell.folder / "next.json", "--yes")
    assert {"resume", "undo"} <= {*away.commands(later.out, later.err)}


def test_a_gate_that_is_not_sure_says_what_to_do_where_nobody_can_be_asked(away: Away) -> None:
    """Exit 4, and the command that asks again."""
    job = away.lab.job("rollout: {", "rollout: {waves: [1, 100%], gate: {command: [sh, -c, exit 2]}, ")
    told = away("apply", away.plan(job), "--yes")
    assert told.code == 4
    assert (
        "nobody could be asked: at a terminal this asks again, and you may approve: fleet resume" in told.out
    )
    assert {*away.commands(told.out, told.err)} == {"resume", "undo"}
    assert away.commands(away("status", told.run).out).count("resume") >= 1


def test_a_wave_that_waits_for_a_person_names_the_whole_command(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = away.lab.job("rollout: {", "rollout: {waves: [1, 100%], approve: [1], ")
    plan = away.plan(job)

    def heard(event: Any) -> None:
        if getattr(event, "kind", "") == "held":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(applying, "LogObserver", lambda plan: heard)
    told = away("apply", plan, "--yes")
    assert away.commands(told.err) == ["approve"]


class FullDisk:
    """From the first intent on the disk takes nothing, until the ballast is given back."""

    def __init__(self) -> None:
        self.insert, self.full = JournalFile.insert, False

    def __call__(self, file: JournalFile, events: Any) -> None:
        if not self.full and any(event.kind == "intended" for event in events):
            self.full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.insert(file, events)


@pytest.mark.row(45)
def test_a_full_disk_is_told_once_with_the_whole_command_and_in_short_by_each_row(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, disk = away.plan(), FullDisk()
    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "insert", lambda file, events: disk(file, events))
        told = away("apply", plan, "--yes")
    assert (told.code, away.lab.writes) == (4, [])
    assert told.out.count("free some space for") == 1
    cause = "the journal cannot be written: [Errno 28] No space left on device"
    assert f": {cause}; no further change is made: free some space for" in told.out
    assert {*away.commands(told.out, told.err)} == {"resume"}
    rows = [json.loads(line) for line in away("report", told.run, "-o", "jsonl").out.splitlines()]
    assert {row["outcome"] for row in rows} == {"not-started"}
    assert max(len(row["reason"]) for row in rows) < 100
    resumed = away("resume", told.run)
    assert (resumed.code, away.lab.writes) == (0, ["UpdateNotebook"] * 4), resumed.out


@pytest.mark.row(45)
def test_a_log_whose_last_lines_find_no_room_does_not_fail_the_run(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert away("apply", away.plan(), "--yes", "--log-file", "/dev/full").code == 0
