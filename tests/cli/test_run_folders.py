"""What a run needs on disk: where it is missing or damaged, one line tells and nothing is sent."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fleet.core.errors import FleetError, UsageError
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.journal import filesystem
from fleet.journal.errors import JournalError
from fleet.journal.rows import meta_record
from fleet.journal.runs import JOURNAL, PLAN
from fleet.journal.writer import InlineJournal
from fleet.service.running import open_run, reopen_run
from fleet.settings import claims_file

Lab = Any
Shell = Any
Damage = Callable[[Path], object]

RUN = "20261130-081500-k3f9"


def loaded(path: Path) -> Plan:
    return load_plan(path.read_bytes(), str(path))


@pytest.fixture
def broken_off(lab: Lab) -> Path:
    """The folder of a run that was killed before it did anything."""
    folder = open_run(lab.runs, RUN, loaded(lab.plan()))
    folder.close()
    return folder.path


# --- claims ----------------------------------------------------------------------------------------------


def of_another_shape(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE claim (something)")
    connection.close()


CLAIMS: dict[str, Damage] = {
    "a folder": lambda file: file.mkdir(),
    "a link": lambda file: file.symlink_to("elsewhere"),
    "no database": lambda file: file.write_bytes(b"nonsense" * 1000),
    "of another shape": of_another_shape,
}


@pytest.mark.row(46)
@pytest.mark.parametrize("damage", CLAIMS.values(), ids=CLAIMS)
def test_claims_that_cannot_be_used_stop_a_run_and_leave_nothing_of_it(
    lab: Lab, shell: Shell, damage: Damage
) -> None:
    plan, file = lab.plan(), claims_file(os.environ)
    file.parent.mkdir(parents=True)
    damage(file)
    lab.cloud.log.clear()
    told = shell.refused("apply", plan, "--yes", "--run-dir", lab.runs, code=1)
    assert told.startswith(f"fleet: {file}: ")
    assert (lab.cloud.log, list(lab.runs.iterdir())) == ([], [])


@pytest.mark.row(46)
@pytest.mark.parametrize("damage", CLAIMS.values(), ids=CLAIMS)
def test_claims_that_cannot_be_used_leave_a_run_that_is_taken_up_as_it_was(
    lab: Lab, shell: Shell, broken_off: Path, damage: Damage
) -> None:
    file = claims_file(os.environ)
    file.parent.mkdir(parents=True)
    damage(file)
    lab.cloud.log.clear()
    told = shell.refused("resume", RUN, "--run-dir", lab.runs, code=1)
    assert told.startswith(f"fleet: {file}: ")
    assert lab.cloud.log == []
    file.rename(file.with_suffix(".bad"))
    assert shell("resume", RUN, "--run-dir", lab.runs).code == 0


@pytest.mark.row(53)
def test_claims_are_given_up_at_the_end_of_a_run(lab: Lab) -> None:
    assert lab.apply().code == 0
    with sqlite3.connect(claims_file(os.environ)) as connection:
        assert connection.execute("SELECT count(*) FROM claim").fetchone() == (0,)
    connection.close()


# --- the folder ------------------------------------------------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.row(45)
def test_a_run_for_whose_plan_there_is_no_room_leaves_no_folder(lab: Lab) -> None:
    plan = loaded(lab.plan())
    with room_for(100), pytest.raises(JournalError, match="choose another place with --run-dir"):
        open_run(lab.runs, RUN, plan)
    assert list(lab.runs.iterdir()) == []


@pytest.mark.row(45)
def test_a_run_for_whose_journal_there_is_no_room_leaves_no_folder(lab: Lab) -> None:
    plan = loaded(lab.plan())
    with room_for(len(dump_plan(plan))), pytest.raises(JournalError, match="cannot be created"):
        open_run(lab.runs, RUN, plan, InlineJournal)
    assert list(lab.runs.iterdir()) == []


def remove(file: Path) -> None:
    file.unlink()


def by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


PLANS: dict[str, tuple[Damage, str]] = {
    "missing": (remove, "cannot be read: No such file or directory; put the original back"),
    "a folder": (by_a_folder, "cannot be read: Is a directory; put the original back"),
    "empty": (lambda file: file.write_bytes(b""), "not a plan file"),
    "no JSON": (lambda file: file.write_bytes(b"\xff{"), "not a plan file"),
    "another thing": (lambda file: file.write_bytes(b"[]"), "not a plan of format"),
    "of another format": (
        lambda file: file.write_bytes(file.read_bytes().replace(b'"format": 1', b'"format": 2')),
        "not a plan of format",
    ),
    "altered": (
        lambda file: file.write_bytes(file.read_bytes().replace(b'"torch"', b'"touch"')),
        "was altered",
    ),
}


@pytest.mark.row(55)
@pytest.mark.parametrize(("damage", "told"), PLANS.values(), ids=PLANS)
def test_a_run_whose_plan_is_not_the_one_it_began_with_is_not_taken_up(
    lab: Lab, shell: Shell, broken_off: Path, damage: Damage, told: str
) -> None:
    damage(broken_off / PLAN)
    lab.cloud.log.clear()
    line = shell.refused("resume", RUN, "--run-dir", lab.runs)
    assert line.startswith(f"fleet: {broken_off / PLAN}: ")
    assert told in line
    assert lab.cloud.log == []


def test_a_plan_file_with_other_blanks_is_still_the_one_that_the_run_began_with(broken_off: Path) -> None:
    file = broken_off / PLAN
    file.write_text(json.dumps(json.loads(file.read_bytes()), indent=4))
    folder, _ = reopen_run(broken_off)
    folder.close()


@pytest.mark.row(55)
@pytest.mark.parametrize("more", [b"x", b"{}"])
def test_a_plan_file_with_more_behind_the_plan_is_refused(broken_off: Path, more: bytes) -> None:
    file = broken_off / PLAN
    file.write_bytes(file.read_bytes() + more)
    with pytest.raises(UsageError, match="not a plan file"):
        reopen_run(broken_off)


def test_a_run_is_taken_up_with_one_look_at_its_plan_and_one_at_its_events(broken_off: Path) -> None:
    """Each of them is large."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls[frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        folder, _ = reopen_run(broken_off)
    finally:
        sys.setprofile(None)
    folder.close()
    for name in ("load_plan", "_unsealed", "JournalReader.fold", "RunState.__post_init__"):
        assert calls[name] == 1


