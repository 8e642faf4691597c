"""Whatever fails from whichever moment on, no budget is ever broken: recomputed from the journal's file.

It is read with sqlite3 and json alone.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.events import RunEnd
from fleet.core.fold import fold
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Share
from fleet.journal.runs import JOURNAL
from fleet.journal.writer import InlineJournal
from fleet.service.running import RunFolder, apply_plan
from fleet.simulator.faults import FailingStart, LostAnswer, Match, ServerError
from fleet.simulator.routing import Operation
from fleet.simulator.rules import Rules
from fleet.simulator.states import Status
from fleet.simulator.world import Timer
from tests.rollout_judge import Verdict, judge

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.core.rollout import Rollout
    from fleet.simulator.faults import Fault
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = [pytest.mark.looptime, pytest.mark.long]


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan and the events, as they lie in the file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        (plan,) = base.execute("SELECT value FROM meta WHERE key = 'plan'").fetchone()
        events = [json.loads(body) for (body,) in base.execute("SELECT body FROM event ORDER BY seq")]
    return json.loads(plan), events


def verdict(lab: Lab) -> Verdict:
    (path,) = lab.base.glob(f"*/{JOURNAL}")
    return judge(*read(path))


MIGRATION = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""

DESCRIBE = """\
job: edit
name: describe
select: "true"
with: {set: {description: new words}}
rollout: {disruption: restart, max_unavailable: {fleet: 1}}
"""


def shares(chance: random.Random) -> Share:
    percent = chance.random() < 0.3
    return Share(chance.randint(5, 60) if percent else chance.randint(1, 8), percent)


def any_rollout(chance: random.Random, rollout: Rollout) -> Rollout:
    kinds = chance.sample(["fleet", "scope", "owner", "pool", "flavor"], chance.randint(0, 3))
    return replace(
        rollout,
        waves=chance.choice([rollout.waves, (Share(1), Share(50, percent=True), Share(100, percent=True))]),
        concurrency=chance.randint(1, 64),
        max_failures=Share(chance.randint(0, 20)),
        max_unavailable={kind: shares(chance) for kind in kinds},
        change_deadline=600.0,
    )


def faults(kind: str, after: float) -> list[Fault]:
    """From that second on nothing goes well any more."""
    match kind:
        case "starts fail":
            return [FailingStart(after=after)]
        case "writes answer 500":
            return [ServerError(match=Match(operation=Operation.UPDATE_NOTEBOOK), after=after)]
        case "stops are applied and not answered":
            lost = LostAnswer(match=Match(operation=Operation.STOP_NOTEBOOK), after=after)
            return [lost, FailingStart(after=after)]
        case _:
            return [ServerError(status=503, after=after, until=after + 900.0), FailingStart(after=after)]


KINDS = ("starts fail", "writes answer 500", "stops are applied and not answered", "nothing answers")


async def crowd(world: MakeLab, running: int, **options: Any) -> Lab:
    lab = await world(running=running, stopped=4, **options)
    for number, notebook in enumerate(lab.notebooks):
        notebook.timers.pop(Timer.STATUS, None)
        if number % 3:  # the others are in the public pool
            notebook.pool = {"id": f"pool-{number % 3}", "name": f"pool {number % 3}"}
    return lab


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_from_any_moment_on_no_budget_is_ever_broken(
    world: MakeLab, kind: str, seed: int
) -> None:
    chance = random.Random(f"{kind}/{seed}")
    lab = await crowd(world, 36, faults=faults(kind, chance.uniform(0.0, 300.0)))
    plan = await lab.plan(MIGRATION)
    run = await lab.apply(seal(replace(plan, rollout=any_rollout(chance, plan.rollout))))
    found = verdict(lab)
    assert found.broken == []
    rows = Counter(run.outcomes)
    assert found.failures == rows["failed"] + rows["stranded"] + rows["unknown"]
    assert found.most_away >= run.most_away()


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 8, 13, 20])
async def test_failures_never_exceed_the_limit_when_all_fail_at_once(world: MakeLab, limit: int) -> None:
    lab = await crowd(world, 40, faults=[FailingStart()])
    plan = await lab.plan(MIGRATION)
    rollout = replace(plan.rollout, max_failures=Share(limit), concurrency=64)
    run = await lab.apply(seal(replace(plan, rollout=rollout)))
    found = verdict(lab)
    assert (found.broken, found.failures, found.most_away) == ([], limit, limit)
    assert run.outcomes.count("stranded") == limit


@pytest.mark.parametrize("group", ["fleet", "scope", "owner", "pool", "flavor"])
async def test_one_away_is_never_two_in_any_group(world: MakeLab, group: str) -> None:
    lab = await crowd(world, 12)
    plan = await lab.plan(MIGRATION)
    assert {change.pool for change in plan.changes} == {"", "pool-1", "pool-2"}
    rollout = replace(plan.rollout, max_unavailable={group: Share(1)}, concurrency=64)
    run = await lab.apply(seal(replace(plan, rollout=rollout)))
    assert (run.end, verdict(lab).broken, set(run.outcomes)) == (RunEnd.FINISHED, [], {"changed"})


async def test_the_judge_sees_budgets_that_were_broken(world: MakeLab) -> None:
    """A run within its limits is judged again by a plan with tighter ones."""
    lab = await crowd(world, 12, faults=[FailingStart(times=4)])
    plan = await lab.plan(MIGRATION)
    await lab.apply(plan)
    assert verdict(lab).broken == []
    (path,) = lab.base.glob(f"*/{JOURNAL}")
    told, _ = read(path)
    limit, tight = {"amount": 1, "percent": False}, told["rollout"]
    tight |= {"max_failures": limit, "concurrency": 3, "max_unavailable": {"owner": limit}}
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("UPDATE meta SET value = ? WHERE key = 'plan'", (json.dumps(told).encode(),))
    broken = " ".join(verdict(lab).broken)
    assert "failures of" in broken
    assert "under way of 3" in broken
    assert "('owner', 'ann'): 2 of 1" in broken


async def test_a_notebook_that_failed_where_it_was_keeps_its_seat(world: MakeLab) -> None:
    """It breaks right after a PUT for which it was not even stopped: it is not stranded, and yet away."""
    lab = await world(running=3, rules=Rules(rules="observed"))
    first, *others = lab.notebooks
    lab.when("UpdateNotebook", lambda: lab.put_into(first, Status.ERROR))
    run = await lab.go(DESCRIBE)
    assert run.row(first).outcome == "failed"
    assert run.calls() == ["put"]
    assert [run.row(notebook).outcome for notebook in others] == ["not-started"] * 2
    assert run.report.reason == "notebooks that are not back fill max_unavailable of fleet"
    assert verdict(lab).broken == []


async def test_it_keeps_its_seat_when_another_process_goes_on(world: MakeLab) -> None:
    lab = await world(running=3, rules=Rules(rules="observed"))
    first = lab.notebooks[0]
    lab.when("UpdateNotebook", lambda: lab.put_into(first, Status.ERROR))
    run = await lab.go(DESCRIBE)
    (path,) = lab.base.glob(f"*/{JOURNAL}")
    earlier = fold(run.plan, run.events).earlier()
    folder = RunFolder(run.report.run, path.parent, InlineJournal.open_for_append(path), earlier=earlier)
    sent = len(lab.cloud.log)
    assert await apply_plan(run.plan, folder, lab.specs, lab.clock, []) is RunEnd.HALTED
    assert lab.cloud.log[sent:] == []
    assert verdict(lab).broken == []
