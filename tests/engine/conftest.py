"""Shared by the engine's tests: a cloud in memory, a journal in a list, and virtual time.

The cloud takes its time by the event loop's clock, so that under virtual time an hour of stops and starts
costs nothing. Cloud and journal write into one log: the order of things is what is proven.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.core.calls import Rank, Reading, Receipt, SavedImage, Turn
from fleet.core.errors import CallError, Meaning, RecordingFailed
from fleet.core.events import Ended, Event, Outcome, RunEnd
from fleet.core.notebook import Image, Lease, LeaseType, Notebook, Status
from fleet.core.planning.plan import Change
from fleet.core.rollout import Rollout
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from tests.plans import make_change, make_plan
from tests.virtual import EPOCH, LoopClock, run_while

STOP_TAKES, START_TAKES, SAVE_TAKES = 60.0, 120.0, 240.0
POLL_EVERY = 20.0
LEASE = Lease(enable=True, create_at=int(EPOCH * 1000), duration=5 * 3_600_000, update_at=1)


@dataclass
class Log:
    """What happened, as words with the instant: calls, and commits when they are done."""

    entries: list[tuple[float, str]] = field(default_factory=list)

    def add(self, word: str) -> None:
        self.entries.append((asyncio.get_running_loop().time(), word))

    def words(self, *heads: str) -> list[str]:
        return [word for _, word in self.entries if not heads or word.split()[0] in heads]

    def count(self, head: str) -> int:
        return len(self.words(head))


class MemoryCloud:
    """One scope. `refuse[step]` holds errors to raise, one a call; with `strict`, a PUT wants STOPPED.

    Polls leave out the ids in `left_out`, whatever status they are in.
    """

    def __init__(self, notebooks: Iterable[Notebook], log: Log) -> None:
        self.notebooks = {row.id: row for row in notebooks}
        self.log = log
        self.due: dict[str, tuple[float, Status]] = {}
        self.refuse: dict[str, list[CallError]] = defaultdict(list)
        self.strict = False
        self.call_takes = 0.1
        self.away: set[str] = set()
        self.most_away = 0
        self.left_out: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.ranks: list[tuple[str, Rank]] = []  # of turns, looks and writes
        self.lists = 1  # requests that a poll takes
        self.images: dict[str, str] = {}  # that were saved, with their status
        self.made_at = 0.0

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def read(self, key: str) -> Notebook:
        """The notebook as it is by now."""
        if key in self.due and self._now() >= self.due[key][0]:
            self.notebooks[key] = replace(self.notebooks[key], status=self.due.pop(key)[1])
        row = self.notebooks[key]
        if row.status is Status.RUNNING:
            self.away.discard(key)
        return row

    def _raise(self, step: str) -> None:
        if self.refuse[step]:
            raise self.refuse[step].pop(0)

    async def turn(self, rank: Rank) -> Turn:
        self._raise("turn")
        self.log.add("turn")
        self.ranks.append(("turn", rank))
        return Turn(self._now(), rank=rank)

    async def look(self, notebook_id: str, rank: Rank) -> Reading:
        self.calls["get"] += 1
        self.ranks.append(("look", rank))
        await asyncio.sleep(self.call_takes)
        self.log.add(f"look {notebook_id}")
        self._raise("look")
        return Reading(self.read(notebook_id), "request")

    async def poll(self, statuses: Collection[Status], rank: Rank = Rank.AWAY) -> list[str]:
        self.calls["list"] += self.lists
        listed = self.notebooks.keys() - self.left_out
        rows = [key for key in listed if self.read(key).status in statuses]
        await asyncio.sleep(self.call_takes)
        self.log.add("poll")
        self._raise("poll")
        return rows

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._send("put", notebook_id, turn)
        row = self.read(notebook_id)
        if self.strict and row.status is not Status.STOPPED:
            raise CallError(Meaning.WRONG_STATE, "not in this state", code="ModelArts.6347")
        fields = {"image": Image(body["image_id"])} if "image_id" in body else dict(body)
        self.notebooks[notebook_id] = replace(row, **fields)
        return Receipt(200, "request")

    async def stop(self, notebook_id: str, turn: Turn) -> Receipt:
        await self._send("stop", notebook_id, turn)
        self.away.add(notebook_id)
        self.most_away = max(self.most_away, len(self.away))
        self.move(notebook_id, Status.STOPPING, STOP_TAKES, Status.STOPPED)
        return Receipt(200, "request")

    async def start(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._send("start", notebook_id, turn)
        self.move(notebook_id, Status.STARTING, START_TAKES, Status.RUNNING)
        now = int((EPOCH + self._now()) * 1000)
        lease = Lease(True, LeaseType(query["type"]), now, query["duration"], now)
        self.notebooks[notebook_id] = replace(self.notebooks[notebook_id], lease=lease)
        return Receipt(200, "request")

    async def save(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._send("save", notebook_id, turn)
        self.move(notebook_id, Status.SNAPSHOTTING, SAVE_TAKES, Status.RUNNING)
        self.images[body["name"]], self.made_at = "ACTIVE", self._now()
        return Receipt(200, "request")

    async def saved(self, body: Mapping[str, Any], rank: Rank) -> SavedImage:
        self.calls["images"] += 1
        await asyncio.sleep(self.call_takes)
        self.log.add(f"image {body['namespace']}/{body['name']}")
        self._raise("image")
        return SavedImage(self.images.get(body["name"], ""), int((EPOCH + self.made_at) * 1000), 1)

    async def renew_lease(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._send("lease", notebook_id, turn)
        return Receipt(200, "request")

    async def _send(self, step: str, key: str, turn: Turn) -> None:
        self.ranks.append((step, turn.rank))
        self.calls[step] += 1
        self.log.add(f"send {step} {key}")
        await asyncio.sleep(self.call_takes)
        self._raise(step)

    def move(self, key: str, passing: Status, seconds: float, then: Status) -> None:
        """Lets the notebook pass through one status to another."""
        self.notebooks[key] = replace(self.notebooks[key], status=passing)
        self.due[key] = (self._now() + seconds, then)


class ListRecorder:
    """A journal in a list. A commit takes a second; from `breaks_at` commits on, none succeeds."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.events: list[Event] = []
        self.commits = 0
        self.breaks_at: int | None = None

    async def commit(self, event: Event) -> None:
        await asyncio.sleep(1.0)
        self.commits += 1
        if self.breaks_at is not None and self.commits > self.breaks_at:
            raise RecordingFailed("the disk is full")
        self.events.append(event)
        self.log.add(f"committed {event.kind} {getattr(event, 'step', '')}".strip())

    def note(self, event: Event) -> None:
        self.events.append(event)


