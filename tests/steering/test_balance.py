"""How a run stands, told from the balance in its journal, is what all its events tell; else they are read."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.cli.standing import as_object, screen
from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Fate,
    Held,
    Intended,
    Late,
    Outcome,
    OutOfReach,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Steered,
    Step,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.planning.plan import PlanScope, Settled
from fleet.core.rollout import Rollout, Share
from fleet.journal.balance import EVERY
from fleet.journal.errors import JournalError
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, RunSummary, list_runs
from fleet.journal.sqlite import JournalFile
from fleet.service.following import look_at
from fleet.telemetry.progress import Progress
from tests.plans import NEW, OLD, make_change, make_plan

RUN = "20261130-081500-k3f9"
LEASE = Lease(True, LeaseType.TIMING, 50_000, 7_200_000, 50_000)
SIZE = 11
PLAN = make_plan(
    *(
        make_change(
            item,
            wave=1 + item // 4,
            owner=f"owner-{item % 3}",
            run_state=Status.STOPPED if item % 4 == 3 else Status.RUNNING,
            arriving=item == 5,
            lease=LEASE if item % 2 else None,
        )
        for item in range(SIZE)
    ),
    scopes=(PlanScope("lab-a", "cn-north-4", "0" * 32, "https://x", SIZE + 1, "key", "60/min"),),
    settled=(
        Settled(SIZE, "lab-a", "id-done", "done", "bob", Outcome.UNCHANGED, "already so", "RUNNING"),
        Settled(SIZE + 1, "lab-a", "id-owed", "owed", "bob", Outcome.NOT_STARTED, "owed by run X", "STOPPED"),
    ),
    rollout=Rollout(soak=30.0, concurrency=3, max_unavailable={"fleet": Share(3), "owner": Share(2)}),
)


@cache
def its_events(item: int) -> st.SearchStrategy[Event]:
    """Anything that may be recorded of a change."""
    writes = st.sampled_from([Step.STOP, Step.PUT, Step.START, Step.LEASE])
    statuses = st.sampled_from([Status.RUNNING, Status.STOPPED, Status.STOPPING, Status.STARTING])
    sights = st.builds(
        Sight,
        statuses,
        st.sampled_from([{"image_id": OLD}, {"image_id": NEW}]),
        st.sampled_from([None, LEASE]),
    )
    here, at = st.just(item), st.just(0.0)
    return st.one_of(
        st.builds(Began, here, at),
        st.builds(Saw, here, at, sights, sends=st.integers(0, 2)),
        st.builds(Intended, here, at, writes, st.just(1)),
        st.builds(Answered, here, at, writes, st.sampled_from(Fate)),
        st.builds(Blind, here, at, st.just(Meaning.GONE), st.just("no")),
        st.builds(Late, here, at),
        st.builds(Reopened, here, at),
        st.builds(
            Ended, here, at, st.sampled_from(Outcome), st.sampled_from(["", "\udc80 odd"]), st.booleans()
        ),
    )


@cache
def runs_events() -> st.SearchStrategy[Event]:
    """Anything that may be recorded of the run itself."""
    at, text = st.just(0.0), st.sampled_from(["", "because"])
    return st.one_of(
        st.builds(RunResumed, at),
        st.builds(WaveStarted, at, st.integers(1, 3), st.just(4)),
        st.builds(WaveEnded, at, st.integers(1, 3), st.booleans()),
        st.builds(Slowed, at, st.just("key"), text),
        st.builds(Held, at, st.sampled_from(["here", "there"]), text),
        st.builds(OutOfReach, at, st.sampled_from(["x", "y"]), text, st.just(90.0)),
        st.builds(Steered, at, st.just("paused")),
        st.builds(Spent, at, st.just("lab-a"), st.just({"list": 3, "get": 1})),
        st.builds(RunEnded, at, st.sampled_from(RunEnd), text),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A run whose changes take any way; as a rule, nothing follows a final end."""
    final: set[int] = set()
    events: list[Event] = [RunStarted(100.0, RUN, PLAN.digest)]
    now, strict = 100.0, draw(st.integers(0, 9)) > 0
    for _ in range(draw(st.integers(0, 60))):
        now += draw(st.sampled_from([0.0, 0.3, 1.0, 7.0, 40.0, -0.2]))
        items = sorted(set(range(SIZE)) - final) if strict else range(SIZE)
        of_run = not items or draw(st.integers(0, 4)) == 0
        event = draw(runs_events() if of_run else st.sampled_from(items).flatmap(its_events))
        if isinstance(event, Ended) and not event.debt:
            open_end = event.outcome in (Outcome.STRANDED, Outcome.UNKNOWN, Outcome.NOT_STARTED)
            final |= set() if open_end else {event.item}
        events.append(msgspec.structs.replace(event, at=now))
    return events


def opened(folder: Path) -> JournalFile:
    (folder / RUN).mkdir(mode=0o700)
    file = JournalFile.create(folder / RUN / JOURNAL, PLAN, RUN)
    file.gauge = Progress(PLAN)
    return file


