"""How the cost grows with the fleet, from a thousand notebooks to a million: memory, CPU, bytes, seconds.

Each stage runs in a process of its own, which hands the next one nothing but files: `plan` reads a made-up
listing, plans and seals; `run` loads the plan and performs half of it on a cloud that answers at once, with
the real journal; `resume` opens what is there, as `fleet resume` does. A stage that needs more than MOST_GB
ends there and counts as missed.

The listing is made up page by page, the outcomes go to the journal alone. But no run goes without its plan,
which a person has approved as a whole: what it `grows by` is counted from there.

    python -m benchmarks.fleet_scale STAGE SIZE FOLDER      one stage; a line of JSON
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from benchmarks.harness import (
    Check,
    Result,
    Row,
    Sample,
    Stopwatch,
    at_most,
    conditions,
    interleave,
    peak_rss_mb,
    summarize,
)
from benchmarks.story import BEGAN, LEASE, NEW, OLD
from fleet.client import reading
from fleet.client.clock import Clock
from fleet.client.listing import OnPage, unwatched
from fleet.client.operations import PAGE_SIZE
from fleet.core.calls import Rank, Reading, Receipt, Turn
from fleet.core.events import Ended, Event, RunEnd
from fleet.core.job import Context, JobSpec
from fleet.core.notebook import Flavor, Image, Notebook
from fleet.core.patch import NotebookPatch
from fleet.core.planning.guards import Guards
from fleet.core.planning.plan_file import load_plan, plan_pieces
from fleet.core.rollout import EVERYTHING, Rollout
from fleet.core.scope import ScopeSpec, TokenGiven
from fleet.core.selecting.selector import Selector
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.journal.runs import JOURNAL, PLAN
from fleet.service.planning import Order, make_plan
from fleet.service.running import open_run, reopen_run

STAGES = ("plan", "run", "resume")
SIZES, QUICK_SIZES = (1_000, 10_000, 100_000, 1_000_000), (100, 1_000, 10_000)
MOST_GB = 12
MB = 1024 * 1024
RUN, SCOPE = "20260101-000000-b0b0", "lab-a"
SPEC = ScopeSpec(
    SCOPE, "cn-north-4", "0" * 32, "http://127.0.0.1:9", "http://127.0.0.1:9", TokenGiven("token")
)
CLOCK = Clock(time.monotonic, lambda: BEGAN)
ROW = f"""{{
    "id": "f9937afa-4451-42db-a76b-%012d", "name": "vision-train-%07d", "status": "STOPPED",
    "feature": "NOTEBOOK", "flavor": "modelarts.vm.cpu.2u", "workspace_id": "0",
    "user": {{"name": "user-%d"}}, "image": {{"id": "%s", "name": "pytorch1.8"}},
    "lease": {json.dumps(structs.asdict(LEASE))},
    "volume": {{"category": "EVS", "capacity": 50, "ownership": "MANAGED",
        "mount_path": "/home/ma-user/work/", "status": "IN_USE"}},
    "endpoints": [{{"service": "SSH", "key_pair_names": ["kp-ana"], "allowed_access_ips": ["203.0.113.1"]}}],
    "create_at": 1638841744515, "update_at": 1638841744515
}}"""

FITTING = Image(
    "",
    "pytorch",
    "x86_64",
    "ACTIVE",
    type="BUILD_IN",
    resource_categories=("CPU",),
    dev_services=("NOTEBOOK", "SSH"),
)


class Move(JobSpec):
    """Moves every notebook to the new image."""

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch:
        return NotebookPatch(image_id=NEW["image_id"])


def row(number: int, image: str = OLD["image_id"]) -> str:
    """A stopped notebook as the cloud writes it."""
    return ROW % (number, number, number % 997, image)


def listed(numbers: range, total: int) -> Sequence[Notebook]:
    """A page of the listing, read as the client does."""
    page = reading.notebooks(f'{{"data": [{",".join(map(row, numbers))}], "total": {total}}}'.encode())
    if page is None:
        raise AssertionError("the client cannot read the page the short way")
    return page.rows


def looked(number: int, image: str) -> Notebook:
    """One notebook, read as the client does."""
    found = reading.notebook(row(number, image).encode())
    if found is None:
        raise AssertionError("the client cannot read the notebook the short way")
    return found


class MadeUpCloud:
    """`size` notebooks that exist only while they are asked for; a byte each says which are updated."""

    def __init__(self, size: int) -> None:
        self.calls: Counter[str] = Counter()
        self._size = size
        self._moved = bytearray(size)

    async def images(self) -> Sequence[Image]:
        return [structs.replace(FITTING, id=OLD["image_id"]), structs.replace(FITTING, id=NEW["image_id"])]

    async def flavors(self) -> Sequence[Flavor]:
        return [Flavor("modelarts.vm.cpu.2u", arch="x86_64", category="CPU", vcpus=2, memory_mib=8192)]

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage = unwatched) -> Sequence[Notebook]:
        numbers = range(self._size)
        pages = (numbers[at : at + PAGE_SIZE] for at in range(0, self._size, PAGE_SIZE))
        return [one for page in pages for one in listed(page, self._size)]

    async def turn(self, rank: Rank) -> Turn:
        return Turn(0.0)

    async def look(self, notebook_id: str, rank: Rank) -> Reading:
        await asyncio.sleep(0)
        number = int(notebook_id[-12:])
        return Reading(looked(number, (NEW if self._moved[number] else OLD)["image_id"]), "")

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        await asyncio.sleep(0)
        self._moved[int(notebook_id[-12:])] = 1
        return Receipt(200, "")

    async def _never(self, *_: object) -> Any:
        raise AssertionError("a stopped notebook is neither waited for nor stopped nor started for an image")

    poll = stop = start = save = saved = renew_lease = _never


def stage_plan(size: int, folder: Path) -> Sample:
    """From the listing to the plan's file."""
    guards = Guards(max_targets=size, max_share=EVERYTHING)
    order = Order("benchmark", "move", Selector.parse("true"), Move(), Rollout(concurrency=100), guards)
    watch = Stopwatch()
    plan = asyncio.run(make_plan(order, [SPEC], {SCOPE: MadeUpCloud(size)}, BEGAN))
    made = watch.stop(size)
    with (folder / PLAN).open("wb") as file:
        file.writelines(plan_pieces(plan))
    sample = watch.stop(size)
    megabytes = (folder / PLAN).stat().st_size / MB
    return replace(sample, more={"plan MB": megabytes, "without the file s": made.wall})


