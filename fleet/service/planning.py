"""From a job file to a sealed plan: list, look up the catalogues, propose, check, seal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio

from fleet import __version__
from fleet.client.clock import Clock
from fleet.client.connect import connect, lowest_rates
from fleet.client.memory import LimitFile
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec
from fleet.core.jobfiles.jobfile import JobFile
from fleet.core.notebook import Notebook
from fleet.core.planning.estimate import estimate
from fleet.core.planning.guards import Guards, exceeded, lifted
from fleet.core.planning.one_notebook import Target
from fleet.core.planning.plan import FORMAT, Change, Plan, PlanScope, Settled, heads
from fleet.core.planning.plan_file import seal
from fleet.core.planning.planner import plan_changes, wave_remarks
from fleet.core.planning.prices import Prices, price_remarks, read_prices, with_costs
from fleet.core.planning.quota import over_quota, quota_remarks, restarts
from fleet.core.planning.saves import save_remarks
from fleet.core.planning.stages import of_first_stage, stage_remarks, stages_of, totals
from fleet.core.planning.times import Timed, learned
from fleet.core.rollout import Rollout, Share, without_empty_waves
from fleet.core.scheduling.timing_words import timing_remarks
from fleet.core.scope import ScopeSpec
from fleet.core.selecting.sampling import Sample, keys_of, sampled
from fleet.core.selecting.selection import Key, Narrowed, Picker, Selection
from fleet.core.selecting.selector import Selector
from fleet.service.activity import require_metrics
from fleet.service.facts import Gathered, files_of, gather, running_shares
from fleet.service.jobs import require_right
from fleet.service.quotas import read_quotas
from fleet.service.resizes import Resizes
from fleet.service.survey import Catalogued, OnRead, read_catalogs, survey, unwatched, whole
from fleet.settings.files import read_text


@dataclass(frozen=True, slots=True)
class Choice:
    """Asked beside a job file: only these ids, not those, a sample, guards lifted for a reason."""

    listed: tuple[str, ...] | None = None
    exclude: tuple[Selector, ...] = ()
    limit: Share | None = None
    seed: int | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)

    def sample(self, usual: Sample | None = None) -> Sample | None:
        """The sample that is meant; what is not given is as `usual`. Raises UsageError for a seed alone."""
        limit = self.limit or (usual.limit if usual else None)
        if limit is None and self.seed is not None:
            raise UsageError("--seed: chooses a sample; give its limit too, such as --limit 10%")
        seed = self.seed if self.seed is not None else usual.seed if usual else 0
        return Sample(limit, seed) if limit is not None else None

    def narrow(self, picker: Picker) -> Picker:
        """The picker for whom both are content with."""
        return Narrowed(picker, self.listed, self.exclude) if self.listed or self.exclude else picker


ASKED_NOTHING = Choice()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be planned: whom a job concerns, what it proposes, how it is released.

    `expected` names notebooks that must be there (by key, with the name they had); each that is not gets a
    row that says `gone`. What `shield` matches is protected by the configuration, from every job. Files are
    relative to `folder`, `prices` too; `resizes` are what earlier runs did to flavors. `earliest` says when
    (wall seconds) a stage may begin whose forerunner an earlier run made. `placed` puts file and line before
    lines that begin with the name of a value in the job file.
    """

    name: str
    job_type: str
    picker: Picker
    job: JobSpec
    rollout: Rollout
    guards: Guards
    sample: Sample | None = None
    shield: Selector | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    prices: str | None = None
    resizes: Resizes = field(default_factory=Resizes)
    expected: Mapping[Key, str] = field(default_factory=dict)
    earliest: Mapping[int, float] = field(default_factory=dict)
    placed: Callable[[str], str] = str

    @classmethod
    def of(
        cls,
        file: JobFile,
        job: JobSpec,
        listed: tuple[str, ...] | None = None,
        choice: Choice = ASKED_NOTHING,
    ) -> Order:
        """The order in a job file: its own condition, joined with what the parameters imply.

        `listed` are the ids in the file that it names; `choice` narrows it further.
        """
        implied = job.narrows()
        own = Choice(listed, () if file.exclude is None else (file.exclude,))
        select = file.select if implied is None else file.select & Selector.parse(implied)
        return cls(
            name=file.name,
            job_type=file.job,
            picker=choice.narrow(own.narrow(select)),
            job=job,
            rollout=file.rollout,
            guards=file.guards,
            sample=choice.sample(file.sample),
            overrides=choice.overrides,
            folder=Path(file.document.where).parent,
            prices=file.prices,
            placed=file.document.placed,
        )

    @property
    def protections(self) -> dict[str, Selector]:
        """What must be left alone, by the place that says so."""
        named = {"guards.protect": self.guards.protect, "the configuration's guards": self.shield}
        return {place: selector for place, selector in named.items() if selector is not None}


