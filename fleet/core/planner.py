"""From proposals to changes: what must happen to each selected notebook, or why nothing will.

A job says which fields should differ. The planner knows the machine room: which run state a field needs,
whether that means a restart, what to come back to, and what must never be sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

from fleet.core.errors import GuardError
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook, Status
from fleet.core.pace import parse_rate
from fleet.core.patch import (
    FIELD_TABLE,
    InvalidField,
    NotebookPatch,
    When,
    documentation_address,
    is_uuid,
    opens_to_world,
    read_field,
    readable,
    to_body,
)
from fleet.core.plan import Change, Estimate, Phase, PlanScope, Settled
from fleet.core.rollout import Disruption, Rollout, wave_sizes

# Seconds, for the estimate only; no official figures exist.
ASSUMED_STOP = 60.0
ASSUMED_START = 120.0
ASSUMED_CALL = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """A selected notebook with what its job may know; `protected` says that a guard keeps it as it is."""

    notebook: Notebook
    context: Context
    protected: bool = False


def plan_changes(
    targets: Sequence[Target], job: JobSpec, rollout: Rollout, max_targets: int
) -> tuple[tuple[Change, ...], tuple[Settled, ...]]:
    """Changes in the order of their release, and the rows that need or get no work.

    Raises GuardError when more notebooks would change than `max_targets` allows.
    """
    changes: dict[str, list[Change]] = defaultdict(list)
    settled: list[Settled] = []
    for target in sorted(targets, key=lambda target: (target.context.scope, target.notebook.id)):
        row = plan_one(target, job, rollout)
        if isinstance(row, Change):
            changes[row.scope].append(row)
        else:
            settled.append(row)
    ordered = [one for one in chain.from_iterable(zip_longest(*changes.values())) if one is not None]
    if len(ordered) > max_targets:
        raise GuardError(
            f"{len(ordered)} notebooks would change, guards.max_targets is {max_targets}: "
            "narrow the selector, or raise the limit in the job file"
        )
    waves = chain.from_iterable(
        [wave] * size for wave, size in enumerate(wave_sizes(len(ordered), rollout.waves), start=1)
    )
    numbered = tuple(
        replace(one, item=item, wave=wave)
        for item, (one, wave) in enumerate(zip(ordered, waves, strict=True))
    )
    kept = tuple(replace(row, item=len(numbered) + item) for item, row in enumerate(settled))
    return numbered, kept


def plan_one(target: Target, job: JobSpec, rollout: Rollout) -> Change | Settled:
    """What is to be done with one notebook."""
    notebook = target.notebook
    run_state = notebook.status.heading or notebook.status
    if not is_uuid(notebook.id):
        return _settled(target, Outcome.SKIPPED, "its id is no UUID, so it cannot be addressed")
    if target.protected:
        return _settled(target, Outcome.SKIPPED, "protected by guards.protect")
    if run_state not in (Status.RUNNING, Status.STOPPED):
        word = notebook.status_word or notebook.status.value
        return _settled(target, Outcome.SKIPPED, f"status {word}")
    try:
        proposal = job.propose(notebook, target.context)
    except InvalidField as problem:
        return _settled(target, Outcome.SKIPPED, str(problem))
    if isinstance(proposal, Skip):
        return _settled(target, proposal.outcome, proposal.reason)
    patch = _what_differs(proposal, notebook)
    if not patch:
        return _settled(target, Outcome.UNCHANGED, "already so", to_body(proposal))
    refusal = _refusal(patch, notebook)
    if refusal:
        return _settled(target, Outcome.SKIPPED, refusal)
    phases = phases_of(patch, run_state)
    may_restart = rollout.disruption is Disruption.RESTART
    if not may_restart and any(not phase.when.allows(run_state) for phase in phases):
        return _settled(target, Outcome.SKIPPED, f"{_disturbs(run_state)}; rollout.disruption is none")
    body = to_body(patch)
    return Change(
        item=0,
        wave=0,
        scope=target.context.scope,
        id=notebook.id,
        name=notebook.name,
        owner=notebook.owner,
        pool=notebook.pool_id,
        flavor=notebook.flavor,
        run_state=run_state,
        arriving=notebook.status is not run_state,
        may_restart=may_restart,
        phases=phases,
        before={name: read_field(notebook, name) for name in body if readable(name)},
        after=body,
        lease=notebook.lease,
        notes=(*_notes(patch, notebook), *job.remarks(notebook, target.context)),
    )


def _disturbs(run_state: Status) -> str:
    if run_state is Status.RUNNING:
        return "is RUNNING and would have to be stopped"
    return "is STOPPED and would have to be started"


def phases_of(patch: NotebookPatch, run_state: Status) -> tuple[Phase, ...]:
    """The PUTs that `patch` takes: first what can be sent in the present state, then the rest.

    Fields that may be sent in any state ride along with a PUT that is due anyway.
    """
    needs = {FIELD_TABLE[name] for name in patch.fields()} - {When.ANY}
    free = When(run_state.value)
    order = [free, When.STOPPED if free is When.RUNNING else When.RUNNING]
    states = [when for when in order if when in needs] or [When.ANY]
    phases = []
    for when in states:
        names = [name for name in patch.fields() if FIELD_TABLE[name] is when]
        if when is states[0]:
            names += [name for name in patch.fields() if FIELD_TABLE[name] is When.ANY and name not in names]
        phases.append(Phase(when, to_body(patch.only(names))))
    return tuple(phases)


def _what_differs(patch: NotebookPatch, notebook: Notebook) -> NotebookPatch:
    body = to_body(patch)
    names = [name for name in body if not readable(name) or body[name] != read_field(notebook, name)]
    return patch.only(names)


def _refusal(patch: NotebookPatch, notebook: Notebook) -> str | None:
    """Why this patch must not be sent to this notebook, or None."""
    if patch.endpoints is not None:
        opened = opens_to_world(notebook.endpoints, patch.endpoints)
        if opened:
            return f"endpoints: {opened}"
    if patch.storage_new_size is not None:
        volume = notebook.volume
        if volume is None or volume.category.upper() != "EVS":
            return "storage_new_size: only an EVS disk can grow"
        if patch.storage_new_size < volume.capacity:
            return (
                f"storage_new_size: {patch.storage_new_size} GB is less than the {volume.capacity} GB there"
            )
    return None


def _notes(patch: NotebookPatch, notebook: Notebook) -> Iterable[str]:
    if patch.hooks is not None:
        yield "hooks cannot be read back: the cloud's answer is all the proof there is"
    if patch.storage_new_size is not None:
        yield "a grown disk cannot shrink again: this cannot be undone"
    for item in patch.endpoints or ():
        if item.open:
            yield f"the {item.service} endpoint is open to every address, as before"
        if any(documentation_address(address) for address in item.allowed_access_ips or ()):
            yield f"the {item.service} whitelist holds addresses reserved for documentation"


def _settled(target: Target, outcome: Outcome, reason: str, values: dict[str, Any] | None = None) -> Settled:
    notebook = target.notebook
    return Settled(
        item=0,
        scope=target.context.scope,
        id=notebook.id,
        name=notebook.name,
        owner=notebook.owner,
        outcome=outcome,
        reason=reason,
        run_state=notebook.status_word or notebook.status.value,
        values=values or {},
        lease=notebook.lease,
    )


def estimate(changes: Sequence[Change], scopes: Sequence[PlanScope], rollout: Rollout) -> Estimate:
    """Calls, and the longest of three bounds for each wave: the rates, the slots, one change's own way.

    Stop and start times are assumed; list polls for those who wait are counted at one round a minute.
    """
    of_scope = {scope.name: scope for scope in scopes}
    seconds = 0.0
    for wave in sorted({change.wave for change in changes}):
        part = [change for change in changes if change.wave == wave]
        seconds += max(_by_rate(part, of_scope), _by_slots(part, rollout, len(changes)), _own_way(part))
    seconds += rollout.soak * max(0, len({change.wave for change in changes}) - 1)
    reads = sum(3 if change.needs_restart else 2 for change in changes)
    writes = sum(_writes(change) for change in changes)
    if any(change.needs_restart for change in changes):
        pages = sum(max(1, -(-scope.listed // 50)) for scope in scopes)
        reads += pages * max(1, round(seconds / 60))
    return Estimate(reads=reads, writes=writes, seconds=round(seconds, 1))


def _writes(change: Change) -> int:
    return len(change.phases) + (2 if change.needs_restart else 0)


def _by_rate(changes: Sequence[Change], scopes: dict[str, PlanScope]) -> float:
    writes: dict[str, int] = defaultdict(int)
    for change in changes:
        writes[change.scope] += _writes(change)
    by_key: dict[str, float] = defaultdict(float)
    for name, count in writes.items():
        rate = parse_rate(scopes[name].rate)
        by_key[scopes[name].throttle] += count * rate.window / rate.count
    return max(by_key.values(), default=0.0)


def _by_slots(changes: Sequence[Change], rollout: Rollout, total: int) -> float:
    slots = rollout.concurrency
    if rollout.max_failures is not None:
        slots = min(slots, max(1, rollout.max_failures.of(total)))
    return sum(_length(change) for change in changes) / slots


def _own_way(changes: Sequence[Change]) -> float:
    return max((_length(change) for change in changes), default=0.0)


def _length(change: Change) -> float:
    away = ASSUMED_STOP + ASSUMED_START if change.needs_restart else 0.0
    return away + ASSUMED_CALL * (_writes(change) + 2)