def told(folder: Path, now: float) -> Any:
    """Everything that the status of a run says, and the list of runs."""
    standing = look_at(folder, now)
    rest = standing.snapshot, standing.under_way, standing.report.debts, standing.report.undoable
    return as_object(standing, None), list(screen(standing, None, now)), *rest, listed(folder)


def listed(folder: Path) -> RunSummary:
    (found,) = list_runs(folder.parent)
    return replace(found, dir=Path())


def is_brief(folder: Path) -> bool:
    with JournalReader(folder / JOURNAL) as reader:
        return reader.brief() is not None


@contextmanager
def copied(folder: Path, *statements: str) -> Iterator[Path]:
    """The run as a process left it that was killed now, altered so."""
    with tempfile.TemporaryDirectory() as base:
        copy = Path(base) / RUN
        shutil.copytree(folder, copy)
        with closing(sqlite3.connect(copy / JOURNAL, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        yield copy


@pytest.mark.row(43)
@given(histories(), st.data())
def test_what_the_balance_tells_is_what_all_the_events_tell(events: list[Event], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(1, len(events)), min_size=1, max_size=3)))
    now = events[-1].at + data.draw(st.sampled_from([0.0, 4.0, 3000.0]))
    with tempfile.TemporaryDirectory() as base:
        file = opened(Path(base))
        for first, last in zip([0, *cuts], cuts, strict=False):
            file.save(events[first:last])
            file.keep_balance(now=True)
        file.save(events[cuts[-1] :])
        folder = file.path.parent
        live = told(folder, now)
        with copied(folder) as dead, copied(folder, "DELETE FROM balance") as whole:
            assert not is_brief(whole)
            assert told(dead, now) == told(whole, now)
        file._connection.execute("DELETE FROM balance")
        assert live == told(folder, now)
        file.close()


BUSY: list[Event] = [
    RunStarted(100.0, RUN, PLAN.digest),
    *(Began(item, 101.0 + item) for item in range(6)),
    Intended(0, 110.0, Step.STOP, 1),
    Answered(0, 110.5, Step.STOP, Fate.ACCEPTED),
    Intended(1, 111.0, Step.PUT, 1),
    Answered(1, 112.0, Step.PUT, Fate.ACCEPTED),
    Ended(1, 113.0, Outcome.CHANGED),
    Intended(2, 113.0, Step.STOP, 1),
    Ended(2, 114.0, Outcome.STRANDED, "no machine", debt=True),
    Ended(3, 115.0, Outcome.FAILED, "refused"),
]
LATER: list[Event] = [Ended(4, 116.0, Outcome.CHANGED), Began(7, 117.0), Ended(8, 118.0, Outcome.NOT_STARTED)]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[JournalFile]:
    """A run in its midst, with a balance that some events followed."""
    file = opened(tmp_path)
    file.save(BUSY)
    file.keep_balance(now=True)
    file.save(LATER)
    yield file
    file.close()


def test_only_changes_that_still_matter_are_read_again(busy: JournalFile) -> None:
    with JournalReader(busy.path) as reader:
        brief = reader.brief()
        assert brief is not None
        assert "plan" not in vars(reader)
    assert {change.item for change in brief.plan.changes} == {0, 2, 4, 5, 7, 8}
    assert len(brief.news) == len(LATER)
    assert brief.counts(over=False)["failed"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE balance SET value = substr(value, 1, length(value) / 2)",
        "UPDATE balance SET value = CAST(replace(CAST(value AS TEXT), 'failed\":1', 'failed\":3') AS BLOB)",
        "UPDATE balance SET value = 'text'",
        "UPDATE balance SET seq = seq - 1",
        "UPDATE balance SET seq = seq + 100",
        "UPDATE balance SET crc = crc + 1",
        "DELETE FROM balance",
        "DROP TABLE balance",
        "UPDATE event SET body = replace(body, '110.0', '110.1') WHERE seq = 8",  # of a change under way
        "DELETE FROM event WHERE seq = 8",
        "UPDATE event SET crc = crc + 1 WHERE seq = 16",  # the one that the balance ends with
        "UPDATE event SET crc = crc + 1 WHERE seq = 18",  # a later one
        "DELETE FROM event WHERE seq = 17",
        "DELETE FROM event WHERE seq > 14",
    ],
)
def test_a_balance_that_is_not_sound_is_as_good_as_none(busy: JournalFile, damage: str) -> None:
    folder = busy.path.parent
    with copied(folder, damage) as broken, copied(folder, damage, "DROP TABLE IF EXISTS balance") as without:
        assert not is_brief(broken)
        assert told(broken, 120.0) == told(without, 120.0)
        with JournalReader(broken / JOURNAL) as one, JournalReader(without / JOURNAL) as other:
            one.fold()
            other.fold()
            assert one.damage == other.damage


def test_a_plan_that_is_damaged_is_told_as_ever(busy: JournalFile) -> None:
    other = "CAST(replace(CAST(value AS TEXT), 'nb-10', 'nb-xx') AS BLOB)"
    damage = f"UPDATE meta SET value = {other} WHERE key = 'plan'"  # noqa: S608 - our own words
    with (
        copied(busy.path.parent, damage) as broken,
        pytest.raises(JournalError, match="plan in it is damaged"),
    ):
        look_at(broken, 120.0)


