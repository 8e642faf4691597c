"""Why a plan concerns one notebook or does not: the conditions of its order, and the job's own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.client.memory import LimitFile
from fleet.core.errors import CallError, Meaning
from fleet.core.job import Context
from fleet.core.planning.one_notebook import Target
from fleet.core.planning.planner import plan_changes
from fleet.core.scope import ScopeSpec
from fleet.core.selecting.explain import Finding, Findings, explain, why
from fleet.core.selecting.fields import Subject
from fleet.core.selecting.selection import Selection
from fleet.core.selecting.selector import Unheld
from fleet.service.facts import gather
from fleet.service.planning import Order, look
from fleet.service.survey import OnRead, unwatched


async def explain_job(
    order: Order,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    notebook_id: str,
    *,
    others: Callable[[], Sequence[ScopeSpec]] = tuple,
    memory: LimitFile | None = None,
    on_read: OnRead = unwatched,
) -> tuple[Subject, Findings]:
    """The notebook, and what speaks for planning it and what against. Nothing is written to the cloud.

    `specs` are the scopes that the job names, `others` tells those that it leaves alone.

    Raises FleetError as `make_plan`, and UsageError when no scope holds the notebook.
    """
    try:
        return await _explained(order, specs, clock, notebook_id, memory, on_read)
    except Unheld as missing:
        if notebook_id not in missing.ids:
            raise
        subject = await _elsewhere(others(), clock, notebook_id, memory)
        if subject is None:
            raise
    return subject, (Finding(f"scope {subject.scope} is not among the job's scopes", False),)


async def _explained(
    order: Order,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    notebook_id: str,
    memory: LimitFile | None,
    on_read: OnRead,
) -> tuple[Subject, Findings]:
    """The answer for a notebook in one of the job's scopes. Raises Unheld when none of them holds it."""
    async with connect(specs, memory=memory, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        now = int(clock.wall() * 1000)
        contexts, selections = await look(
            order, clouds, now, named=(notebook_id,), accept_churn=True, on_read=on_read
        )
        subject = find(selections, notebook_id, now)
        only = {subject.scope: [subject.notebook]}
        facts = await gather(order.job, contexts, clouds, only, folder=order.folder, resizes=order.resizes)
    return subject, (
        *why(order.picker, order.sample, selections, subject),
        *_protections(order, subject),
        _proposed(order, subject, facts.contexts[subject.scope]),
    )


async def _elsewhere(
    others: Sequence[ScopeSpec], clock: Clock, notebook_id: str, memory: LimitFile | None
) -> Subject | None:
    """The notebook, if one of the other scopes holds it. Raises CallError when one that may does not say."""
    untold: CallError | None = None
    async with connect(others, memory=memory, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        for name, cloud in clouds.items():
            try:
                reading = await cloud.look(notebook_id)
            except CallError as error:
                if error.meaning is not Meaning.GONE:
                    untold = error
            else:
                return Subject(reading.notebook, name, int(clock.wall() * 1000))
    if untold is not None:
        raise untold
    return None


def find(selections: Sequence[Selection], notebook_id: str, now: int) -> Subject:
    """The notebook of that id, which one of the scopes holds."""
    return next(
        Subject(row, found.scope, now, found.catalog)
        for found in selections
        for row in (*found.unstable, *found.rows)
        if row.id == notebook_id
    )


def _protections(order: Order, subject: Subject) -> Iterator[Finding]:
    for place, selector in order.protections.items():
        term = explain(selector, subject)
        yield Finding(f"protected by {place}", term.verdict is False, term)


def _proposed(order: Order, subject: Subject, context: Context) -> Finding:
    """What the job would do, were the notebook selected and not protected."""
    changes, settled = plan_changes([Target(subject.notebook, context)], order.job, order.rollout)
    if changes:
        fields = ", ".join(dict.fromkeys(name for change in changes for name in change.after))
        return Finding(f"the job would change {fields}", True)
    (row,) = settled
    return Finding(f"the job: {row.outcome.value}, {row.reason}", False)
