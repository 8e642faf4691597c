"""Run folders: names, permissions, finding and listing."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.events import Began, Ended, Event, Outcome, RunStarted
from fleet.core.planning.plan import Plan, Stage
from fleet.core.planning.plan_file import dump_plan
from fleet.journal.errors import JournalError
from fleet.journal.filesystem import mount_type, network_mount
from fleet.journal.lock import is_locked
from fleet.journal.rows import meta_record
from fleet.journal.runs import JOURNAL, PLAN, create_run_dir, find_run, list_runs, new_run_id
from fleet.journal.sqlite import JournalFile
from tests import plans

FIRST, SECOND = "20261130-081500-k3f9", "20261130-091500-aaaa"


def record(base: Path, run: str, plan: Plan, events: list[Event]) -> JournalFile:
    journal = JournalFile.create(create_run_dir(base, run) / JOURNAL, plan, run)
    journal.save(events)
    return journal


def test_a_run_id_is_the_utc_time_and_four_characters() -> None:
    assert new_run_id(1_796_026_500.9, "k3f9") == "20261130-081500-k3f9"


@given(st.floats(0, 4e9), st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=4))
def test_every_run_id_has_the_documented_form(now: float, rand4: str) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-z]{4}", new_run_id(now, rand4))


@pytest.mark.parametrize("rand4", ["", "abc", "abcde", "AB12", "a/b1", "..--"])
def test_a_run_id_has_no_other_characters(rand4: str) -> None:
    with pytest.raises(ValueError, match="four characters"):
        new_run_id(0.0, rand4)


@pytest.mark.security("modes")
def test_run_folders_are_for_the_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        folder = create_run_dir(tmp_path / "state" / "runs", FIRST)
    finally:
        os.umask(previous)
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct(folder.parent.stat().st_mode & 0o777) == "0o700"


def test_a_run_folder_is_made_once(tmp_path: Path) -> None:
    create_run_dir(tmp_path, FIRST)
    with pytest.raises(JournalError, match=FIRST):
        create_run_dir(tmp_path, FIRST)


def test_a_base_that_is_no_folder_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="--run-dir"):
        create_run_dir(tmp_path / "file" / "runs", FIRST)


@pytest.mark.security("ids")
@pytest.mark.parametrize(
    "name", ["../evil", "/etc", "..", ".", "", "a/b", "20261130-081500-k3f9/..", "x\n", "*"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    base = tmp_path / "runs"
    create_run_dir(base, FIRST)
    with pytest.raises(UsageError):
        find_run(base, name)
    with pytest.raises(UsageError):
        create_run_dir(base, name)
    assert [file.name for file in tmp_path.rglob("*")] == ["runs", FIRST]


def test_a_run_is_found_by_its_id_or_the_beginning_of_it(tmp_path: Path) -> None:
    for run in (FIRST, SECOND):
        create_run_dir(tmp_path, run)
    assert find_run(tmp_path, FIRST).name == FIRST
    assert find_run(tmp_path, "20261130-09").name == SECOND
    with pytest.raises(UsageError, match=rf"2 runs begin so \({SECOND}, {FIRST}\)"):
        find_run(tmp_path, "20261130")
    with pytest.raises(UsageError, match="no such run"):
        find_run(tmp_path, "2025")
    with pytest.raises(UsageError, match="no such run"):
        find_run(tmp_path / "nowhere", FIRST)


@pytest.mark.security("modes")
def test_a_link_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    base = tmp_path / "runs"
    base.mkdir()
    (base / FIRST).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no such run"):
        find_run(base, FIRST)
    assert list_runs(base) == []


def test_runs_are_listed_the_newest_first_with_how_they_stand(
    tmp_path: Path, plan: Plan, history: list[Event]
) -> None:
    record(tmp_path, FIRST, plan, history).close()
    going_on = record(tmp_path, SECOND, plan, history[:5])
    (tmp_path / "notes").mkdir()
    create_run_dir(tmp_path, "20261130-101500-aaaa")  # nothing was recorded in it
    second, first = list_runs(tmp_path)
    assert (first.run, first.job, first.state, first.dir) == (FIRST, "torch", "finished", tmp_path / FIRST)
    assert (first.started_at, first.finished_at) == (1001.0, 1200.0)
    assert (first.counts["changed"], first.counts["unchanged"]) == (3, 1)
    assert (second.run, second.state, second.counts["open"]) == (SECOND, "running", 3)
    going_on.close()
    second, _ = list_runs(tmp_path)
    assert (second.state, second.counts["open"], second.counts["not-started"]) == ("interrupted", 1, 2)


def test_a_journal_that_cannot_be_read_is_listed_as_damaged(tmp_path: Path) -> None:
    (create_run_dir(tmp_path, FIRST) / JOURNAL).write_bytes(b"nonsense")
    (listed,) = list_runs(tmp_path)
    assert (listed.state, listed.counts) == ("damaged", {})


def test_a_journal_that_only_another_version_can_read_is_listed_with_its_format(
    tmp_path: Path, plan: Plan
) -> None:
    record(tmp_path, FIRST, plan, []).close()
    (tmp_path / FIRST / PLAN).write_bytes(dump_plan(plan))
    _, *sealed = meta_record("format", b"1")
    with closing(sqlite3.connect(tmp_path / FIRST / JOURNAL)) as connection, connection:
        connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'format'", sealed)
    (listed,) = list_runs(tmp_path)
    assert (listed.state, listed.job, listed.counts) == ("format 1", "torch", {})


def test_nothing_runs_where_no_lock_is_held(tmp_path: Path, plan: Plan) -> None:
    assert not is_locked(tmp_path / "nowhere")
    journal = record(tmp_path, FIRST, plan, [])
    assert is_locked(tmp_path / FIRST)
    journal.close()
    assert not is_locked(tmp_path / FIRST)


MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 27 0:55 / /home/ann rw,relatime shared:9 master:2 - nfs4 server:/home rw,vers=4.2
"""


@pytest.mark.row(46)
def test_the_file_system_of_a_device_is_read_from_the_mounts() -> None:
    assert mount_type(MOUNTS, "254:0") == "ext4"
    assert mount_type(MOUNTS, "0:55") == "nfs4"
    assert mount_type(MOUNTS, "9:9") is None
    assert mount_type("", "254:0") is None


def test_a_local_folder_is_on_no_network(tmp_path: Path) -> None:
    assert network_mount(tmp_path) is None


@pytest.mark.parametrize(
    ("done", "between"), [(0, {}), (1, {1: 1}), (2, {})], ids=["none", "the first", "both"]
)
def test_a_run_in_stages_is_listed_with_them_and_with_who_is_between_two(
    tmp_path: Path, done: int, between: dict[int, int]
) -> None:
    first = plans.make_change(0)
    second = plans.make_change(1, id=first.id, wave=2, stage=2, follows=0)
    stages = (Stage(1, 1, 0.0), Stage(2, 2, 60.0))
    staged = plans.make_plan(first, second, stages=stages)
    events: list[Event] = [RunStarted(1001.0, FIRST, staged.digest)]
    for item in range(done):
        events += [Began(item, 1010.0), Ended(item, 1020.0, Outcome.CHANGED)]
    record(tmp_path, FIRST, staged, events).close()
    (listed,) = list_runs(tmp_path)
    assert (listed.stages, listed.between_stages) == (2, between)
