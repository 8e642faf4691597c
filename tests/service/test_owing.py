"""What a run that nobody works on owes, by its journal, to a later run with a plan of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.events import Answered, Began, Ended, Event, Fate, Intended, Outcome, Saw, Step
from fleet.core.fold import fold
from fleet.core.notebook import Status
from fleet.core.planning.plan import Change, Plan, PlanScope
from fleet.journal.errors import JournalError
from fleet.journal.rows import meta_record
from fleet.journal.runs import JOURNAL
from fleet.journal.writer import InlineJournal
from fleet.service.owing import Debts, Owing, claim_key
from fleet.service.recovering import remains
from fleet.service.running import reopen_run
from tests.plans import NEW, OLD, make_change, make_plan

RUN = "20261130-081500-k3f9"
SCOPE = PlanScope("lab-a", "cn-north-4", "0" * 32, "https://X.example.com/", 1, "key", "")
DIED = 2000.0
STOPPED: tuple[Event, ...] = (
    Began(0, 1900.0),
    Saw(0, 1901.0, Sight(Status.RUNNING, {"image_id": OLD})),
    Intended(0, 1902.0, Step.STOP, 1),
    Answered(0, DIED, Step.STOP, Fate.ACCEPTED, status=200),
)
CHANGED: tuple[Event, ...] = (
    *STOPPED,
    Saw(0, DIED, Sight(Status.STOPPED, {"image_id": OLD})),
    Intended(0, DIED, Step.PUT, 1, {"image_id": NEW}),
    Answered(0, DIED, Step.PUT, Fate.ACCEPTED, status=200),
    Saw(0, DIED, Sight(Status.STOPPED, {"image_id": NEW})),
    Intended(0, DIED, Step.START, 1, {"duration": -1}),
    Answered(0, DIED, Step.START, Fate.ACCEPTED, status=200),
    Saw(0, DIED, Sight(Status.RUNNING, {"image_id": NEW})),
    Saw(0, DIED, Sight(Status.RUNNING, {"image_id": NEW})),
    Ended(0, DIED, Outcome.CHANGED),
)


def plan_of(*changes: Change, at: float = 1000.0) -> Plan:
    return make_plan(*changes, scopes=(SCOPE,), created_at=at)


DEAD = plan_of(make_change(0), make_change(1))
KEYS = [claim_key(SCOPE, change.id) for change in DEAD.changes]


async def left(base: Path, events: Sequence[Event]) -> Path:
    """The folder of a run that died after these events."""
    folder = base / RUN
    folder.mkdir(parents=True)
    journal = InlineJournal.create(folder / JOURNAL, DEAD, RUN)
    for event in events:
        await journal.commit(event)
    journal.close()
    return folder


async def test_what_was_stopped_is_owed_and_what_was_not_begun_is_not(tmp_path: Path) -> None:
    folder = await left(tmp_path / "runs", STOPPED)
    debts = Debts(DEAD)
    assert list(debts.among(folder, KEYS)) == KEYS[:1]
    assert debts.reasons == {
        KEYS[0]: f"stopped by run {RUN}, which owes it: fleet resume {RUN} --run-dir {folder.parent}"
    }
    assert list(debts.among(folder, KEYS[1:])) == []


async def test_of_a_run_that_only_another_version_can_read_all_is_owed_and_that_version_is_named(
    tmp_path: Path,
) -> None:
    folder = await left(tmp_path / "runs", STOPPED)
    _, *sealed = meta_record("format", b"1")
    with closing(sqlite3.connect(folder / JOURNAL)) as connection, connection:
        connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'format'", sealed)
    debts = Debts(DEAD)
    assert list(debts.among(folder, KEYS)) == KEYS
    (reason,) = set(debts.reasons.values())
    assert reason == (
        f"claimed by run {RUN}, whose journal is of format 1, this version reads journals of format 2; "
        "use the version that began the run"
    )


async def test_a_run_in_another_place_is_named_with_it(tmp_path: Path) -> None:
    folder = await left(tmp_path / "over there", STOPPED)
    debts = Debts(DEAD)
    debts.among(folder, KEYS)
    assert debts.reasons[KEYS[0]].endswith(f"fleet resume {RUN} --run-dir '{tmp_path}/over there'")


@pytest.mark.parametrize(
    ("events", "owed"),
    [
        (STOPPED[:2], False),  # nothing was sent
        (STOPPED[:3], True),
        ((*STOPPED, Ended(0, DIED, Outcome.STRANDED, "no machine", True, "fleet start")), True),
        (CHANGED[:-4], True),
        (CHANGED, False),
        ((Ended(0, DIED, Outcome.NOT_STARTED, "claimed by another run"),), False),
    ],
    ids=["looked", "stop sent", "stranded", "written", "changed", "not started"],
)
async def test_how_far_it_got_says_what_is_owed(tmp_path: Path, events: Sequence[Event], owed: bool) -> None:
    folder = await left(tmp_path, events)
    assert bool(Debts(DEAD).among(folder, KEYS[:1])) is owed


@pytest.mark.parametrize(
    ("run_state", "arriving", "at", "owed"),
    [
        (Status.STOPPED, False, DIED + 1, True),
        (Status.RUNNING, False, DIED + 1, False),
        (Status.RUNNING, True, DIED + 1, True),
        (Status.RUNNING, False, DIED - 1, True),
    ],
    ids=["seen as we left it", "seen at home", "seen on its way", "seen before it was stopped"],
)
async def test_only_a_later_plan_that_saw_it_at_home_voids_a_debt(
    tmp_path: Path, run_state: Status, arriving: bool, at: float, owed: bool
) -> None:
    folder = await left(tmp_path, STOPPED)
    later = plan_of(make_change(5, run_state=run_state, arriving=arriving, id=DEAD.changes[0].id), at=at)
    assert bool(Debts(later).among(folder, KEYS)) is owed


async def test_what_was_sent_but_took_nothing_away_is_told_as_under_way(tmp_path: Path) -> None:
    sent = Intended(0, DIED, Step.PUT, 1, {"name": "new"})
    folder = await left(tmp_path, [STOPPED[0], sent])
    debts = Debts(DEAD)
    assert list(debts.among(folder, KEYS)) == KEYS[:1]
    assert debts.reasons[KEYS[0]].startswith(f"left under way by run {RUN}, which owes it: fleet resume")


def spoil(folder: Path, *rows: int, table: str = "event") -> Path:
    """The folder, with a wrong checksum in these rows."""
    key = {"event": "seq", "item": "item"}[table]
    with closing(sqlite3.connect(folder / JOURNAL, isolation_level=None)) as connection:
        for row in rows:
            connection.execute(f"UPDATE {table} SET crc = crc + 1 WHERE {key} = ?", (row,))  # noqa: S608
    return folder


NOT_STARTED = Ended(0, 1850.0, Outcome.NOT_STARTED, "cancelled")


@pytest.mark.row(47)
@pytest.mark.parametrize(
    ("events", "spoilt", "owed"),
    [
        (STOPPED, [3], True),
        (STOPPED, [3, 4], True),
        (STOPPED, [4], True),
        (STOPPED, [1, 2, 3, 4], True),
        ((NOT_STARTED, *STOPPED), [2, 3, 4, 5], True),
        ((*STOPPED, Ended(0, DIED, Outcome.STRANDED, "no machine", True, "fleet start")), [3], True),
        ((*STOPPED, Ended(0, DIED, Outcome.FAILED, "an error of our own", True, "fleet start")), [3], True),
        (CHANGED, [len(CHANGED)], True),
        (CHANGED, [3, 4], False),
    ],
    ids=[
        "stop lost",
        "stop and answer lost",
        "answer lost",
        "all lost",
        "begun after it was not started",
        "stranded",
        "failed away from home",
        "end lost",
        "end there",
    ],
)
async def test_what_a_damaged_journal_does_not_prove_to_have_ended_is_owed(
    tmp_path: Path, events: Sequence[Event], spoilt: Sequence[int], owed: bool
) -> None:
    folder = spoil(await left(tmp_path, events), *spoilt)
    debts = Debts(DEAD)
    assert list(debts.among(folder, KEYS)) == KEYS[not owed :]
    for reason in debts.reasons.values():
        look = f"see what it left with: fleet recover {RUN} --run-dir {tmp_path}"
        assert reason.endswith(f" by run {RUN}, whose journal is damaged; {look}; {END}{folder}")


END = "when it owes nothing, remove "


async def test_where_events_are_missing_no_later_plan_voids_a_debt(tmp_path: Path) -> None:
    folder = spoil(await left(tmp_path, STOPPED), 4)
    later = plan_of(make_change(5, id=DEAD.changes[0].id), at=DIED + 1)
    assert list(Debts(later).among(folder, KEYS[:1])) == KEYS[:1]


@pytest.mark.parametrize(("table", "row"), [("event", 4), ("item", 1)])
async def test_a_damaged_journal_is_refused_with_the_command_that_its_debts_name(
    tmp_path: Path, table: str, row: int
) -> None:
    folder = spoil(await left(tmp_path, STOPPED), row, table=table)
    with pytest.raises(JournalError, match=rf"damaged \({table} row .*see what .*: fleet recover {RUN}$"):
        reopen_run(folder)
    debts = Debts(DEAD)
    debts.among(folder, KEYS[:1])
    assert f"fleet recover {RUN}" in debts.reasons[KEYS[0]]
    assert "fleet resume" not in debts.reasons[KEYS[0]]
    still = remains(folder)
    assert ([one.item for one in still.plan.changes], still.ended) == (
        ([0, 1], 0) if table == "event" else ([0], 1)
    )


async def test_a_run_without_a_folder_owes_nothing(tmp_path: Path) -> None:
    assert list(Debts(DEAD).among(tmp_path / RUN, KEYS)) == []


async def test_a_journal_that_cannot_be_read_holds_everything_and_says_how_to_end_that(
    tmp_path: Path,
) -> None:
    folder = tmp_path / RUN
    folder.mkdir()
    (folder / JOURNAL).write_bytes(b"nonsense" * 1000)
    debts = Debts(DEAD)
    assert list(debts.among(folder, KEYS)) == KEYS
    assert debts.reasons[KEYS[1]].endswith(f"when it owes nothing, remove {folder}")


def test_a_run_knows_what_it_owes_by_its_own_events() -> None:
    owing = Owing({})
    for event in (*STOPPED, Intended(1, DIED, Step.STOP, 1), Ended(1, DIED, Outcome.CHANGED)):
        owing.see(event)
    assert owing.items == {0}
    owing.see(Ended(0, DIED, Outcome.STRANDED, "no machine", True, "fleet start"))
    assert owing.items == {0}
    owing.see(Ended(0, DIED, Outcome.FAILED, "an error of our own", True, "fleet start"))
    assert owing.items == {0}
    owing.see(Ended(0, DIED, Outcome.CHANGED))
    assert owing.items == set()


def test_a_run_that_is_taken_up_owes_what_it_owed() -> None:
    assert Owing(fold(DEAD, STOPPED).lives()).items == {0}
    assert Owing(fold(DEAD, STOPPED[:2]).lives()).items == set()
