"""Facts: fetched once, only where wanted, only of whom they matter, and from earlier runs' journals."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet.core.catalog import Catalog
from fleet.core.changing.sight import Sight
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Intended,
    Outcome,
    RunStarted,
    Saw,
    Step,
)
from fleet.core.job import Context, JobSpec, Resize, Skip, Wants
from fleet.core.notebook import Flavor, Notebook, Status
from fleet.core.planning.plan import Change
from fleet.core.planning.plan_file import dump_plan
from fleet.core.usage import Book, Resource, UsageWanted
from fleet.journal.runs import JOURNAL, PLAN, create_run_dir, new_run_id
from fleet.journal.sqlite import JournalFile
from fleet.service.facts import files_of, gather, running_shares
from fleet.service.resizes import Resizes, read_resizes, resizes_in
from tests.plans import make_change, make_plan

NOW = 1_764_000_000.0
DAY = 86_400.0
A, B, C = (f"f9937afa-4451-42db-a76b-{number:012d}" for number in range(3))


@dataclass
class Measured:
    """A source that saw everything busy at one level all the time."""

    value: float = 40.0
    step: float = 3600.0
    at_once: int | None = 2
    asked: list[list[str]] = field(default_factory=list)

    async def read(self, resources: Collection[Resource], book: Book) -> None:
        self.asked.append(list(book.notebooks))
        for id in book.notebooks:
            for back in range(1, 200):
                book.take(id, Resource.CPU, NOW - back * self.step, self.value)


@dataclass
class Cloud:
    """A scope whose notebooks can go to one flavor, but for those that it refuses to tell of."""

    metrics: Measured | None = field(default_factory=Measured)
    refuses: Mapping[str, Meaning] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def switchable_flavors(self, notebook_id: str) -> Sequence[Flavor]:
        self.asked.append(notebook_id)
        if notebook_id in self.refuses:
            raise CallError(self.refuses[notebook_id], "no")
        return [Flavor(f"for-{notebook_id[-1]}")]


class Wanting(JobSpec):
    """A job of the tests: wants what it is told to."""

    usage: UsageWanted | None = None
    switchable: bool = False
    resized: float = 0.0
    only: tuple[str, ...] = (A, B, C)

    def wants(self) -> Wants:
        return Wants(("a.txt",), self.switchable, self.usage, self.resized)

    def needs_switchable(self, notebook: Notebook, context: Context) -> bool:
        assert notebook.id in context.facts  # whatever else is wanted is there by then
        return notebook.id in self.only

    def propose(self, notebook: Notebook, context: Context) -> Skip:
        return Skip("no")


def rows(*ids: str) -> list[Notebook]:
    return [Notebook(id, Status.STOPPED) for id in ids]


async def facts(job: JobSpec, cloud: Any, found: list[Notebook], runs: Path | None = None) -> Any:
    context = Context("lab-a", Catalog(), int(NOW * 1000))
    resizes = Resizes() if runs is None else read_resizes(runs, NOW - job.wants().resized)
    clouds, found_in = {"lab-a": cloud}, {"lab-a": found}
    return await gather(job, {"lab-a": context}, clouds, found_in, folder=Path(), resizes=resizes)


WEEK = UsageWanted(7 * DAY, 95.0, (Resource.CPU,))


async def test_who_wants_nothing_asks_nothing() -> None:
    cloud = Cloud()
    found = await facts(Wanting(), cloud, rows(A))
    assert (cloud.asked, found.contexts["lab-a"].facts) == ([], {})


async def test_usage_comes_in_groups_and_says_how_long_a_notebook_ran() -> None:
    cloud = Cloud()
    found = await facts(Wanting(usage=WEEK), cloud, rows(A, B, C))
    known = found.contexts["lab-a"].facts
    assert [known[id].usage.levels[Resource.CPU].usual for id in (A, B, C)] == [40.0] * 3
    assert cloud.metrics is not None
    assert [len(group) for group in cloud.metrics.asked] == [2, 1]
    assert dict(running_shares(found.contexts.values()))["lab-a", A] == 1.0
    assert cloud.asked == []


@pytest.mark.parametrize("cloud", [Cloud(metrics=None), object()])
async def test_without_a_source_the_plan_says_what_to_configure(cloud: object) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(UsageError, match=r"scope lab-a: .* add a table \[metrics.NAME\]")
    ):
        await facts(Wanting(usage=WEEK), cloud, rows(A))


async def test_where_they_can_go_is_asked_only_of_those_for_whom_it_matters() -> None:
    cloud = Cloud()
    found = await facts(Wanting(switchable=True, only=(B,)), cloud, rows(A, B, C))
    known = found.contexts["lab-a"].facts
    assert cloud.asked == [B]
    assert known[A].switchable is None
    assert known[B].switchable == (Flavor("for-1"),)


async def test_a_notebook_whose_id_cannot_be_asked_for_is_left_out() -> None:
    cloud = Cloud()
    await facts(Wanting(switchable=True, only=("../x", A)), cloud, rows("../x", A))
    assert cloud.asked == [A]


@pytest.mark.parametrize("meaning", [Meaning.GONE, Meaning.FROZEN, Meaning.INVALID])
async def test_a_refusal_about_one_notebook_is_its_own(meaning: Meaning) -> None:
    cloud = Cloud(refuses={A: meaning})
    found = await facts(Wanting(switchable=True), cloud, rows(A, B))
    known = found.contexts["lab-a"].facts
    assert (known[A].switchable, known[B].switchable) == (None, (Flavor("for-1"),))


@pytest.mark.parametrize("meaning", [Meaning.FORBIDDEN, Meaning.UNAUTHENTICATED, Meaning.LOST])
async def test_a_refusal_that_all_would_get_ends_the_plan(meaning: Meaning) -> None:
    with pytest.RaisesGroup(CallError, flatten_subgroups=True):
        await facts(Wanting(switchable=True), Cloud(refuses={A: meaning}), rows(A, B))


def test_files_are_beside_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert files_of(Wants(("a.txt",)), tmp_path) == {"a.txt": "hello"}
    with pytest.raises(UsageError, match=r"b\.txt: no such file"):
        files_of(Wants(("b.txt",)), tmp_path)


# --- earlier runs ---


def change(item: int, before: str = "large", after: str = "small") -> Change:
    return make_change(item, flavor=before, before={"flavor": before}, after={"flavor": after})


def ends(item: int, outcome: Outcome, flavor: str, at: float) -> list[Event]:
    """A change that ended so, with the notebook last seen on that flavor."""
    return [
        Began(item, at),
        Intended(item, at, Step.PUT, 1, {"flavor": "small"}),
        Answered(item, at, Step.PUT, Fate.ACCEPTED),
        Saw(item, at, Sight(Status.STOPPED, {"flavor": flavor})),
        Ended(item, at, outcome),
    ]


def record(base: Path, at: float, rand4: str, changes: Sequence[Change], *events: Event) -> Path:
    run = new_run_id(at, rand4)
    folder = create_run_dir(base, run)
    with_start = [RunStarted(at, run, "d"), *events]
    journal = JournalFile.create(folder / JOURNAL, make_plan(*changes, created_at=at), run)
    journal.save(with_start)
    journal.close()
    return folder


def test_what_runs_did_to_flavors_is_read_from_their_journals(tmp_path: Path) -> None:
    first, second = NOW - 5 * DAY, NOW - DAY
    record(tmp_path, first, "aaaa", [change(0), change(1)], *ends(0, Outcome.CHANGED, "small", first))
    record(tmp_path, second, "bbbb", [change(0, "small", "tiny")], *ends(0, Outcome.CHANGED, "tiny", second))
    record(tmp_path, second, "cccc", [make_change(0)])  # of the image: no business of ours
    found = read_resizes(tmp_path, NOW - 7 * DAY)
    assert found.notes == ()
    assert found.of(A) == (Resize(first, "large", "small"), Resize(second, "small", "tiny"))
    assert found.of(B) == ()
    assert read_resizes(tmp_path, NOW - 2 * DAY).of(A) == (Resize(second, "small", "tiny"),)


@pytest.mark.parametrize(
    ("outcome", "seen", "counts"),
    [
        (Outcome.CHANGED, "small", True),
        (Outcome.FAILED, "small", True),
        (Outcome.FAILED, "large", False),  # put back
        (Outcome.STRANDED, "large", True),  # the last look may be older than the write
        (Outcome.UNKNOWN, "large", True),
    ],
)
def test_what_may_have_been_written_counts(tmp_path: Path, outcome: Outcome, seen: str, counts: bool) -> None:
    record(tmp_path, NOW - DAY, "aaaa", [change(0)], *ends(0, outcome, seen, NOW - DAY))
    assert bool(read_resizes(tmp_path, NOW - 7 * DAY).of(A)) is counts


def test_a_run_that_broke_off_counts_too(tmp_path: Path) -> None:
    events = ends(0, Outcome.CHANGED, "small", NOW - DAY)[:3]
    record(tmp_path, NOW - DAY, "aaaa", [change(0)], *events)
    assert read_resizes(tmp_path, NOW - 7 * DAY).of(A) == (Resize(NOW - DAY, "large", "small"),)


def test_a_run_that_cannot_be_read_is_told_unless_it_is_too_old_to_matter(tmp_path: Path) -> None:
    folder = record(tmp_path, NOW - DAY, "aaaa", [change(0)])
    (folder / JOURNAL).write_bytes(b"rubbish" * 99)
    assert read_resizes(tmp_path, NOW - 7 * DAY).notes == (
        f"run {folder.name} cannot be read: what it did to flavors is not known",
    )
    assert read_resizes(tmp_path, NOW - DAY / 2).notes == ()


def test_notebooks_of_a_run_that_cannot_be_read_are_known_by_its_plan(tmp_path: Path) -> None:
    folder = record(tmp_path, NOW - DAY, "aaaa", [change(0)])
    (folder / PLAN).write_bytes(dump_plan(make_plan(change(0), make_change(1), created_at=NOW - DAY)))
    (folder / JOURNAL).write_bytes(b"rubbish" * 99)
    found = read_resizes(tmp_path, NOW - 7 * DAY)
    assert (found.untold_of(A), found.untold_of(B)) == (folder.name, "")
    assert found.notes[0].endswith("; its notebooks are left alone until its folder is removed")
    assert read_resizes(tmp_path, NOW - DAY / 2).untold_of(A) == ""


def test_where_not_even_the_plan_can_be_read_it_may_have_been_anybody(tmp_path: Path) -> None:
    folder = record(tmp_path, NOW - DAY, "aaaa", [change(0)])
    (folder / PLAN).write_bytes(b'{"job": "x", "changes": [rubbish]}')
    (folder / JOURNAL).write_bytes(b"rubbish" * 99)
    assert read_resizes(tmp_path, NOW - 7 * DAY).untold_of(C) == folder.name


def test_a_journal_with_gaps_may_have_lost_a_change(tmp_path: Path) -> None:
    folder = record(
        tmp_path, NOW - DAY, "aaaa", [change(0), make_change(1)], *ends(1, Outcome.SKIPPED, "", NOW)
    )
    with closing(sqlite3.connect(folder / JOURNAL)) as journal, journal:
        journal.execute("UPDATE event SET body = 'rubbish' WHERE rowid = 2")
    found = read_resizes(tmp_path, NOW - 7 * DAY)
    assert (found.untold_of(A), found.untold_of(B)) == (folder.name, "")


async def test_a_job_is_told_whose_flavor_may_have_been_changed(tmp_path: Path) -> None:
    folder = record(tmp_path, NOW - DAY, "aaaa", [change(0)])
    (folder / PLAN).write_bytes(dump_plan(make_plan(change(0), created_at=NOW - DAY)))
    (folder / JOURNAL).write_bytes(b"rubbish" * 99)
    found = await facts(Wanting(resized=7 * DAY), Cloud(), rows(A, B), tmp_path)
    known = found.contexts["lab-a"].facts
    assert (known[A].untold, known[B].untold) == (folder.name, "")


def test_no_runs_no_resizes(tmp_path: Path) -> None:
    assert read_resizes(tmp_path / "none", 0.0) == Resizes()
    assert list(resizes_in([], {}, 0.0)) == []


async def test_usage_from_before_the_last_resize_is_left_out(tmp_path: Path) -> None:
    record(tmp_path, NOW - DAY, "aaaa", [change(0)], *ends(0, Outcome.CHANGED, "small", NOW - DAY))
    found = await facts(Wanting(usage=WEEK, resized=7 * DAY), Cloud(), rows(A, B), tmp_path)
    known = found.contexts["lab-a"].facts
    assert known[A].resized == (Resize(NOW - DAY, "large", "small"),)
    assert known[A].usage.share(Resource.CPU) == pytest.approx(1 / 7, abs=0.01)
    assert known[B].usage.share(Resource.CPU) == 1.0