async def plan_job(
    order: Order,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    *,
    accept_churn: bool = False,
    memory: LimitFile | None = None,
    timed: Sequence[Timed] = (),
    on_read: OnRead = unwatched,
) -> Plan:
    """Connects to the scopes and plans; see `make_plan`. `memory` remembers limits across runs."""
    async with connect(specs, memory=memory, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        return await make_plan(
            order, specs, clouds, clock.wall(), accept_churn=accept_churn, timed=timed, on_read=on_read
        )


async def make_plan(
    order: Order,
    specs: Sequence[ScopeSpec],
    clouds: Mapping[str, Catalogued],
    wall: float,
    *,
    accept_churn: bool = False,
    timed: Sequence[Timed] = (),
    on_read: OnRead = unwatched,
) -> Plan:
    """The sealed plan for `order` at wall time `wall` (s). Nothing is written to the cloud.

    `timed` are stops and starts of earlier runs, from which the estimate learns. `on_read` is told of every
    page of the notebooks that is read.

    Raises FleetError for whatever makes a plan impossible, and CallError when the cloud cannot be read.
    """
    require_metrics(order.rollout, specs)
    chosen = {spec.name: clouds[spec.name] for spec in specs}
    prices = prices_of(order)
    contexts, selected = await look(
        order, chosen, int(wall * 1000), accept_churn=accept_churn, on_read=on_read
    )
    selections = sampled(selected, order.sample)
    gathered = await informed(order, chosen, contexts, selections)
    contexts = gathered.contexts
    listed = {found.scope: len(found.rows) for found in selections}
    left_out = [*_restless(selections), *_vanished(selections, order.expected)]
    narrowed = tuple(_narrowed(order, selected))
    flavors = {id: row for context in contexts.values() for id, row in context.catalog.flavors.items()}
    learn = partial(learned, timed, endpoints={spec.endpoint for spec in specs}, flavors=flavors)
    targets = _targets(order, contexts, selections)
    del selected, selections  # of a large fleet, the rows should not lie beside the whole plan
    changes, settled = plan_changes(targets, order.job, order.rollout, learn)
    if prices is not None:
        changes = with_costs(changes, prices, dict(running_shares(contexts.values())))
    overrides = await _lifted(order, chosen, sum(listed.values()), len(heads(changes)))
    restarting = restarts(changes, order.rollout)
    quotas = await read_quotas(chosen, restarting)
    overrides |= lifted(over_quota(quotas.told, restarting), order.overrides)
    settled += tuple(replace(row, item=len(changes) + len(settled) + at) for at, row in enumerate(left_out))
    times = learn(changes)
    scopes = tuple(_plan_scope(spec, listed[spec.name]) for spec in specs)
    words = next((order.job.stages(context) for context in contexts.values()), ())
    stages = stages_of(changes, order.job.pause(), words, order.rollout, order.earliest)
    return seal(
        Plan(
            format=FORMAT,
            job=order.name,
            job_type=order.job_type,
            select=order.picker.text,
            created_at=wall,
            engine=__version__,
            scopes=scopes,
            rollout=without_empty_waves(order.rollout, *totals(changes)),
            changes=changes,
            settled=settled,
            checks=(
                *stage_remarks(stages, order.job.pause()),
                *save_remarks(changes, {name: order.job.saves_by(at) for name, at in contexts.items()}),
                *_checks(specs, changes, order.rollout),
                *gathered.notes,
                *quota_remarks(quotas.told, restarting, quotas.untold),
                *price_remarks(changes, prices),
            ),
            estimate=estimate(changes, scopes, order.rollout, stages, times),
            names=_image_names(changes, contexts),
            protect=order.guards.protect.text if order.guards.protect is not None else "",
            narrowed=narrowed,
            overrides=overrides,
            confirm_over=order.guards.confirm_over,
            stages=stages,
        )
    )


async def look(
    order: Order,
    clouds: Mapping[str, Catalogued],
    now: int,
    *,
    named: Sequence[str] = (),
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> tuple[Mapping[str, Context], list[Selection]]:
    """What the scopes offer, and whom the order's picker picks, before any sample is drawn."""
    catalogs = await read_catalogs(clouds)
    files = files_of(order.job.wants(), order.folder)
    contexts = {name: Context(name, catalog, now, files) for name, catalog in catalogs.items()}
    require_right(order.job, contexts.values(), order.placed)
    selections = await survey(
        clouds, order.picker, now, catalogs=catalogs, named=named, accept_churn=accept_churn, on_read=on_read
    )
    return contexts, selections


async def informed(
    order: Order,
    clouds: Mapping[str, Catalogued],
    contexts: Mapping[str, Context],
    selections: Sequence[Selection],
) -> Gathered:
    """The contexts with the facts that the job wants about those selected, and notes for people."""
    rows = {
        found.scope: [row for row in found.matched if not protection(order, row, contexts[found.scope])]
        for found in selections
    }
    return await gather(order.job, contexts, clouds, rows, folder=order.folder, resizes=order.resizes)


def _targets(
    order: Order, contexts: Mapping[str, Context], selections: Iterable[Selection]
) -> Iterator[Target]:
    for found in selections:
        context = contexts[found.scope]
        for row in found.matched:
            yield Target(row, context, protection(order, row, context))


def prices_of(order: Order) -> Prices | None:
    """The prices that the order names. Raises UsageError when they cannot be read."""
    if order.prices is None:
        return None
    path = order.folder / order.prices
    return read_prices(read_text(path, str(path)).text, str(path))


def protection(order: Order, notebook: Notebook, context: Context) -> str:
    """What protects the notebook; empty when nothing does."""
    found = (
        place
        for place, selector in order.protections.items()
        if selector.matches(notebook, context.scope, context.now, context.catalog)
    )
    return next(found, "")


async def _lifted(order: Order, clouds: Mapping[str, Catalogued], listed: int, count: int) -> dict[str, str]:
    """The guards that the order lifts. Raises GuardError for one that forbids `count` changes of `listed`."""
    too_many = any(name == "max_share" for name, _ in exceeded(order.guards, count, listed))
    if too_many and order.picker.pushdown():  # what was listed may be a part of all
        listed = await _held(clouds)
    return lifted(exceeded(order.guards, count, listed), order.overrides)


async def _held(clouds: Mapping[str, Catalogued]) -> int:
    """How many notebooks the scopes hold in all."""
    counts: list[int] = []

    async def one(cloud: Catalogued) -> None:
        counts.append(len(await whole(partial(cloud.list_pass, {}, lambda page, pages: None))))

    async with anyio.create_task_group() as group:
        for cloud in clouds.values():
            group.start_soon(one, cloud)
    return sum(counts)


def _narrowed(order: Order, selected: Sequence[Selection]) -> Iterator[str]:
    if isinstance(order.picker, Narrowed):
        yield from order.picker.remarks()
    if order.sample is not None:
        yield f"{order.sample.told(len(keys_of(selected)))} then selected"


def _restless(selections: Sequence[Selection]) -> Iterator[Settled]:
    for found in selections:
        for row in found.unstable:
            yield Settled(
                item=0,
                scope=found.scope,
                id=row.id,
                name=row.name,
                owner=row.owner,
                outcome=Outcome.SKIPPED,
                reason="kept changing while the fleet was read",
                run_state=row.status.value,
                lease=row.lease,
            )


def _vanished(selections: Sequence[Selection], expected: Mapping[Key, str]) -> Iterator[Settled]:
    there = {(found.scope, row.id) for found in selections for row in (*found.matched, *found.unstable)}
    for (scope, notebook_id), name in expected.items():
        if (scope, notebook_id) not in there:
            yield Settled(
                item=0,
                scope=scope,
                id=notebook_id,
                name=name,
                owner="",
                outcome=Outcome.GONE,
                reason="deleted by somebody",
            )


def _image_names(changes: Sequence[Change], contexts: Mapping[str, Context]) -> dict[str, str]:
    names: dict[str, str] = {}
    for change in changes:
        images = contexts[change.scope].catalog.images
        for values in (change.before, change.after):
            image = images.get(values.get("image_id", ""))
            if image is not None:
                names[image.id] = image.name
    return names


def _plan_scope(spec: ScopeSpec, listed: int) -> PlanScope:
    return PlanScope(
        name=spec.name,
        region=spec.region,
        project_id=spec.project_id,
        endpoint=spec.endpoint,
        listed=listed,
        throttle=spec.throttle,
        rate=str(spec.rate or ""),
    )


def _checks(specs: Sequence[ScopeSpec], changes: Sequence[Change], rollout: Rollout) -> list[str]:
    """What a person should know before saying yes."""
    said = []
    by_throttle: dict[str, list[ScopeSpec]] = {}
    for spec in specs:
        by_throttle.setdefault(spec.throttle, []).append(spec)
    for throttle, sharing in by_throttle.items():
        if len(sharing) > 1:
            lowest = lowest_rates(sharing).get(throttle)
            names = ", ".join(spec.name for spec in sharing)
            most = f"together at most {lowest}" if lowest else "their rate is learned together"
            said.append(f"scopes {names} share one throttle ({throttle}): {most}")
    if rollout.max_failures is not None:
        notebooks = len(heads(changes))
        slots = rollout.max_failures.of(notebooks)
        if slots < min(rollout.concurrency, notebooks):
            said.append(f"max_failures {rollout.max_failures}: at most {slots} go at once, as each may fail")
    said += wave_remarks(of_first_stage(changes), rollout)
    said += timing_remarks(rollout)
    notes: dict[str, int] = {}
    for change in changes:
        for note in change.notes:
            notes[note] = notes.get(note, 0) + 1
    return said + [f"{note} ({count} notebooks)" for note, count in notes.items()]
