"""How long a run takes beside what no run can beat: 2,000 notebooks that stop and start, in virtual time.

The cloud is a small one in memory, behind the engine's own port and the client's own gates: one rate for
writes and the same for reads. Every scene is played twice. In the first run nothing is known of any notebook.
In the later run the times of their flavors are, which make most of the difference; the plan has the longest
first.

The lower bound is the largest of three: the calls at the rate, the time that all changes hold their slots,
the slowest notebook. A changed notebook takes three writes and at least four looks: as planned, stopped,
changed, running; its slot is held through all of them. Who cannot tell slow notebooks from quick ones, as in
the first run, cannot do better than `greedy` slots. Beside it stands a run in lock-step batches of the same
width, which takes as many calls and is granted every wait for free.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heapreplace
from random import Random
from statistics import mean
from typing import Any

import looptime
from msgspec import structs

from benchmarks.harness import (
    SEED,
    Check,
    Result,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    conditions,
    interleave,
    summarize,
)
from benchmarks.story import BEGAN, LEASE, NEW, OLD, plan
from fleet.client.clock import Clock
from fleet.client.gate import Gate
from fleet.core.calls import Rank, Reading, Receipt, SavedImage, Turn
from fleet.core.events import Ended, Event, Outcome, Slowed
from fleet.core.notebook import Image, Lease, LeaseType, Notebook, Status
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import Pace
from fleet.core.planning.estimate import length_of
from fleet.core.planning.plan import Plan, Took
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Disruption, Rollout
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape

SCOPE = "lab-a"
PAGE = 50
CALL, COMMIT, POLL = 0.2, 0.02, 10.0  # s
STOP, START = (40.0, 0.5), (90.0, 0.6)  # s in the median, sigma of the logarithm
CALLS = 4  # a notebook and class: stop, PUT and start, and four looks
WRITES = 3
FLAVORS, ALIKE = 20, 0.25  # and sigma of the logarithm among notebooks of one flavor
KNOWN = ", times known"


@dataclass(frozen=True, slots=True)
class Scene:
    """So many notebooks away at once, and so many writes (and as many reads) a second."""

    width: int
    rate: float

    @property
    def limit(self) -> Rate:
        """The rate as one for the gates."""
        return Rate(round(self.rate * 60), 60.0)

    def __str__(self) -> str:
        return f"{self.width} at once, {self.rate * 60:g}/min"


SCENES = (Scene(20, 1.0), Scene(100, 5.0), Scene(400, 20.0), Scene(200, 1.0))


@dataclass(frozen=True, slots=True)
class Times:
    """How long one notebook takes to stop and to start."""

    stop: float
    start: float

    @property
    def own(self) -> float:
        """The shortest time that it can be away."""
        return self.stop + CALL + self.start

    @property
    def held(self) -> float:
        """The shortest time that its change can hold a slot: every call follows from the one before."""
        return self.own + (CALLS + WRITES - 1) * CALL + WRITES * COMMIT


def draw_times(count: int) -> Sequence[Times]:
    """Lognormal, from the fixed seed."""
    return _drawn(Random(SEED), count, STOP[1], START[1])


def _drawn(draw: Random, count: int, stop: float, start: float) -> Sequence[Times]:
    """Times of the usual medians and such sigmas."""

    def one(median: float, sigma: float) -> float:
        return draw.lognormvariate(math.log(median), sigma)

    return [Times(one(STOP[0], stop), one(START[0], start)) for _ in range(count)]


def draw_flavors(count: int) -> tuple[Sequence[Times], Sequence[str], Mapping[str, Took]]:
    """Times that vary as much, but mostly with the flavor; the flavors; and what was learned of each."""
    draw = Random(SEED)
    among = _drawn(draw, FLAVORS, *(math.sqrt(sigma**2 - ALIKE**2) for _, sigma in (STOP, START)))
    usual = {f"flavor-{number}": one for number, one in enumerate(among)}
    took = {name: Took(one.stop, one.start, 2 * one.stop, 2 * one.start, 50) for name, one in usual.items()}
    flavors = draw.choices(list(usual), k=count)
    times = [
        Times(one.stop * draw.lognormvariate(0.0, ALIKE), one.start * draw.lognormvariate(0.0, ALIKE))
        for one in map(usual.__getitem__, flavors)
    ]
    return times, flavors, took


def lower_bound(times: Sequence[Times], scene: Scene) -> float:
    """Seconds that no run can beat."""
    by_rate = len(times) * CALLS / scene.rate
    by_slots = sum(one.held for one in times) / scene.width
    return max(by_rate, by_slots, max(one.held for one in times))


def greedy(times: Sequence[Times], scene: Scene) -> float:
    """Seconds when each starts as early as any can, in this order: a slot is free, and the rate has let its
    first look pass.

    No run can beat that to which all notebooks are alike: it decides when the next one starts, never which.
    """
    free = [0.0] * scene.width
    for at, one in enumerate(times):
        heapreplace(free, max(free[0], at / scene.rate) + one.held)
    return max(*free, len(times) * CALLS / scene.rate)


def lock_step(times: Sequence[Times], scene: Scene) -> float:
    """Seconds in batches of that width, each as long as its slowest notebook or its calls take."""
    batches = [times[at : at + scene.width] for at in range(0, len(times), scene.width)]
    return sum(max(max(one.own for one in batch), len(batch) * CALLS / scene.rate) for batch in batches)


@dataclass(slots=True)
class Machine:
    """One notebook of the cloud, with when it was away."""

    row: Notebook
    times: Times
    due: float = math.inf
    then: Status = Status.RUNNING
    left: float = 0.0
    away: float = 0.0


class MemoryCloud:
    """One scope, by its shape the engine's `Cloud`. Counts calls."""

    def __init__(self, machines: Mapping[str, Machine], scene: Scene) -> None:
        self.machines = machines
        self.calls: Counter[str] = Counter()
        self._writes = Gate("writes", Pace(scene.limit), CLOCK, on_slowed=_slowed)
        self._reads = Gate("reads", Pace(scene.limit), CLOCK, on_slowed=_slowed)

    async def turn(self, rank: Rank) -> Turn:
        return await self._writes.turn(rank=rank)

    async def look(self, notebook_id: str, rank: Rank) -> Reading:
        await self._read("get", rank)
        return Reading(self._settled(notebook_id).row, "")

    async def poll(self, statuses: Collection[Status], rank: Rank = Rank.AWAY) -> Collection[str]:
        found: set[str] = set()
        for status in statuses:
            offset, listed = 0, PAGE
            while listed == PAGE:
                await self._read("list", Rank.AWAY)
                passing = [key for key in self.machines if self._settled(key).row.status is status]
                page = passing[offset : offset + PAGE]
                found.update(page)
                offset, listed = offset + PAGE, len(page)
        return found

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._write("put", turn)
        machine = self._settled(notebook_id)
        machine.row = structs.replace(machine.row, image=Image(body["image_id"]))
        return Receipt(200, "")

    async def stop(self, notebook_id: str, turn: Turn) -> Receipt:
        await self._write("stop", turn)
        machine = self._settled(notebook_id)
        machine.left = _now()
        self._pass(machine, Status.STOPPING, machine.times.stop, Status.STOPPED)
        return Receipt(200, "")

    async def start(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._write("start", turn)
        machine = self._settled(notebook_id)
        now = int((BEGAN + _now()) * 1000)
        lease = Lease(True, LeaseType(query["type"]), now, query["duration"], now)
        machine.row = structs.replace(machine.row, lease=lease)
        self._pass(machine, Status.STARTING, machine.times.start, Status.RUNNING)
        return Receipt(200, "")

    async def save(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        raise AssertionError("no environment is saved here")

    async def saved(self, body: Mapping[str, Any], rank: Rank) -> SavedImage:
        raise AssertionError("no environment is saved here")

    async def renew_lease(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        await self._write("lease", turn)
        return Receipt(200, "")

    async def _read(self, kind: str, rank: Rank) -> None:
        await self._reads.pass_(rank=rank)
        await self._call(self._reads, kind)

    async def _write(self, kind: str, turn: Turn) -> None:
        await self._writes.pass_turn(turn)
        await self._call(self._writes, kind)

    async def _call(self, gate: Gate, kind: str) -> None:
        while (sent_at := gate.go()) is None:
            await gate.clear()
        self.calls[kind] += 1
        await asyncio.sleep(CALL)
        gate.heard(sent_at, None)

    def _pass(self, machine: Machine, passing: Status, seconds: float, then: Status) -> None:
        machine.row = structs.replace(machine.row, status=passing)
        machine.due, machine.then = _now() + seconds, then

    def _settled(self, key: str) -> Machine:
        """The notebook as it is by now."""
        machine = self.machines[key]
        if machine.due <= _now():
            machine.row = structs.replace(machine.row, status=machine.then)
            if machine.then is Status.RUNNING:
                machine.away = machine.due - machine.left
            machine.due = math.inf
        return machine


def _now() -> float:
    return asyncio.get_running_loop().time()


def _slowed(event: Slowed) -> None:
    raise RuntimeError(f"this cloud refuses nobody: {event.text}")


CLOCK = Clock(_now, lambda: BEGAN + _now())


@dataclass(slots=True)
class Recorder:
    """A journal that only takes its time; knows how the changes ended."""

    ended: Counter[Outcome] = field(default_factory=Counter)

    async def commit(self, event: Event) -> None:
        await asyncio.sleep(COMMIT)
        self.note(event)

    def note(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.ended[event.outcome] += 1


async def perform(plan: Plan, machines: Mapping[str, Machine], scene: Scene) -> tuple[float, Counter[str]]:
    """Applies the plan; the seconds it took, and its calls. Raises unless every notebook was changed."""
    cloud = MemoryCloud(machines, scene)
    control, recorder = Control(), Recorder()
    tape = Tape(recorder, [control.observe])
    await run_plan(plan, "20260101-000000-b0b0", {SCOPE: cloud}, tape, CLOCK, control, {SCOPE: POLL})
    if recorder.ended != {Outcome.CHANGED: len(plan.changes)}:
        raise RuntimeError(f"{dict(recorder.ended)} {control.end}")
    return _now(), cloud.calls


def timed(order: Plan) -> tuple[Plan, Sequence[Times]]:
    """The plan and the times of a later run, in the planner's order: longest expected first."""
    times, flavors, took = draw_flavors(len(order.changes))
    changes = [replace(change, flavor=name) for change, name in zip(order.changes, flavors, strict=True)]
    turns = sorted(range(len(changes)), key=lambda at: -length_of(changes[at], took))
    ordered = tuple(replace(changes[at], item=item) for item, at in enumerate(turns))
    learned = replace(order.estimate, times=took)
    return replace(order, changes=ordered, estimate=learned), [times[at] for at in turns]


def play(count: int, scene: Scene, *, known: bool = False) -> Sample:
    """One run of the whole fleet. The sample's wall time is the virtual one."""
    rollout = Rollout(concurrency=scene.width, disruption=Disruption.RESTART, change_deadline=36_000.0)
    order = replace(plan(count), rollout=rollout)
    order, times = timed(order) if known else (order, draw_times(count))
    order = seal(order)
    machines = {
        change.id: Machine(
            Notebook(change.id, Status.RUNNING, image=Image(OLD["image_id"]), lease=LEASE), one
        )
        for change, one in zip(order.changes, times, strict=True)
    }
    loop = looptime.new_event_loop(noop_cycles=0)
    try:
        watch = Stopwatch()
        took, calls = loop.run_until_complete(perform(order, machines, scene))
        sample = watch.stop(count)
    finally:
        loop.close()
    if any(machine.row.image.id != NEW["image_id"] for machine in machines.values()):
        raise RuntimeError("a notebook kept its image")
    bound = lower_bound(times, scene)
    more = {
        "makespan s": took,
        "over the lower bound": took / bound,
        "over greedy slots": took / greedy(times, scene),
        "lock-step over it": lock_step(times, scene) / took,
        "away over own time": mean(machine.away / machine.times.own for machine in machines.values()),
        "reads a change": (calls["get"] + calls["list"]) / count,
        "writes a change": (calls.total() - calls["get"] - calls["list"]) / count,
    }
    return Sample(count, sample.cpu, took, more=more)


def run(*, quick: bool) -> Result:
    """Every scene once: virtual time has no spread, only its CPU has."""
    count, scenes = (60, (Scene(10, 2.0),)) if quick else (2000, SCENES)
    series = {
        f"{scene}{KNOWN * known}": partial(play, count, scene, known=known)
        for known in (False, True)
        for scene in scenes
    }
    samples = interleave(series, 1, warm_up=False)
    rows: list[Row] = [summarize(name, samples) for name in samples]
    checks: list[Check] = []
    for row in rows:
        checks += [
            at_most(f"{row.client}: makespan over the lower bound", row.more["over the lower bound"], 1.05),
            at_most(f"{row.client}: time away over its own", row.more["away over own time"], 1.1),
            at_most(f"{row.client}: reads a changed notebook", row.more["reads a change"], 6.0),
            at_least(f"{row.client}: lock-step batches over ours", row.more["lock-step over it"], 1.0),
        ]
        if KNOWN not in row.client:
            least = "the least for who does not know the times"
            checks.append(
                at_most(f"{row.client}: makespan over {least}", row.more["over greedy slots"], 1.05)
            )
    facts = conditions(
        ["notebook-fleet", "anyio", "looptime"],
        rounds=1,
        quick=quick,
        notebooks=count,
        seconds={"call": CALL, "commit": COMMIT, "poll": POLL, "stop": STOP, "start": START},
    )
    return Result("makespan", facts, rows, checks)
