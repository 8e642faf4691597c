"""A cloud behind a real socket, in virtual time, with people in it, and the road from a job to a report.

What a run did is read from the cloud's own log and from snapshots of the fleet. The report is only believed
where both agree.
"""

from __future__ import annotations

import asyncio
import io
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from pydantic import Field

from fleet.client.clock import Clock
from fleet.core.events import Event, RunEnd
from fleet.core.fold import fold
from fleet.core.job import Context, JobSpec, Skip, Wants
from fleet.core.jobfiles.jobfile import read_job
from fleet.core.notebook import Notebook as Seen
from fleet.core.pacing.limits import Rate
from fleet.core.patch import NotebookPatch, from_body
from fleet.core.planning.plan import Plan
from fleet.core.rollout import EVERYTHING
from fleet.core.rows import Row
from fleet.core.scope import AkSkKeys, Credential, ScopeSpec
from fleet.engine.readiness_attendants import People
from fleet.journal.reader import read_journal
from fleet.journal.runs import JOURNAL, new_run_id
from fleet.journal.writer import InlineJournal
from fleet.report.summary import Report
from fleet.service.jobs import job_type
from fleet.service.planning import Order, plan_job
from fleet.service.running import RunFolder, apply_plan, open_run
from fleet.service.signals import SIGNALS
from fleet.service.telling import read_report
from fleet.simulator import life
from fleet.simulator.app import serve
from fleet.simulator.audit import Snapshot, audit, is_write, snapshot
from fleet.simulator.cloud import Cloud
from fleet.simulator.records import Record
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import HOUR_MS, Image, Lease, Notebook, Timer, ms

EPOCH = 1_764_000_000.0
FAST = Rate(1000, 1.0)
STEPS = {
    "CreateImage": "save",
    "StopNotebook": "stop",
    "UpdateNotebook": "put",
    "StartNotebook": "start",
    "RenewLease": "lease",
}

MIGRATION = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""

Act = Callable[[], None]


@pytest.fixture(scope="session", autouse=True)
def no_loop_by_accident() -> None:
    """looptime asks for the current loop in plain tests too; without this, one that nobody closes is made."""
    asyncio.set_event_loop(None)


class Edit(JobSpec):
    """A job of the tests: sends these fields of the PUT body, and the addresses to every closed endpoint."""

    set: dict[str, Any] = Field(default_factory=dict)
    addresses: tuple[str, ...] = ()

    def wants(self) -> Wants:
        return Wants(switchable="flavor" in self.set)

    def propose(self, notebook: Seen, context: Context) -> NotebookPatch | Skip:
        patch = from_body(self.set)
        if not self.addresses:
            return patch
        items = [
            item if item.open else structs.replace(item, allowed_access_ips=self.addresses)
            for item in notebook.endpoints
        ]
        return replace(patch, endpoints=tuple(items))


JOBS: Mapping[str, type[JobSpec]] = {"edit": Edit}


@dataclass(frozen=True)
class Run:
    """What became of an applied plan, as the report tells it and as the cloud saw it."""

    plan: Plan
    end: RunEnd
    report: Report
    log: Sequence[Record]
    before: Snapshot
    after: Snapshot
    events: Sequence[Event]
    unsaved: Sequence[Event]
    path: Path

    @property
    def outcomes(self) -> list[str]:
        """In the order of the plan."""
        return [str(row.outcome) for row in self.report.rows]

    @property
    def only(self) -> Row:
        """The row of the only notebook."""
        (row,) = self.report.rows
        return row

    def row(self, notebook: Notebook) -> Row:
        return next(row for row in self.report.rows if row.id == notebook.id)

    def calls(self, notebook: Notebook | None = None, *, applied: bool = False) -> list[str]:
        """The writes that the cloud got, in order: save, stop, put, start, lease."""
        return [
            STEPS[record.operation]
            for record in self.log
            if is_write(record)
            and (notebook is None or record.notebook == notebook.id)
            and (record.applied or not applied)
        ]

    def looks(self, notebook: Notebook) -> int:
        return sum(r.operation == "ShowNotebook" and r.notebook == notebook.id for r in self.log)

    def most_away(self, owner: str = "") -> int:
        """How many notebooks were ever away at once, of one owner or of all, from the cloud's own times."""
        moments: list[tuple[float, int]] = []
        for change in self.plan.changes:
            stopped = [
                r.at
                for r in self.log
                if r.notebook == change.id and r.operation == "StopNotebook" and r.applied
            ]
            if stopped and owner in ("", change.owner):
                back = self.after.notebooks[change.id].running_since
                moments += [(stopped[0], 1), (self.after.at if back is None else back, -1)]
        away = list(accumulate(step for _, step in sorted(moments)))
        return max(away, default=0)

    def findings(self, *allowed: Notebook) -> list[str]:
        """What the audit holds against the run; `allowed` ones were somebody else's doing."""
        planned = {change.id: list(change.after) for change in self.plan.changes}
        spared = {notebook.id for notebook in allowed}
        found = audit(self.before, self.after, self.log, planned)
        return [f"{one.notebook}: {one.what}: {one.detail}" for one in found if one.notebook not in spared]


