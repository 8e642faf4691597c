"""The balance of a journal: what its events up to one of them add up to, kept beside them by the writer.

With it, how a run stands is told from the events of changes that are under way or owed, and from those that
came later. It proves nothing: if anything is odd about it, or about an event that it needs, all are read.
What it does not need it does not see: damage in the events of changes that are over is found by a fold.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

from fleet.core.events import ChangeEvent, Event, Outcome, RunResumed
from fleet.core.fold import RunState, count
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import plan_excerpt
from fleet.journal.rows import EVENT, event_of
from fleet.journal.tally import Tally, is_final

FORMAT = 1
EVERY = 4096  # events between two balances, or more when it is large:
BYTES_AN_EVENT = 64

_CHUNK = 1 << 20


class Gauge(Protocol):
    """What else is counted from the events, by whoever tells of the run; kept in the balance."""

    def apply(self, event: Event) -> None:
        """Takes in the next event."""

    def dump(self, items: Collection[int]) -> Mapping[str, Any]:
        """What was counted, as JSON; of single changes only what concerns `items`."""


@dataclass(frozen=True, slots=True)
class Brief:
    """A run as it stands, from its balance on.

    `plan` and `state` hold only changes that are under way or owed, those that later events are about, and
    what the plan left out.
    `events` are those that `state` was made of, `news` the ones after the balance. `gauge` is what a Gauge
    dumped; `written` says that some change left out here had a PUT accepted, or may have had.
    """

    plan: Plan
    state: RunState
    events: tuple[Event, ...]
    news: tuple[Event, ...]
    gauge: Mapping[str, Any]
    written: bool
    _others: Counter[str]
    _untouched: int

    def counts(self, *, over: bool) -> dict[str, int]:
        """The outcomes of all notebooks, as `count` has them of all the rows of `RunState.rows`."""
        over = over or self.state.end is not None
        found = Counter(count(self.state.rows(over=over))) + self._others
        found[Outcome.NOT_STARTED.value if over else "open"] += self._untouched
        counts = {outcome.value: found[outcome.value] for outcome in Outcome}
        return {**counts, "open": found["open"]} if found["open"] else counts


def balance_record(tally: Tally, gauge: Gauge) -> tuple[int, bytes, int]:
    """The row of the balance, of what both have taken in."""
    dumped = {"format": FORMAT, "tally": tally.dump(), "gauge": gauge.dump(tally.seqs.keys())}
    # A lone surrogate in foreign text has no UTF-8 form: here it becomes what it became in its event.
    value = json.dumps(dumped, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return tally.seq, value, _checksum(tally.seq, value)


def _checksum(seq: int, value: bytes) -> int:
    """Over the bare bytes, of which nothing is copied."""
    return crc32(value, crc32(b"%d" % seq))


def next_balance(seq: int, value: bytes) -> int:
    """The number of the event after which another one is due."""
    return seq + max(EVERY, len(value) // BYTES_AN_EVENT)


def read_brief(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> Brief | None:
    """How the run stands, from its balance on; None when only all the events can tell."""
    try:
        return _brief(connection, meta)
    except (sqlite3.Error, ValueError):
        return None


def _brief(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> Brief | None:
    row = connection.execute("SELECT seq, value, crc FROM balance ORDER BY seq DESC LIMIT 1").fetchone()
    if row is None or not isinstance(row[1], bytes) or row[2] != _checksum(*row[:2]):
        return None
    seq, balance = row[0], json.loads(row[1])
    if balance["format"] != FORMAT:
        return None
    news = _news(connection, seq, meta)
    tally, final = balance["tally"], bytes.fromhex(balance["tally"]["final"])
    touched = {event.item for event in news if isinstance(event, ChangeEvent)}
    if any(is_final(final, item) for item in touched if item >> 3 < len(final)):
        return None
    pending, resting = dict(tally["pending"]), {item: (end, seqs) for item, end, seqs in tally["resting"]}
    again = resting.keys() & touched
    needed = [*tally["course"], *(number for seqs in pending.values() for number in seqs)]
    needed += [number for item in again for number in resting[item][1]]
    events = (*(_event_at(connection, number) for number in sorted(needed)), *news)
    plan = _excerpt(connection, pending.keys() | touched, meta)
    state = RunState(plan, run=meta["run"])
    for event in events:
        state.apply(event)
    state.at = max(state.at, tally["at"])
    others = Counter(tally["counts"])
    others.subtract(resting[item][0] for item in again)
    others.subtract(row.outcome.value for row in plan.settled)
    untouched = tally["untouched"] - len(touched - pending.keys() - resting.keys())
    return Brief(plan, state, events, news, balance["gauge"], tally["written"], others, untouched)


def _news(connection: sqlite3.Connection, seq: int, meta: Mapping[str, Any]) -> tuple[Event, ...]:
    """The events after number `seq`, which must be there itself. Raises ValueError when any is damaged.

    A run that was taken up has its balance with that event, so one without it was written in its last moment.
    """
    found = []
    for due, record in enumerate(connection.execute(f"{EVENT} WHERE seq >= ? ORDER BY seq", (seq,)), seq):
        event = event_of(record)
        if event is None or record[0] != due or (isinstance(event, RunResumed) and due > seq):
            raise ValueError(f"no use of event {due}")
        found.append(event)
    if not found or meta.get("final", {}).get("events", 0) >= seq + len(found):
        raise ValueError("the last events are missing")
    return tuple(found[1:])


def _event_at(connection: sqlite3.Connection, seq: int) -> Event:
    record = connection.execute(f"{EVENT} WHERE seq = ?", (seq,)).fetchone()
    event = None if record is None else event_of(record)
    if event is None:
        raise ValueError(f"no use of event {seq}")
    return event


def _excerpt(connection: sqlite3.Connection, items: Collection[int], meta: Mapping[str, Any]) -> Plan:
    """The plan with these changes only. Raises ValueError when it is not whole, or they are not in it."""
    lines = _plan_lines(connection)
    plan = plan_excerpt(lines, items)
    for _ in lines:
        pass  # to its end, where the checksum is
    if plan.digest != meta["digest"]:
        raise ValueError("the plan is not the one that the run began with")
    return plan


def _plan_lines(connection: sqlite3.Connection) -> Iterator[bytes]:
    """The lines of the plan, which never lies in memory as a whole."""
    row, crc = connection.execute("SELECT rowid, crc FROM meta WHERE key = 'plan'").fetchone() or (0, 0)
    found, rest = crc32(b"plan"), b""
    with connection.blobopen("meta", "value", row, readonly=True) as blob:
        while chunk := blob.read(_CHUNK):
            found = crc32(chunk, found)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    if found != crc:
        raise ValueError("the plan is damaged")
