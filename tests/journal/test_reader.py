"""Reading beside a writer, and what is told about files that are damaged."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.events import Event, Outcome, RunEnd, Slowed
from fleet.core.fold import fold
from fleet.core.pacing.limits import Limit
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.journal.errors import JournalDamage, JournalError
from fleet.journal.reader import JournalReader, read_journal
from fleet.journal.rows import checksum, event_of, event_record, intact, meta_record, sealed
from fleet.journal.sqlite import JournalFile

RUN = "20261130-081500-k3f9"


def fill(path: Path, plan: Plan, events: Sequence[Event]) -> JournalFile:
    """A journal with a commit for every event, still open."""
    file = JournalFile.create(path, plan, RUN)
    for event in events:
        file.save([event])
    return file


def folder_copy(path: Path, name: str) -> Path:
    """The files of the journal as a crash would leave them."""
    target = path.parent.parent / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, target)
    return target / path.name


def test_a_reader_sees_what_is_committed_while_the_run_goes_on(
    path: Path, plan: Plan, history: list[Event]
) -> None:
    journal = fill(path, plan, history[:4])
    with JournalReader(path) as reader:
        assert list(reader.events()) == history[:4]
        journal.save([history[4]])  # a reader holds nobody up
    assert list(read_journal(path).events) == history[:5]
    journal.close()


def test_a_reader_changes_no_byte_of_a_run_that_broke_off(
    path: Path, plan: Plan, history: list[Event]
) -> None:
    journal = fill(path, plan, history)
    left = folder_copy(path, "left")
    journal.close()
    before = {file.name: file.read_bytes() for file in left.parent.iterdir()}
    assert list(read_journal(left).events) == history
    after = {file.name: file.read_bytes() for file in left.parent.iterdir() if not file.name.endswith("-shm")}
    assert after == before


def test_the_journal_alone_tells_the_state_of_the_run(path: Path, plan: Plan, history: list[Event]) -> None:
    fill(path, plan, history).close()
    with JournalReader(path) as reader:
        state = reader.fold()
    assert state == fold(plan, history)
    assert (state.end, state.rows()[0].outcome) == (RunEnd.FINISHED, Outcome.CHANGED)


def test_the_item_table_tells_the_plan_to_whoever_has_only_sqlite(
    path: Path, plan: Plan, history: list[Event]
) -> None:
    fill(path, plan, history).close()
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT item, id, run_state, before, after, outcome FROM item").fetchall()
    connection.close()
    assert rows[0][:3] == (0, plan.changes[0].id, "RUNNING")
    assert json.loads(rows[0][3]) == plan.changes[0].before
    assert json.loads(rows[0][4]) == plan.changes[0].after
    assert rows[3][5] == "unchanged"


def test_no_journal_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        read_journal(tmp_path / "journal.db")


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_journal_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        read_journal(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.row(47, 49)
def test_a_wal_cut_anywhere_leaves_a_clean_prefix(path: Path, plan: Plan, history: list[Event]) -> None:
    journal = fill(path, plan, [])
    journal.checkpoint()
    for event in history:
        journal.save([event])
    left = folder_copy(path, "left")
    journal.close()
    wal = left.with_name(f"{left.name}-wal").read_bytes()
    seen = set()
    for offset in sorted(random.Random(7).sample(range(len(wal)), 120)):
        cut = folder_copy(left, "cut")
        cut.with_name(f"{cut.name}-wal").write_bytes(wal[:offset])
        contents = read_journal(cut)
        assert list(contents.events) == history[: len(contents.events)]
        assert contents.damage == ()
        seen.add(len(contents.events))
    assert len(seen) > len(history) // 2


@pytest.mark.row(47)
def test_a_flipped_bit_is_never_taken_for_the_truth(
    path: Path, make_plan: Callable[[int], Plan], history: list[Event]
) -> None:
    plan = make_plan(3)
    events: list[Event] = [*history, *(Slowed(float(number), "key", "x" * 80) for number in range(400))]
    fill(path, plan, events).close()
    original = path.read_bytes()
    damaged = refused = 0
    rng = random.Random(11)
    for _ in range(120):
        place = rng.randrange(len(original))
        flipped = bytearray(original)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            contents = read_journal(path)
        except JournalError:
            refused += 1
            continue
        assert contents.plan == plan
        if contents.damage:
            damaged += 1
        else:
            assert list(contents.events) == events
        positions = [events.index(event) for event in contents.events]
        assert all(first < second for first, second in pairwise(positions))
    assert damaged > 30
    assert refused > 2


@pytest.mark.row(47)
def test_a_damaged_row_is_listed_and_the_others_are_read(
    path: Path, plan: Plan, history: list[Event]
) -> None:
    fill(path, plan, history).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE event SET body = replace(body, 'began', 'Began') WHERE seq = 2")
    connection.execute("DELETE FROM event WHERE seq IN (5, 6)")
    connection.execute("DELETE FROM event WHERE seq = ?", (len(history),))
    connection.execute("UPDATE item SET owner = 'eve' WHERE item = 1")
    connection.commit()
    connection.close()
    contents = read_journal(path)
    assert contents.damage == (
        JournalDamage("item", 1, 1, "wrong checksum"),
        JournalDamage("event", 2, 2, "wrong checksum"),
        JournalDamage("event", 5, 6, "missing"),
        JournalDamage("event", len(history), len(history), "missing"),
    )
    assert str(contents.damage[2]) == "event rows 5 to 6: missing"
    kept = [event for seq, event in enumerate(history, start=1) if seq not in (2, 5, 6, len(history))]
    assert list(contents.events) == kept
    with JournalReader(path) as reader:
        assert reader.fold().gaps


def test_of_any_damage_what_had_begun_has_an_end_as_no_process_goes_on_with_it(
    path: Path, plan: Plan, history: list[Event]
) -> None:
    fill(path, plan, history[:8]).close()
    with JournalReader(path) as reader:
        rows = reader.fold().rows(over=True)
        assert (rows[0].outcome, rows[0].debt) == (None, True)  # fleet resume brings it home
    connection = sqlite3.connect(path)
    connection.execute("UPDATE item SET owner = 'eve' WHERE item = 1")
    connection.commit()
    connection.close()
    with JournalReader(path) as reader:
        state = reader.fold()
        assert (state.gaps, state.rows(over=True)[0].outcome) == (False, Outcome.STRANDED)


def test_broken_text_is_a_damaged_row(path: Path, plan: Plan, history: list[Event]) -> None:
    fill(path, plan, history).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE event SET body = CAST(x'ff22' AS TEXT) WHERE seq = 4")
    connection.commit()
    connection.close()
    contents = read_journal(path)
    assert contents.damage == (JournalDamage("event", 4, 4, "wrong checksum"),)
    assert list(contents.events) == [*history[:3], *history[4:]]


def test_what_lies_behind_a_broken_page_is_still_read(path: Path, plan: Plan) -> None:
    events: list[Event] = [Slowed(float(number), "key", "x" * 80) for number in range(400)]
    fill(path, plan, events).close()
    content = bytearray(path.read_bytes())
    pages = [
        place for place in range(0, len(content), 4096) if content.count(b"x" * 80, place, place + 4096) > 5
    ]
    broken = pages[len(pages) // 2]
    content[broken : broken + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    contents = read_journal(path)
    assert contents.events[0] == events[0]
    assert contents.events[-1] == events[-1]
    assert 0 < len(events) - len(contents.events) < 50
    (damage,) = contents.damage
    assert int(damage.last) - int(damage.first) + 1 == len(events) - len(contents.events)


@pytest.mark.row(47)
def test_a_damaged_journal_is_not_written_to(path: Path, plan: Plan, history: list[Event]) -> None:
    fill(path, plan, history).close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM event WHERE seq = 3")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="damaged"):
        JournalFile.reopen(path)
    assert path.read_bytes() == before


@pytest.mark.row(55)
def test_an_altered_plan_is_refused(path: Path, plan: Plan) -> None:
    fill(path, plan, []).close()
    other = dump_plan(plan).replace(b'"job": "torch"', b'"job": "touch"')
    _, *record = meta_record("plan", other)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'plan'", record)
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="altered"):
        read_journal(path)


def test_another_plan_with_a_seal_of_its_own_is_refused(
    path: Path, plan: Plan, make_plan: Callable[[int], Plan]
) -> None:
    fill(path, plan, []).close()
    other = dump_plan(make_plan(1))
    load_plan(other, "other")  # sound in itself
    _, *record = meta_record("plan", other)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'plan'", record)
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="not the one that the run began with"):
        read_journal(path)


@pytest.mark.row(55)
@pytest.mark.parametrize("number", [1, 3])
def test_a_journal_of_another_format_is_refused(path: Path, plan: Plan, number: int) -> None:
    fill(path, plan, []).close()
    _, *record = meta_record("format", b"%d" % number)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ?, crc = ? WHERE key = 'format'", record)
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match=f"is of format {number}, this version reads journals of format 2"):
        read_journal(path)


numbers = st.floats(allow_nan=False).map(lambda number: number + 0.0)  # SQLite knows no negative zero
cells = st.one_of(
    st.integers(-(2**62), 2**62),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.none(),
    st.floats(allow_nan=False),
)


@given(st.lists(cells, min_size=1, max_size=5), st.integers(0, 4), cells)
def test_a_row_is_intact_only_as_it_was_sealed(row: list[int], place: int, other: int) -> None:
    record = sealed(tuple(row))
    assert intact(record)
    place %= len(row)
    changed = (*record[:place], other, *record[place + 1 :])
    assert intact(changed) == (checksum(changed[:-1]) == record[-1])
    if repr(other) != repr(row[place]):
        assert not intact(changed)


@given(st.integers(1, 2**31), st.text(max_size=8), st.data())
def test_an_event_is_told_only_from_its_own_row_as_it_was_written(
    seq: int, text: str, data: st.DataObject
) -> None:
    event = Slowed(1.5, "key", text.encode("utf-8", "ignore").decode())
    number, body, crc = record = event_record(seq, event)
    assert event_of(record) == event
    assert event_of((data.draw(st.integers(1, 2**31).filter(lambda other: other != seq)), body, crc)) is None
    place = data.draw(st.integers(0, len(str(body)) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != str(body)[place]))
    assert event_of((number, f"{str(body)[:place]}{other}{str(body)[place + 1 :]}", crc)) is None
    assert event_of((number, str(body).encode(), crc)) is None


def test_a_name_without_a_utf_8_form_is_recorded_all_the_same() -> None:
    told = event_of(event_record(7, Slowed(1.5, "key", "a\ud800b", Limit("user", 3, 1.0))))
    assert told == Slowed(1.5, "key", "a?b", Limit("user", 3, 1.0))


@given(st.lists(cells, min_size=3, max_size=3))
def test_sqlite_gives_back_every_sealed_row_intact(row: list[int]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b, c, crc)")
    connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", sealed(tuple(row)))
    assert intact(connection.execute("SELECT * FROM t").fetchone())
    connection.close()