class _Witness(io.StringIO):
    """Gets the simulator's log: sees every request when the cloud took it in, before the answer."""

    def __init__(self, saw: Callable[[], None]) -> None:
        super().__init__()
        self._saw = saw

    def write(self, line: str, /) -> int:
        self._saw()
        return len(line)


@dataclass
class Lab:
    """A served cloud, and the way from a job to its report. `specs` are its scopes by project.

    `skew` is how far the wall clock of our machine is ahead of the cloud's; `slept` is how long the machine
    stood still while the world went on: its wall and boot clocks know, its monotonic clock does not. Seconds.
    `people` is the way to owners, by default the one that the plan names.
    """

    cloud: Cloud
    base: Path
    specs: list[ScopeSpec] = field(default_factory=list)
    runs: int = 0
    skew: float = 0.0
    slept: float = 0.0
    people: People | None = None
    _reactions: list[tuple[Callable[[Record], bool], Act]] = field(default_factory=list)

    # --- time ---

    def now(self) -> float:
        """Wall seconds of the lab."""
        return EPOCH + self.slept + asyncio.get_running_loop().time()

    def our_now(self) -> float:
        """Wall seconds by the clock of our machine."""
        return self.now() + self.skew

    @property
    def clock(self) -> Clock:
        loop = asyncio.get_running_loop()
        return Clock(loop.time, self.our_now, lambda: loop.time() + self.slept)

    # --- the fleet and its people ---

    @property
    def notebooks(self) -> list[Notebook]:
        """In the order in which one scope's plan takes them."""
        return sorted(self.cloud.world.notebooks.values(), key=lambda row: row.id)

    def image(self, name: str) -> Image:
        return next(image for image in self.cloud.world.images.values() if image.name.startswith(name))

    def edit(self, notebook: Notebook, **fields: Any) -> None:
        """Somebody changes fields of a notebook."""
        for name, value in fields.items():
            setattr(notebook, name, value)
        notebook.touch(ms(self.now()))

    def stop(self, notebook: Notebook) -> None:
        self.cloud.settle(self.now())
        life.stop(self.cloud.world, notebook, self.now())

    def start(self, notebook: Notebook) -> None:
        self.cloud.settle(self.now())
        life.start(self.cloud.world, notebook, self.now())
        notebook.lease.grant(4 * HOUR_MS, "TIMING", ms(self.now()))

    def hang(self, notebook: Notebook) -> None:
        """The notebook stays in the status that it is passing through."""
        del notebook.timers[Timer.STATUS]

    def delete(self, notebook: Notebook) -> None:
        self.cloud.settle(self.now())
        life.delete(self.cloud.world, notebook, self.now())

    def put_into(self, notebook: Notebook, status: Status) -> None:
        """The notebook comes to be in `status`, however that happened."""
        self.cloud.settle(self.now())
        life.enter(self.cloud.world, notebook, status, self.now())

    def lend(self, notebook: Notebook, hours: float | None, kind: str = "TIMING") -> None:
        """Gives a notebook this lease; None switches automatic stop off."""
        notebook.lease.grant(-1 if hours is None else round(hours * HOUR_MS), kind, ms(self.now()))
        notebook.rendered = None
        life.watch_lease(self.cloud.world, notebook, self.now())

    def at(self, seconds: float, act: Act) -> None:
        """Somebody acts so many seconds from now."""
        asyncio.get_running_loop().call_later(seconds, act)

    def when(self, operation: str, act: Act, *, notebook: Notebook | None = None, times: int = 1) -> None:
        """Somebody acts right after the cloud took in such a request, before its answer."""
        left = [times]

        def strikes(record: Record) -> bool:
            fits = record.operation == operation and (notebook is None or record.notebook == notebook.id)
            left[0] -= fits
            return fits and left[0] >= 0

        self._reactions.append((strikes, act))

    def _saw(self) -> None:
        for strikes, act in self._reactions:
            if strikes(self.cloud.log[-1]):
                act()

    def serve(self, stack: AsyncExitStack) -> Awaitable[str]:
        return stack.enter_async_context(serve(self.cloud, clock=self.now, request_log=_Witness(self._saw)))

    # --- the road ---

    def order(self, text: str) -> Order:
        file, spec = read_job(text, "job.yaml", lambda name: JOBS.get(name) or job_type(name))
        order = Order.of(file, spec)
        return replace(order, guards=replace(order.guards, max_share=EVERYTHING))  # small labs, whole jobs

    async def plan(self, text: str = MIGRATION, *, accept_churn: bool = False) -> Plan:
        return await plan_job(self.order(text), self.specs, self.clock, accept_churn=accept_churn)

    async def apply(self, plan: Plan, journal: type[InlineJournal] = InlineJournal) -> Run:
        self.runs += 1
        folder = open_run(self.base, new_run_id(self.now(), f"{self.runs:04d}"), plan, journal)
        return await self._perform(plan, folder)

    async def resume(self, run: Run) -> Run:
        """Goes on with a run, as a process does that finds it on disk."""
        journal = InlineJournal.open_for_append(run.path / JOURNAL)
        state = fold(run.plan, run.events)
        folder = RunFolder(run.path.name, run.path, journal, earlier=state.earlier())
        return await self._perform(run.plan, folder)

    async def _perform(self, plan: Plan, folder: RunFolder) -> Run:
        before, first = snapshot(self.cloud, self.now()), len(self.cloud.log)
        end = await apply_plan(plan, folder, self.specs, self.clock, [], people=self.people)
        after = snapshot(self.cloud, self.now())
        log = tuple(self.cloud.log[first:])
        events = read_journal(folder.path / JOURNAL).events
        report = read_report(folder.path)
        return Run(plan, end, report, log, before, after, events, folder.journal.unsaved, folder.path)

    async def go(self, text: str = MIGRATION) -> Run:
        """Plans and applies."""
        return await self.apply(await self.plan(text))