class Bench:
    """A plan of `count` image changes on running notebooks, and everything to run it."""

    def __init__(self, count: int, rollout: Rollout, waves: Sequence[int], owners: int) -> None:
        self.log = Log()
        self.cloud = MemoryCloud((_notebook(number) for number in range(count)), self.log)
        self.recorder = ListRecorder(self.log)
        self.control = Control()
        self.seen: list[Event] = []
        self.tape = Tape(self.recorder, [self.control.observe, self.see])
        self.clock = LoopClock()
        changes = tuple(
            _change(number, waves[number] if waves else 1, f"owner-{number % owners}")
            for number in range(count)
        )
        self.plan = make_plan(*changes, rollout=rollout, created_at=EPOCH)

    def see(self, event: Event) -> None:
        """The observer of the run."""
        self.seen.append(event)

    async def run(self) -> RunEnd:
        return await run_plan(
            self.plan,
            "20260101-000000-test",
            {"lab-a": self.cloud},
            self.tape,
            self.clock,
            self.control,
            {"lab-a": POLL_EVERY},
        )

    async def run_while(self, *after: tuple[float, Callable[[], object]]) -> RunEnd:
        """The run, with things that happen so many seconds after its start."""
        return await run_while(self.run(), *after)

    @property
    def ended(self) -> dict[int, Ended]:
        """The last word on every change, by item."""
        return {event.item: event for event in self.recorder.events if isinstance(event, Ended)}

    @property
    def outcomes(self) -> list[Outcome]:
        return [self.ended[item].outcome for item in sorted(self.ended)]

    def at(self, word: str) -> list[float]:
        """When entries that begin so were logged."""
        return [when for when, entry in self.log.entries if entry.startswith(word)]


def _key(number: int) -> str:
    return f"nb-{number}"


def _notebook(number: int) -> Notebook:
    return Notebook(_key(number), Status.RUNNING, image=Image("old"), lease=LEASE)


def _change(number: int, wave: int, owner: str) -> Change:
    key = _key(number)
    return make_change(number, "old", "new", id=key, name=key, owner=owner, wave=wave, lease=LEASE)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    def make(count: int = 1, *, waves: Sequence[int] = (), owners: int = 1, **rollout: Any) -> Bench:
        return Bench(count, Rollout(**rollout), waves, owners)

    return make


@pytest.fixture
def call_error() -> Callable[..., CallError]:
    def make(meaning: Meaning, code: str = "") -> CallError:
        return CallError(meaning, f"it was {meaning}", code=code)

    return make