def alter(journal: Path, key: str, value: str) -> None:
    """Seals another value into the journal's meta data, as another version would."""
    with sqlite3.connect(journal) as connection:
        connection.execute("DELETE FROM meta WHERE key = ?", (key,))
        connection.execute("INSERT INTO meta VALUES (?, ?, ?)", meta_record(key, value.encode()))
    connection.close()


@pytest.mark.row(55)
def test_a_journal_of_another_format_is_not_taken_up(lab: Lab, shell: Shell, broken_off: Path) -> None:
    journal = broken_off / JOURNAL
    alter(journal, "format", "3")
    before = journal.read_bytes()
    lab.cloud.log.clear()
    line = shell.refused("resume", RUN, "--run-dir", lab.runs, code=1)
    assert line == (
        f"fleet: {journal}: is of format 3, this version reads journals of format 2; "
        "use the version that began the run\n"
    )
    assert (lab.cloud.log, journal.read_bytes()) == ([], before)
    with pytest.raises(JournalError, match="is of format 3"):
        reopen_run(broken_off)
    assert line.removeprefix("fleet: ") in shell("recover", RUN, "--run-dir", lab.runs).err
    alter(journal, "format", "2")
    assert shell("resume", RUN, "--run-dir", lab.runs).code == 0


@pytest.mark.row(55)
def test_a_folder_without_a_journal_is_one_line(lab: Lab, shell: Shell, broken_off: Path) -> None:
    (broken_off / JOURNAL).unlink()
    assert "there is no journal" in shell.refused("resume", RUN, "--run-dir", lab.runs, code=1)
    with pytest.raises(FleetError):
        reopen_run(broken_off)


def test_help_says_that_a_resumed_run_gets_its_whole_deadline_anew(shell: Shell) -> None:
    assert "whole deadline anew" in " ".join(shell("resume", "--help").out.split())


# --- places that cannot be written to --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["apply", "run", "resume"])
def test_every_place_that_cannot_be_written_to_is_told_before_anything_begins(
    lab: Lab, shell: Shell, broken_off: Path, command: str
) -> None:
    job, plan = shell.folder / "job.yaml", lab.plan()
    shell.write("state", "a file")
    shell.patch.setenv("XDG_STATE_HOME", str(shell.folder / "state"))
    shell.write("runs.txt", "a file")
    lab.cloud.log.clear()
    before = shell.files
    words = {
        "apply": ("apply", plan, "--yes", "--run-dir", "runs.txt"),
        "run": ("run", job, "--yes", "--run-dir", "runs.txt"),
        "resume": ("resume", broken_off),
    }[command]
    told = shell.refused(*words, "--log-file", "no/log", code=1, lines=2 if command == "resume" else 3)
    *place, shared, log = told.removeprefix("fleet: ").splitlines()
    assert place in ([], ["runs.txt: it is not a folder; choose another place with --run-dir"])
    assert shared.startswith(f"{shell.folder}/state/notebook-fleet: {shell.folder}/state is not a folder; ")
    assert "XDG_STATE_HOME" in shared
    assert log == "no/log: cannot write the log: no such file or directory"
    made = {name for name in shell.files - before if not name.endswith(("-wal", "-shm"))}  # of a reader
    assert (lab.cloud.log, made) == ([], set())