def _scopes(cloud: Cloud, url: str, credential: Credential | None, rate: Rate) -> list[ScopeSpec]:
    identity = cloud.identity
    return [
        ScopeSpec(
            name=f"lab-{letter}",
            region=identity.region,
            project_id=project.id,
            endpoint=url,
            iam_endpoint=url,
            credential=credential or AkSkKeys(identity.access_key, identity.secret_key),
            workspaces=() if len(identity.projects) > 1 else ("0",),
            rate=rate,
        )
        for letter, project in zip("abc", identity.projects, strict=False)
    ]


def _make_plain(lab: Lab, states: Iterable[Status]) -> None:
    """Turns a seeded fleet into one without surprises: a CPU flavor, the old image, an EVS disk of 50 GB, SSH
    for one key and one address, a TIMING lease with five hours left, owners ann and bob by turns."""
    for number, (row, status) in enumerate(zip(lab.notebooks, states, strict=True)):
        row.name, row.description = f"nb-{number}", ""
        row.user = replace(row.user, id=f"{number % 2:032x}", name=("ann", "bob")[number % 2])
        row.flavor, row.custom_spec, row.pool = "modelarts.vm.cpu.2u", None, None
        row.image = lab.image("pytorch1.8-cuda")
        row.pulled_image = row.image.id
        row.feature, row.workspace_id, row.tags = "NOTEBOOK", "0", {}
        row.volume = {
            "category": "EVS",
            "ownership": "MANAGED",
            "capacity": 50,
            "mount_path": "/home/ma-user/work/",
            "status": "IN_USE",
        }
        row.endpoints = [
            {
                "service": "SSH",
                "key_pair_names": ["kp-ana"],
                "allowed_access_ips": ["203.0.113.1"],
                "uri": "ssh://ma-user@host.example.com:30001",
            }
        ]
        left = 5 * HOUR_MS
        duration = ms(lab.now()) - row.create_at + left
        row.lease = Lease("TIMING", True, row.create_at, duration, row.create_at)
        life.enter(lab.cloud.world, row, status, lab.now())
    lab.cloud.world.add(())  # forgets what was prepared for the rows as they were


MakeLab = Callable[..., Awaitable[Lab]]

# A journal is synced at every intent; how fast a disk does that is not what is tested here.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder in it


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """Two runs in one process restore the handlers in the wrong order: here is who puts them right."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def world() -> AsyncIterator[MakeLab]:
    """Makes a served cloud: `await world(running=2, stopped=1)` is plain, `await world(seeded=200)` is not.

    `credential` and `rate` go to the scopes, all other words to `make_cloud`.
    """
    async with AsyncExitStack() as stack:
        base = stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY))

        async def make(
            *,
            running: int = 0,
            stopped: int = 0,
            seeded: int = 0,
            credential: Callable[[Cloud], Credential] | None = None,
            rate: Rate = FAST,
            **options: Any,
        ) -> Lab:
            options = {"seed": 7, "projects": 3 if seeded else 1, **options}
            cloud = make_cloud(notebooks=seeded or running + stopped, now=EPOCH, **options)
            lab = Lab(cloud, Path(base))
            if not seeded:
                _make_plain(lab, [Status.RUNNING] * running + [Status.STOPPED] * stopped)
            url = await lab.serve(stack)
            lab.specs = _scopes(cloud, url, credential(cloud) if credential else None, rate)
            return lab

        yield make
