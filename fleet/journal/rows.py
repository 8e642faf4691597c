"""Values as rows of the journal's tables, each with its checksum in the last column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from zlib import crc32

from msgspec import to_builtins
from pydantic_core import to_json

from fleet.core.events import Event, dump_event, load_event
from fleet.core.planning.plan import Change, Plan, Settled

FORMAT = 2
EVENT = "SELECT seq, body, crc FROM event"
ADD_EVENT = "INSERT INTO event VALUES (?, ?, ?)"

Cell = int | float | str | bytes | None
Record = tuple[Cell, ...]


def checksum(cells: Sequence[Cell]) -> int:
    """CRC-32 of the cells as Python writes them, which shows type and value."""
    return crc32(repr(tuple(cells)).encode())


def sealed(cells: Record) -> Record:
    """The row with its checksum."""
    return (*cells, checksum(cells))


def intact(record: Record) -> bool:
    """Whether the last cell is the checksum of the others."""
    return record[-1] == checksum(record[:-1])


def meta_record(key: str, value: bytes) -> Record:
    """Its checksum is over the bare bytes: the plan is large, and nothing of it is copied so."""
    return key, value, crc32(value, crc32(key.encode()))


def meta_intact(record: Record) -> bool:
    """Whether the last cell is the one that `meta_record` put there."""
    key, value, crc = record
    if not isinstance(key, str) or not isinstance(value, bytes):
        return False
    return crc == crc32(value, crc32(key.encode("utf-8", "surrogateescape")))


def event_record(seq: int, event: Event) -> Record:
    """Its checksum begins with the number and is over the bare bytes: nothing costs a run more than these."""
    try:
        body = dump_event(event)
    except ValueError:
        body = _lenient(event)
    return seq, body.decode(), crc32(body, seq)


def event_of(record: Record) -> Event | None:
    """The event in a row that EVENT selected; None when the row is not as it was written."""
    seq, body, crc = record
    if not isinstance(seq, int) or not isinstance(body, str):
        return None
    raw = body.encode("utf-8", "surrogateescape")
    if crc != crc32(raw, seq):
        return None
    try:
        return load_event(raw)
    except ValueError:
        return None


def _lenient(event: Event) -> bytes:
    """A lone surrogate in foreign text has no UTF-8 form. No notebook's name may keep us from recording."""
    return json.dumps(to_builtins(event), ensure_ascii=False).encode("utf-8", "replace")


def item_records(plan: Plan) -> Iterator[Record]:
    """A row for every selected notebook, in the order of the plan."""
    yield from map(_change_record, plan.changes)
    yield from map(_settled_record, plan.settled)


def _change_record(change: Change) -> Record:
    lease, before, after = _json(change.lease), _json(change.before), _json(change.after)
    who = (change.scope, change.id, change.name, change.owner)
    return sealed((change.item, *who, change.wave, change.run_state.value, lease, before, after, None, ""))


def _settled_record(row: Settled) -> Record:
    lease, values = _json(row.lease), _json(row.values)
    who = (row.scope, row.id, row.name, row.owner)
    return sealed((row.item, *who, None, row.run_state, lease, values, values, row.outcome.value, row.reason))


def _json(value: object) -> str:
    return to_json(value, fallback=to_builtins).decode()