def test_something_that_follows_a_final_end_is_told_by_all_the_events(busy: JournalFile) -> None:
    busy.save([Reopened(3, 119.0)])
    assert not is_brief(busy.path.parent)
    busy.keep_balance(now=True)  # it cannot be told in a balance either
    assert not is_brief(busy.path.parent)


def test_a_run_that_is_taken_up_has_its_balance_at_once(busy: JournalFile) -> None:
    with copied(busy.path.parent, "DROP TABLE balance") as folder:  # as of an older version
        file = JournalFile.reopen(folder / JOURNAL, measure=Progress)
        file.keep_balance()
        assert not is_brief(folder)
        file.save([RunResumed(200.0), Reopened(0, 201.0)])
        assert not is_brief(folder)
        file.keep_balance()
        assert is_brief(folder)
        file.save([Reopened(8, 202.0), Ended(0, 203.0, Outcome.CHANGED)])
        in_brief = told(folder, 210.0)
        file._connection.execute("DELETE FROM balance")
        assert in_brief == told(folder, 210.0)
        file.close()
        assert is_brief(folder)


def test_a_balance_comes_once_in_so_many_events(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.save([RunStarted(100.0, RUN, PLAN.digest), *(Steered(101.0, "paused") for _ in range(EVERY - 2))])
    file.keep_balance()
    assert not is_brief(file.path.parent)
    file.save([Steered(102.0, "resumed")])
    file.keep_balance()
    assert is_brief(file.path.parent)
    file.close()


class Broken(Progress):
    """Cannot count."""

    def apply(self, event: Event) -> None:
        raise KeyError(event.kind)


def test_events_are_kept_though_nobody_can_count_them(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.gauge = Broken(PLAN)
    file.save(BUSY)
    file.close()
    assert not is_brief(file.path.parent)
    assert look_at(file.path.parent, 120.0).report.counts["failed"] == 1


def test_what_the_plan_left_out_is_nothing_to_resume(tmp_path: Path) -> None:
    file = opened(tmp_path)
    ends = (Ended(change.item, 101.0, Outcome.CHANGED) for change in PLAN.changes)
    file.save([RunStarted(100.0, RUN, PLAN.digest), *ends, RunEnded(102.0, RunEnd.FINISHED)])
    file.close()
    folder = file.path.parent
    assert is_brief(folder)
    with copied(folder, "DELETE FROM balance") as whole:
        assert told(folder, 120.0) == told(whole, 120.0)
    assert not any("fleet resume" in line for line in screen(look_at(folder, 120.0), None, 120.0))


def test_a_staged_plan_is_told_by_all_its_events(tmp_path: Path) -> None:
    """Its notebooks have several changes, and only the rows of all of them make theirs."""
    staged = make_plan(make_change(), make_change(1, id=make_change().id, wave=2, stage=2, follows=0))
    (tmp_path / RUN).mkdir(mode=0o700)
    file = JournalFile.create(tmp_path / RUN / JOURNAL, staged, RUN)
    file.gauge = Progress(staged)
    file.save([RunStarted(100.0, RUN, staged.digest), Began(0, 101.0), Ended(0, 102.0, Outcome.CHANGED)])
    file.close()
    assert not is_brief(file.path.parent)


def test_a_run_that_is_taken_up_without_a_balance_of_it_is_told_by_all_its_events(tmp_path: Path) -> None:
    """What was left out waits again, and a balance from before does not know how."""
    file = opened(tmp_path)
    file.save([RunStarted(100.0, RUN, PLAN.digest), Ended(0, 101.0, Outcome.NOT_STARTED, "group closed")])
    file.keep_balance(now=True)
    file.save([RunResumed(200.0)])
    folder = file.path.parent
    assert not is_brief(folder)
    with copied(folder) as dead, copied(folder, "DELETE FROM balance") as whole:
        assert told(dead, 210.0) == told(whole, 210.0)
    file.close()


def test_a_put_that_nobody_answered_may_be_taken_back(tmp_path: Path) -> None:
    file = opened(tmp_path)
    put = (
        Began(0, 101.0),
        Intended(0, 102.0, Step.PUT, 1),
        Reopened(0, 150.0),
        Ended(0, 151.0, Outcome.GONE),
    )
    file.save([RunStarted(100.0, RUN, PLAN.digest), *put])
    file.close()
    folder = file.path.parent
    assert is_brief(folder)
    with copied(folder, "DELETE FROM balance") as whole:
        assert told(folder, 160.0) == told(whole, 160.0)
    assert look_at(folder, 160.0).report.undoable


def test_calls_of_one_instant_are_kept_as_one() -> None:
    progress = Progress(PLAN)
    for at in (100.0, 100.0, 100.0, 105.0):
        progress.apply(Spent(at, "lab-a", {"list": 2}))
    assert progress.dump(())["calls"] == [(100.0, 6), (105.0, 2)]
    assert progress.snapshot(106.0).calls_per_second == 0.8
    assert progress.snapshot(111.0).calls_per_second == 0.2
