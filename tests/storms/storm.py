"""A storm: one seed, one small fleet, one plan, a bad hour with crashes, and then calm weather.

    python -m tests.storms.storm --seeds 1000 --first 0

The engine and the simulated cloud run in one process on virtual time. In the safety phase faults strike,
people interfere, and the process may die at any write to its journal. In the liveness phase the weather is
calm and the run is resumed until nothing is left to do. What `brew` draws from the seed, `promises` judges.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

import looptime

from fleet.client.connect import connect
from fleet.core.errors import Exit
from fleet.core.events import RunEnd
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.service.planning import make_plan
from fleet.simulator import messages
from fleet.simulator.audit import is_write, snapshot
from tests.storms.brew import CALM_AFTER, CLOCK, EPOCH, HOUR, Storm, brew, order, wall
from tests.storms.process import Death, Journal, Wire
from tests.storms.promises import complaints

MOST_RUNS = 12  # resumes after which a run that is not over counts as stuck


async def weather(seed: int) -> Storm:
    """The whole storm of a seed, from plan to calm."""
    storm = brew(seed)
    async with _connected(storm) as clouds:
        storm.plan = await make_plan(order(storm), storm.specs, clouds, wall())
    storm.before = snapshot(storm.cloud, wall())
    people = asyncio.create_task(_people(storm))
    before: list[str] = []
    while storm.runs < MOST_RUNS and before != (now := storm.outcomes):
        before = now if storm.calm else []
        storm.runs += 1
        await _run(storm)
        if storm.runs >= 3:  # calm weather: from now on a run that gets no further is the last
            await _sleep_until(CALM_AFTER + 1.0)
    people.cancel()
    await _sleep_until(CALM_AFTER + 2 * HOUR)
    storm.after = snapshot(storm.cloud, wall())
    return storm


def _connected(storm: Storm) -> Any:
    return connect(
        storm.specs,
        monotonic=CLOCK.monotonic,
        wall=wall,
        jitter=storm.draw.random,
        transport=lambda site: Wire(storm.cloud, site, storm.draw),
    )


async def _run(storm: Storm) -> None:
    """One process: it applies or resumes, and may die on the way."""
    assert storm.plan is not None
    stormy = asyncio.get_running_loop().time() < CALM_AFTER and storm.runs < 3
    dies_at = storm.draw.randint(1, 40) if stormy and storm.draw.random() < 0.6 else None
    journal = Journal(storm.events, dies_at, survives=storm.draw.random() < 0.5)
    past = storm.state.lives() if storm.events else None
    control = Control()
    tape = Tape(journal, [control.observe])
    polls = {spec.name: spec.poll for spec in storm.specs}
    interrupt = storm.draw.uniform(1, 300) if stormy and storm.draw.random() < 0.2 else None
    try:
        async with _connected(storm) as clouds:
            if interrupt is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(interrupt, control.drain, RunEnd.INTERRUPTED, "signal")
            await run_plan(storm.plan, "storm", clouds, tape, CLOCK, control, polls, past)
    except BaseExceptionGroup as group:
        if group.split(Death)[1] is not None:
            raise
        storm.deaths += 1
    except Death:
        storm.deaths += 1
    journal.close()
    storm.events = journal.kept


async def _people(storm: Storm) -> None:
    """What others do to the notebooks meanwhile, in the first half of the storm."""
    for _ in range(storm.draw.choice((0, 0, 1, 3))):
        await asyncio.sleep(storm.draw.uniform(1, 200))
        rows = sorted(storm.cloud.world.notebooks.values(), key=lambda row: row.id)
        if not rows:
            return
        row = storm.draw.choice(rows)
        act = storm.draw.choice(("rename", "describe", "stop", "start", "delete"))
        storm.acts.append(f"{wall() - EPOCH:.0f} s: somebody does {act} on {row.id}")
        storm.touched.add(row.id)
        _act(storm, row.project, row.id, act)


def _act(storm: Storm, project: str, notebook: str, act: str) -> None:
    token, _ = storm.cloud.access.issue_token(project, wall())
    method, path, body = {
        "rename": ("PUT", "", b'{"name": "mine"}'),
        "describe": ("PUT", "", b'{"description": "mine"}'),
        "stop": ("POST", "/stop", b""),
        "start": ("POST", "/start", b""),
        "delete": ("DELETE", "", b""),
    }[act]
    asked = messages.Request(
        method, f"/v1/{project}/notebooks/{notebook}{path}", "", {"x-auth-token": token}, body, "10.0.0.1"
    )
    storm.cloud.handle(asked, wall())


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))


def run_seed(seed: int) -> tuple[Storm, list[str]]:
    """One storm on a loop of its own with virtual time, and what it broke."""
    loop = looptime.new_event_loop()
    try:
        return loop.run_until_complete(_judged(seed))
    finally:
        loop.close()


async def _judged(seed: int) -> tuple[Storm, list[str]]:
    storm = await weather(seed)
    return storm, list(complaints(storm))


def main() -> int:
    """Runs many seeds and names the first that breaks a promise."""
    options = argparse.ArgumentParser(description="Storms over a simulated fleet.")
    options.add_argument("--seeds", type=int, default=1000, help="how many")
    options.add_argument("--first", type=int, default=0, help="the first seed")
    options.add_argument("--keep-going", action="store_true", help="do not stop at the first broken promise")
    chosen = options.parse_args()
    began, broken, deaths, writes = time.monotonic(), 0, 0, 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        storm, found = run_seed(seed)
        deaths += storm.deaths
        writes += sum(is_write(record) for record in storm.cloud.log)
        if found:
            broken += 1
            print(f"seed {seed}:", *found, *storm.acts, sep="\n  ")
            if not chosen.keep_going:
                break
    seconds = time.monotonic() - began
    print(f"{chosen.seeds} seeds from {chosen.first} in {seconds:.0f} s: {broken} broken")
    print(f"{deaths} deaths of the process, {writes} writes at the cloud")
    return Exit.SOME_FAILED if broken else Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
