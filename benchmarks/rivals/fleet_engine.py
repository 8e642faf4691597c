"""The full engine: a plan of stopped notebooks, gate, retries, journal in SQLite, events, outcomes.

A change is a look as fence, the PUT and a look that proves it, so the CPU is told for each request, and for
each change in `more`. Writing the journal is part of it, to its closing. Making the plan is not, nor is
making the journal, into which the plan is copied: what that takes is in `more`.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks import story
from benchmarks.harness import Sample, Stopwatch
from benchmarks.rivals.fleet_client import SCOPE, connected, scope
from benchmarks.rivals.work import BODY, Work, key, run_in, with_memory
from benchmarks.server import OLD_IMAGE
from fleet.client.api import ModelArts
from fleet.client.clock import Clock
from fleet.core.events import Ended, Event, Outcome, RunEnd
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase, Plan, PlanScope
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Rollout
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.journal.runs import JOURNAL
from fleet.journal.writer import Journal

PACKAGES = ("notebook-fleet",)
RUN = "20260101-000000-b0b0"


def plan(work: Work, numbers: range) -> Plan:
    """A sealed plan that updates these notebooks, all of them stopped."""
    spec, usual = scope(work), story.plan(len(numbers))
    where = PlanScope(
        SCOPE, spec.region, spec.project_id, spec.endpoint, len(numbers), spec.throttle, str(spec.rate)
    )
    changes = tuple(
        replace(
            change,
            scope=SCOPE,
            id=key(number),
            run_state=Status.STOPPED,
            may_restart=False,
            phases=(Phase(When.STOPPED, BODY),),
            before={"image_id": OLD_IMAGE},
            after=BODY,
        )
        for change, number in zip(usual.changes, numbers, strict=True)
    )
    rollout = Rollout(concurrency=work.concurrency)
    return seal(replace(usual, scopes=(where,), rollout=rollout, changes=changes))


class Outcomes:
    """An observer that counts how the changes ended, and keeps the first reason for anything but success."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.trouble = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.counts[event.outcome] += 1
            if event.outcome is not Outcome.CHANGED:
                self.trouble = self.trouble or event.reason


def new_journal(folder: Path, plan: Plan) -> Journal:
    """An empty journal in a folder of its own."""
    folder.mkdir()
    return Journal.create(folder / JOURNAL, plan, RUN)


async def perform(plan: Plan, cloud: ModelArts, journal: Journal) -> None:
    """Applies the plan and closes the journal; raises unless every notebook was changed."""
    control, outcomes = Control(), Outcomes()
    tape = Tape(journal, [control.observe, outcomes])
    clock = Clock(time.monotonic, time.time)
    try:
        end = await run_plan(plan, RUN, {SCOPE: cloud}, tape, clock, control, {SCOPE: 10.0})
    finally:
        journal.close()
    if end is not RunEnd.FINISHED or outcomes.counts != {Outcome.CHANGED: len(plan.changes)}:
        raise RuntimeError(f"{end}: {dict(outcomes.counts)}, {outcomes.trouble}")


def measure(work: Work) -> Sample:
    async def play(folder: Path) -> Sample:
        warming, counting = plan(work, work.warming), plan(work, work.counting)
        warm = new_journal(folder / "warm", warming)
        making = Stopwatch()
        journal = new_journal(folder / "counted", counting)
        made = making.stop(work.count)
        async with connected(work) as clouds:
            cloud = clouds[SCOPE]
            await perform(warming, cloud, warm)
            sent = cloud.calls.total()
            gc.collect()
            watch = Stopwatch()
            await perform(counting, cloud, journal)
            sample = watch.stop(cloud.calls.total() - sent)
        return replace(sample, more={"making the journal, CPU us a change": made.cpu_us})

    with tempfile.TemporaryDirectory() as folder:
        sample = with_memory(run_in(work.loop, play(Path(folder))))
    more = {
        "requests a change": sample.count / work.count,
        "CPU us a change": sample.cpu / work.count * 1e6,
        **sample.more,
    }
    return replace(sample, more=more)
