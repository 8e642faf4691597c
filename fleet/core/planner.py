"""From proposals to changes: what must happen to each selected notebook, or why nothing will.

A job says which fields should differ. The planner knows the machine room: which run state a field needs,
whether that means a restart, what to come back to, and what must never be sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from fleet.core.errors import GuardError
from fleet.core.estimate import length_of
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook, Status
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
from fleet.core.plan import Change, Phase, Settled
from fleet.core.rollout import Disruption, Rollout, empty_waves, wave_sizes


@dataclass(frozen=True, slots=True)
class Target:
    """A selected notebook with what its job may know; `protected` says that a guard keeps it as it is."""

    notebook: Notebook
    context: Context
    protected: bool = False


class Kind(NamedTuple):
    """What changes have in common that go the same way. Sorts by what a first wave should try first."""

    gentle: bool
    run_state: Status

    @classmethod
    def of(cls, change: Change) -> Kind:
        """The kind of one change."""
        return cls(not change.needs_restart, change.run_state)

    def __str__(self) -> str:
        return f"{self.run_state} {'without' if self.gentle else 'with'} a restart"


def plan_changes(
    targets: Sequence[Target], job: JobSpec, rollout: Rollout, max_targets: int
) -> tuple[tuple[Change, ...], tuple[Settled, ...]]:
    """Changes in the order of their release, and the rows that need or get no work.

    The first change of each kind leads, those with a restart before all, so that the first wave proves as
    much as its size allows. All others follow by scope in turn and by id. Within its wave what is expected to
    take longer goes first, or the slots would stand empty at the end for a restart that began last. Raises
    GuardError when more notebooks would change than `max_targets` allows.
    """
    changes: dict[str, list[Change]] = defaultdict(list)
    settled: list[Settled] = []
    for target in sorted(targets, key=lambda target: (target.context.scope, target.notebook.id)):
        row = plan_one(target, job, rollout)
        if isinstance(row, Change):
            changes[row.scope].append(row)
        else:
            settled.append(row)
    in_turn = [one for one in chain.from_iterable(zip_longest(*changes.values())) if one is not None]
    if len(in_turn) > max_targets:
        raise GuardError(
            f"{len(in_turn)} notebooks would change, guards.max_targets is {max_targets}: "
            "narrow the selector, or raise the limit in the job file"
        )
    numbered = tuple(
        replace(one, item=item, wave=wave) for item, (wave, one) in enumerate(_released(in_turn, rollout))
    )
    kept = tuple(replace(row, item=len(numbered) + item) for item, row in enumerate(settled))
    return numbered, kept


def _released(changes: Sequence[Change], rollout: Rollout) -> list[tuple[int, Change]]:
    """The changes in the order of their release, each with its wave."""
    first: dict[Kind, int] = {}
    for at, change in enumerate(changes):
        first.setdefault(Kind.of(change), at)
    canaries = [first[kind] for kind in sorted(first)]
    others = [at for at in range(len(changes)) if at not in canaries]
    sizes = enumerate(wave_sizes(len(changes), rollout.waves), start=1)
    waves = chain.from_iterable([wave] * size for wave, size in sizes)
    released = [(wave, changes[at]) for wave, at in zip(waves, [*canaries, *others], strict=True)]
    leading, following = released[: len(canaries)], released[len(canaries) :]
    return leading + sorted(following, key=lambda one: (one[0], -length_of(one[1])))


def wave_remarks(changes: Sequence[Change], rollout: Rollout) -> Iterator[str]:
    """What a person should know of the waves: which were dropped, and which kinds the first one proves.

    `rollout` is the job's own, before its empty waves were dropped.
    """
    if not changes:
        return
    empty = empty_waves(len(changes), rollout.waves)
    if empty:
        waves = f"wave{'s' * (len(empty) > 1)} {', '.join(map(str, empty))}"
        yield (
            f"{waves} of [{', '.join(map(str, rollout.waves))}] would release no further change and "
            f"{'are' if len(empty) > 1 else 'is'} dropped; waves and approvals are counted without"
        )
    kinds = Counter(Kind.of(change) for change in changes)
    proven = Counter(Kind.of(change) for change in changes if change.wave == 1)
    if len(kinds) > 1 and changes[-1].wave > 1:
        rest = [f"none of {kinds[kind]} {kind}" for kind in sorted(kinds.keys() - proven.keys())]
        yield f"wave 1 tries {', '.join([f'{proven[kind]} {kind}' for kind in sorted(proven)] + rest)}"


def plan_one(target: Target, job: JobSpec, rollout: Rollout) -> Change | Settled:
    """What is to be done with one notebook."""
    notebook = target.notebook
    run_state = notebook.status.heading or notebook.status
    if not is_uuid(notebook.id):
        return _settled(target, Outcome.SKIPPED, "its id is no UUID, so it cannot be addressed")
    if target.protected:
        return _settled(target, Outcome.SKIPPED, "protected by guards.protect")
    if barred := job.bars(notebook, target.context):
        return _settled(target, Outcome.SKIPPED, barred)
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
