"""From a job file to a sealed plan: list, look up the catalogues, propose, check, seal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio

from fleet import __version__
from fleet.client.clock import Clock
from fleet.client.connect import connect, lowest_rates
from fleet.client.memory import LimitFile
from fleet.core.catalog import Catalog
from fleet.core.estimate import estimate
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec
from fleet.core.jobfile import JobFile
from fleet.core.notebook import Flavor, Image
from fleet.core.plan import FORMAT, Change, Plan, PlanScope, Settled, seal
from fleet.core.planner import Target, plan_changes, wave_remarks
from fleet.core.rollout import Rollout, without_empty_waves
from fleet.core.scope import ScopeSpec
from fleet.core.selection import Key, Picker, Selection
from fleet.core.selector import Selector
from fleet.service.survey import Listing, OnRead, survey, unwatched, whole


class Catalogued(Listing, Protocol):
    """A scope that can be listed and that offers images and flavors."""

    async def images(self) -> Sequence[Image]: ...

    async def flavors(self) -> Sequence[Flavor]: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be planned: whom a job concerns, what it proposes, how it is released.

    `expected` names notebooks that must be there (by key, with the name they had); each that is not gets a
    row that says `gone`.
    """

    name: str
    job_type: str
    picker: Picker
    job: JobSpec
    rollout: Rollout
    max_targets: int
    protect: Selector | None = None
    expected: Mapping[Key, str] = field(default_factory=dict)

    @classmethod
    def of(cls, file: JobFile, job: JobSpec) -> Order:
        """The order in a job file: its own condition, joined with what the parameters imply."""
        implied = job.narrows()
        return cls(
            name=file.name,
            job_type=file.job,
            picker=file.select if implied is None else file.select & Selector.parse(implied),
            job=job,
            rollout=file.rollout,
            max_targets=file.guards.max_targets,
            protect=file.guards.protect,
        )


async def plan_job(
    order: Order,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    *,
    accept_churn: bool = False,
    memory: LimitFile | None = None,
    on_read: OnRead = unwatched,
) -> Plan:
    """Connects to the scopes and plans; see `make_plan`. `memory` remembers limits across runs."""
    async with connect(specs, memory=memory, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        return await make_plan(order, specs, clouds, clock.wall(), accept_churn=accept_churn, on_read=on_read)


async def make_plan(
    order: Order,
    specs: Sequence[ScopeSpec],
    clouds: Mapping[str, Catalogued],
    wall: float,
    *,
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> Plan:
    """The sealed plan for `order` at wall time `wall` (s). Nothing is written to the cloud.

    `on_read` is told of every page of the notebooks that is read.

    Raises FleetError for whatever makes a plan impossible, and CallError when the cloud cannot be read.
    """
    now = int(wall * 1000)
    chosen = {spec.name: clouds[spec.name] for spec in specs}
    contexts = await _contexts(chosen, now)
    for context in contexts.values():
        order.job.check(context)
    selections = await survey(chosen, order.picker, now, accept_churn=accept_churn, on_read=on_read)
    protect = order.protect
    targets = [
        Target(row, contexts[found.scope], protect is not None and protect.matches(row, found.scope, now))
        for found in selections
        for row in found.matched
    ]
    changes, settled = plan_changes(targets, order.job, order.rollout, order.max_targets)
    left_out = [*_restless(selections), *_vanished(selections, order.expected)]
    settled += tuple(replace(row, item=len(changes) + len(settled) + at) for at, row in enumerate(left_out))
    scopes = tuple(_plan_scope(spec, found) for spec, found in zip(specs, selections, strict=True))
    return seal(
        Plan(
            format=FORMAT,
            job=order.name,
            job_type=order.job_type,
            select=order.picker.text,
            created_at=wall,
            engine=__version__,
            scopes=scopes,
            rollout=without_empty_waves(order.rollout, len(changes)),
            changes=changes,
            settled=settled,
            checks=tuple(_checks(specs, changes, order.rollout)),
            estimate=estimate(changes, scopes, order.rollout),
            names=_image_names(changes, contexts),
            protect=order.protect.text if order.protect is not None else "",
        )
    )


async def _contexts(clouds: Mapping[str, Catalogued], now: int) -> dict[str, Context]:
    """What each scope offers, read concurrently."""
    contexts: dict[str, Context] = {}

    async def one(name: str, cloud: Catalogued) -> None:
        images, flavors = await whole(cloud.images), await cloud.flavors()
        catalog = Catalog(
            images={image.id: image for image in images},
            flavors={flavor.id: flavor for flavor in flavors},
        )
        contexts[name] = Context(name, catalog, now)

    async with anyio.create_task_group() as group:
        for name, cloud in clouds.items():
            group.start_soon(one, name, cloud)
    return contexts


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


def _plan_scope(spec: ScopeSpec, found: Selection) -> PlanScope:
    return PlanScope(
        name=spec.name,
        region=spec.region,
        project_id=spec.project_id,
        endpoint=spec.endpoint,
        listed=len(found.rows),
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
        slots = rollout.max_failures.of(len(changes))
        if slots < min(rollout.concurrency, len(changes)):
            said.append(f"max_failures {rollout.max_failures}: at most {slots} go at once, as each may fail")
    said += wave_remarks(changes, rollout)
    notes: dict[str, int] = {}
    for change in changes:
        for note in change.notes:
            notes[note] = notes.get(note, 0) + 1
    return said + [f"{note} ({count} notebooks)" for note, count in notes.items()]