def stage_run(size: int, folder: Path) -> Sample:
    """Performs half of the plan and drains. The sample counts ended changes; loading the plan is apart."""
    loading = Stopwatch()
    plan = load_plan((folder / PLAN).read_bytes(), PLAN)
    loaded = loading.stop(size)
    load_peak = peak_rss_mb()
    control, ended = Control(), [0]

    def drain_halfway(event: Event) -> None:
        ended[0] += isinstance(event, Ended)
        if ended[0] >= size // 2:
            control.drain(RunEnd.INTERRUPTED, "halfway")

    opening = Stopwatch()
    run = open_run(folder, RUN, plan)
    opened = opening.stop(size)
    gc.collect()
    before = forget_peak()
    tape = Tape(run.journal, [control.observe, drain_halfway])
    watch = Stopwatch()
    asyncio.run(run_plan(plan, RUN, {SCOPE: MadeUpCloud(size)}, tape, CLOCK, control, {SCOPE: 10.0}))
    run.journal.close()
    sample = watch.stop(ended[0])
    more = {
        "plan loaded s": loaded.wall,
        "run opened s": opened.wall,
        "loading MB": load_peak,
        "grows by MB": peak_rss_mb() - before,
        "journal MB": (run.path / JOURNAL).stat().st_size / MB,
    }
    return replace(sample, more=more)


def stage_resume(size: int, folder: Path) -> Sample:
    """Until the run could go on."""
    watch = Stopwatch()
    run, _ = reopen_run(folder / RUN)
    sample = watch.stop(size)
    run.journal.close()
    return replace(sample, more={"s": sample.wall, "known changes": float(len(run.lives))})


def forget_peak() -> float:
    """Lets the peak begin anew, where the system can; returns the memory held now in MB."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_rss_mb()


def play(stage: str, size: int, folder: Path) -> Sample:
    """One stage in a process of its own; a sample of not-a-number when it did not come to its end."""
    if stage == STAGES[0]:
        (folder / str(size)).mkdir()
    words = [sys.executable, "-m", "benchmarks.fleet_scale", stage, str(size), str(folder / str(size))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode != 0:
        print(f"{stage} of {size}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return Sample(size, math.nan, math.nan)
    return Sample(**json.loads(done.stdout.splitlines()[-1]))


def run(*, quick: bool) -> Result:
    """Every size, its stages one after the other; a size that failed ends the series."""
    rows: list[Row] = []
    for size in QUICK_SIZES if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            for stage in STAGES:
                name = label(stage, size)
                samples = interleave({name: partial(play, stage, size, Path(folder))}, 1, warm_up=False)
                if math.isnan(samples[name][0].cpu):
                    break
                rows.append(summarize(name, samples))
    facts = conditions(["notebook-fleet", "pydantic"], rounds=1, quick=quick, most_gb=MOST_GB)
    return Result("fleet_scale", facts, rows, judge({row.client: row for row in rows}, quick=quick))


def label(stage: str, size: int) -> str:
    return f"{stage}, {size:,} notebooks"


def judge(rows: Mapping[str, Row], *, quick: bool) -> list[Check]:
    """Memory has limits of its own; CPU for each notebook must not grow. What never ended is missed."""
    sizes = QUICK_SIZES if quick else SIZES
    base, largest = sizes[1], sizes[-1]
    checks = [memory_of_plan(rows, size, limit) for size, limit in ((sizes[-2], 200.0), (largest, 1500.0))]
    small, large = rows.get(label("run", base)), rows.get(label("run", largest))
    what = f"memory that a run of {largest:,} takes above its plan, more than one of {base:,}, MB"
    if small is None or large is None:
        checks.append(missed(what, 15))
    else:
        checks.append(at_most(what, large.more["grows by MB"] - small.more["grows by MB"], 15))
    for stage in STAGES:
        what = f"{stage}: CPU for each of {largest:,} over that of {base:,}"
        small, large = rows.get(label(stage, base)), rows.get(label(stage, largest))
        if small is None or large is None:
            checks.append(missed(what, 1.2))
        else:
            checks.append(at_most(what, large.cpu_us / small.cpu_us, 1.2))
    return checks


def memory_of_plan(rows: Mapping[str, Row], size: int, limit: float) -> Check:
    what = f"peak of planning {size:,}, MB"
    row = rows.get(label("plan", size))
    return missed(what, limit) if row is None else at_most(what, row.rss_mb, limit)


def missed(what: str, limit: float) -> Check:
    """Not one figure, because the stage did not come to its end."""
    return Check(f"{what} (never ended within {MOST_GB} GB)", -1.0, f"<= {limit:g}", ok=False)


def main() -> None:
    stage, size, folder = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_GB * 1024 * MB, MOST_GB * 1024 * MB))
    steps = {"plan": stage_plan, "run": stage_run, "resume": stage_resume}
    sample = steps[stage](int(size), Path(folder))
    print(json.dumps(asdict(replace(sample, rss_mb=peak_rss_mb()))))


if __name__ == "__main__":
    main()