@pytest.mark.parametrize("command", ["once", "run"])
def test_a_schedule_whose_runs_have_no_place_does_not_begin(lab: Lab, shell: Shell, command: str) -> None:
    lab.job("rollout:", 'schedule: {at: "0 20 * * FRI"}\nrollout:')
    told = shell.refused("schedule", command, "job.yaml", "--run-dir", "fleet.toml", code=1)
    assert told == "fleet: fleet.toml: it is not a folder; choose another place with --run-dir\n"


def test_places_whose_names_are_too_long_are_told_in_a_line_each(lab: Lab, shell: Shell) -> None:
    lab.job("rollout:", 'schedule: {at: "0 20 * * FRI"}\nrollout:')
    long = "a" * 300
    told = shell.refused("schedule", "once", "job.yaml", "--run-dir", long, code=1)
    assert told == f"fleet: {long}: file name too long; choose another place with --run-dir\n"
    plan = lab.plan()
    shell.patch.setenv("XDG_STATE_HOME", f"/{long}")
    told = shell.refused("apply", plan, "--yes", "--run-dir", long, "--log-file", long, code=1, lines=3)
    assert [line.count("file name too long") for line in told.splitlines()] == [1, 1, 1]


def test_a_run_that_cannot_go_on_where_it_lives_is_told_no_other_place(
    shell: Shell, broken_off: Path
) -> None:
    shell.patch.setattr(filesystem, "network_mount", lambda _: "nfs")
    told, shared = shell.refused("resume", broken_off, code=1, lines=2).splitlines()
    assert told.endswith("a local disk is needed; the run lives there; put that right, then resume it")
    assert "XDG_STATE_HOME" in shared


def test_a_history_that_cannot_be_read_is_told_with_what_to_do(lab: Lab, shell: Shell) -> None:
    lab.job("rollout:", 'schedule: {at: "0 20 * * FRI"}\nrollout:')
    told = shell.refused("schedule", "history", "job.yaml", "--run-dir", "fleet.toml")
    file = "fleet.toml/schedules/torch.jsonl"
    assert told == f"fleet: {file}: not a directory; name the folder of all runs with --run-dir\n"
    (lab.runs / "schedules" / "torch.jsonl").mkdir(parents=True)
    told = shell.refused("schedule", "history", "job.yaml", "--run-dir", lab.runs)
    assert told.endswith("torch.jsonl: cannot be read: Is a directory; move it away to begin anew\n")


def test_all_wrong_jobs_of_a_schedule_are_told(lab: Lab, shell: Shell) -> None:
    lab.job("torch\n", '"a b"\n', "one.yaml")
    told = shell.refused("schedule", "next", "one.yaml", "nowhere.yaml", "job.yaml", lines=3).splitlines()
    assert [line.removeprefix("fleet: ").partition(":")[0] for line in told] == [
        "one.yaml", "nowhere.yaml", "job.yaml",
    ]  # fmt: skip


def test_runs_of_a_file_are_told_where_to_name_their_folder(shell: Shell) -> None:
    shell.write("plain", "")
    told = shell.refused("runs", "--run-dir", "plain")
    assert told == "fleet: plain: Not a directory; name the folder of all runs with --run-dir\n"


@pytest.mark.parametrize("words", [("plan", "job.yaml"), ("undo", RUN), ("retry", RUN)])
def test_a_plan_that_could_not_be_written_is_not_made(
    lab: Lab, shell: Shell, broken_off: Path, words: tuple[str, ...]
) -> None:
    lab.cloud.log.clear()
    more = () if words[0] == "plan" else ("--run-dir", lab.runs)
    told = shell.refused(*words, "-o", "nowhere/plan.json", *more)
    assert told == "fleet: nowhere/plan.json: cannot write the plan: no such file or directory\n"
    assert lab.cloud.log == []
