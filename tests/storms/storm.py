"""A storm: one seed, one small fleet, one plan, a bad hour with crashes, and then calm weather.

    python -m tests.storms.storm --seeds 1000 --first 0

The engine and the simulated cloud run in one process on virtual time. In the safety phase faults strike,
people interfere, and the process may die at any write to its journal. In the liveness phase the weather is
calm and the run is resumed until nothing is left to do. What `brew` draws from the seed, `promises` judges.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, TypeVar

import looptime

from fleet.client.connect import connect
from fleet.core.errors import CallError, Exit
from fleet.core.events import RunEnd
from fleet.core.rollout import GateCommand
from fleet.core.scope import ScopeSpec
from fleet.core.wave_gate import Check, Finding
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.service.planning import Order, make_plan
from fleet.simulator import messages
from fleet.simulator.audit import is_write, snapshot
from fleet.simulator.world import Notebook
from tests.storms.brew import CALM_AFTER, CLOCK, EPOCH, HOUR, RATE, Said, Storm, brew, order, wall
from tests.storms.commands import in_lanes
from tests.storms.process import Death, Journal, Wire
from tests.storms.promises import complaints

T = TypeVar("T")

MOST_RUNS = 12  # resumes after which a run that is not over counts as stuck


async def weather(seed: int) -> Storm:
    """The whole storm of a seed, from plan to calm."""
    storm = brew(seed)
    await plan(storm, order(storm))
    people = asyncio.create_task(_people(storm))
    await asyncio.sleep(storm.draw.choice((0.0, 0.0, 20.0, 90.0)))  # from the plan to the run
    before: list[str] = []
    while storm.runs < MOST_RUNS and before != (now := storm.outcomes):
        before = now if storm.calm else []
        await _process_in_the_storm(storm)
        if storm.runs >= 3:  # calm weather: from now on a run that gets no further is the last
            await _sleep_until(CALM_AFTER + 1.0)
    people.cancel()
    await _sleep_until(CALM_AFTER + 2 * HOUR)
    storm.after = snapshot(storm.cloud, wall())
    return storm


async def plan(storm: Storm, order: Order) -> None:
    """Plans the order, again if the cloud is out of reach, and remembers the fleet as it was then."""
    while storm.plan is None:
        try:
            async with _connected(storm, [replace(spec, rate=RATE) for spec in storm.specs]) as clouds:
                storm.plan = await make_plan(order, storm.specs, clouds, wall())
        except* CallError:
            await asyncio.sleep(60.0)
    storm.before = snapshot(storm.cloud, wall())


def _connected(storm: Storm, specs: Sequence[ScopeSpec]) -> Any:
    return connect(
        specs,
        monotonic=CLOCK.monotonic,
        wall=wall,
        jitter=storm.draw.random,
        transport=lambda site: Wire(storm, site),
    )


async def _process_in_the_storm(storm: Storm) -> None:
    """One process, which may die or be interrupted as long as the weather is bad."""
    stormy = asyncio.get_running_loop().time() < CALM_AFTER and storm.runs < 2
    dies_at = storm.draw.randint(1, 120) if stormy and storm.draw.random() < 0.6 else None
    survives = storm.draw.random() < 0.5
    interrupt = storm.draw.uniform(1, 300) if stormy and storm.draw.random() < 0.2 else None
    await process(storm, Journal(storm.events, dies_at, survives), interrupt)


async def process(storm: Storm, journal: Journal, interrupt: float | None = None) -> bool:
    """One process that applies or resumes; returns whether it lived to the end.

    After `interrupt` seconds it is told to let nothing new start.
    """
    assert storm.plan is not None
    storm.began.append(len(storm.cloud.log))
    storm.times.append(wall())
    deaths = storm.deaths
    state = storm.state
    earlier = state.earlier() if storm.events else None
    control = Control()
    person = asyncio.create_task(_approve(storm, control))
    tape = Tape(journal, [control.observe])
    polls = {spec.name: spec.poll for spec in storm.specs}
    try:
        async with _connected(storm, storm.specs) as clouds:
            if interrupt is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(interrupt, control.drain, RunEnd.INTERRUPTED, "signal")
            await run_plan(
                storm.plan,
                "storm",
                clouds,
                tape,
                CLOCK,
                control,
                polls,
                earlier,
                check=partial(_check, storm),
            )
    except BaseExceptionGroup as group:
        if group.split(Death)[1] is not None:
            raise
        storm.deaths += 1
    except Death:
        storm.deaths += 1
    person.cancel()
    journal.close()
    storm.events = journal.kept
    return storm.deaths == deaths


async def _check(storm: Storm, gate: GateCommand, environment: Mapping[str, str]) -> Check:
    """The program of the gate: in bad weather it says "stop" now and then."""
    await asyncio.sleep(storm.draw.uniform(0.1, 30))
    go = storm.calm or storm.draw.random() < 0.8
    storm.said.append(Said("gate", int(environment["FLEET_WAVE"]), wall(), go))
    return Check(Finding.GO if go else Finding.STOP, "as drawn")


async def _approve(storm: Storm, control: Control) -> None:
    """A person who lets every wave pass, after a while."""
    while True:
        wave = await control.approvals.question()
        await asyncio.sleep(storm.draw.uniform(1, 100))
        storm.said.append(Said("person", wave, wall(), go=True))
        control.approvals.approve(wave)


async def _people(storm: Storm) -> None:
    """What others do to the notebooks meanwhile, in the first half of the storm."""
    for _ in range(storm.draw.choice((0, 0, 1, 3, 6))):
        await asyncio.sleep(storm.draw.uniform(1, storm.draw.choice((20, 200))))
        rows = sorted(storm.cloud.world.notebooks.values(), key=lambda row: row.id)
        if not rows:
            return
        row = storm.draw.choice(rows)
        act = storm.draw.choice(("rename", "describe", "describe", "stop", "start", "delete"))
        storm.acts.append(f"{wall() - EPOCH:.0f} s: somebody does {act} on {row.id}")
        interfere(storm, row, *_ACTS[act])


_ACTS = {
    "rename": ("PUT", "", {"name": "mine"}),
    "describe": ("PUT", "", {"description": "mine"}),
    "stop": ("POST", "/stop", {}),
    "start": ("POST", "/start", {}),
    "delete": ("DELETE", "", {}),
}


def interfere(storm: Storm, row: Notebook, method: str, path: str, body: Mapping[str, Any]) -> int:
    """Somebody else sends a call about a notebook; returns the HTTP status."""
    storm.touched.add(row.id)
    token, _ = storm.cloud.access.issue_token(row.project, wall())
    where = f"/v1/{row.project}/notebooks/{row.id}{path}"
    sent = json.dumps(body).encode() if body else b""
    asked = messages.Request(method, where, "", {"x-auth-token": token}, sent, "10.0.0.1")
    status = storm.cloud.handle(asked, wall()).status
    storm.by_hand.add(storm.cloud.log[-1].request_id)
    return status


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))


def run_seed(seed: int) -> tuple[Storm, list[str]]:
    """One storm, and what it broke."""
    return in_virtual_time(_judged(seed))


def in_virtual_time(story: Coroutine[Any, Any, T]) -> T:
    """What comes of the story, on a loop of its own. Nothing in it may wait for the outside."""
    loop = looptime.new_event_loop(noop_cycles=0)
    try:
        return loop.run_until_complete(story)
    finally:
        loop.close()


async def _judged(seed: int) -> tuple[Storm, list[str]]:
    storm = await weather(seed)
    return storm, list(complaints(storm))


@dataclass(frozen=True)
class Verdict:
    """What came of a seed. `broken` names the broken promises and what had happened."""

    seed: int
    deaths: int
    writes: int
    broken: tuple[str, ...]


def judge(seed: int) -> Verdict:
    """The verdict on one storm."""
    storm, found = run_seed(seed)
    told = (*found, *storm.acts) if found else ()
    return Verdict(seed, storm.deaths, sum(is_write(record) for record in storm.cloud.log), told)


def again(seed: int) -> str:
    """The command that repeats a storm."""
    return f"python -m tests.storms.storm --first {seed} --seeds 1"


def main() -> int:
    """Runs many seeds and names the first that breaks a promise."""
    options = argparse.ArgumentParser(description="Storms over a simulated fleet.")
    options.add_argument("--seeds", type=int, default=1000, help="how many")
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--seconds", type=float, default=inf, help="begin nothing new after that time")
    options.add_argument("--keep-going", action="store_true", help="do not stop at the first broken promise")
    chosen = options.parse_args()
    stories = [partial(judge, seed) for seed in range(chosen.first, chosen.first + chosen.seeds)]
    began, verdicts = time.monotonic(), list[Verdict]()
    for verdict in in_lanes(stories, os.cpu_count() or 1):
        verdicts.append(verdict)
        if verdict.broken:
            print(f"seed {verdict.seed}; again: {again(verdict.seed)}", *verdict.broken, sep="\n  ")
        if time.monotonic() - began > chosen.seconds or (verdict.broken and not chosen.keep_going):
            break
    seconds, broken = time.monotonic() - began, sum(bool(one.broken) for one in verdicts)
    print(f"{len(verdicts)} seeds from {chosen.first} in {seconds:.0f} s: {broken} broken")
    deaths, writes = (sum(getattr(one, name) for one in verdicts) for name in ("deaths", "writes"))
    print(f"{deaths} deaths of the process, {writes} writes at the cloud")
    return Exit.SOME_FAILED if broken else Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
