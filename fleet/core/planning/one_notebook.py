"""From a job's proposal to the changes of one notebook, or why nothing will be done.

A job says which fields should differ. Here is known which run state a field needs, whether that means a
restart, what to come back to, and what must never be sent. Neighbour: `planner` puts changes into waves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleet.core.catalog import change_misfits, out_of_stock, sight_remark, start_problem, switch_remark
from fleet.core.events import Outcome
from fleet.core.job import Context, Facts, JobSpec, Skip, Staged
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import (
    FIELD_TABLE,
    InvalidField,
    NotebookPatch,
    When,
    is_uuid,
    opens_to_world,
    read_field,
    readable,
    to_body,
    with_patch,
)
from fleet.core.planning.plan import Change, Phase, Settled
from fleet.core.rollout import Disruption, Rollout
from fleet.core.scheduling.timing import Moment
from fleet.core.text import clean
from fleet.core.whitelist import documentation_address


@dataclass(frozen=True, slots=True)
class Target:
    """A selected notebook with what its job may know; `protected` names the guard that keeps it as it is."""

    notebook: Notebook
    context: Context
    protected: str = ""


def plan_one(target: Target, job: JobSpec, rollout: Rollout) -> Change | tuple[Change, ...] | Settled:
    """What is to be done with one notebook; if the job proposes stages, a change for each that differs.

    A stage that must not be sent leaves the whole notebook as it is.
    """
    notebook = target.notebook
    run_state = notebook.status.heading or notebook.status
    if not is_uuid(notebook.id):
        return _settled(target, Outcome.SKIPPED, "its id is no UUID, so it cannot be addressed")
    if target.protected:
        return _settled(target, Outcome.SKIPPED, f"protected by {target.protected}")
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
    staged = isinstance(proposal, Staged)
    proposed = proposal.patches if isinstance(proposal, Staged) else (proposal,)
    found, changes, notes = notebook, list[Change](), list[str]()
    for stage, whole in enumerate(proposed, start=1):
        patch = _what_differs(whole, found)
        if not patch:
            continue
        refusal = (
            _refusal(patch, found)
            or _misfit(patch, found, target.context)
            or _disturbance(patch, run_state, rollout)
            or _stays_down(patch, found, target.context, rollout)
        )
        if refusal:
            where = f"stage {stage}: " if staged else ""
            return _settled(target, Outcome.SKIPPED, where + refusal)
        change = _change(target, job, rollout, found, patch, stage)
        if _stops(change, rollout) and not any(one.save for one in changes):
            save = job.saves(notebook, target.context)
            change = replace(change, save=save, save_in=notebook.workspace_id if save else "")
        changes.append(change)
        notes += [*_notes(patch, found), *_sight(patch, found, target.context)]
        if _starts(patch, found, rollout) and _scarce(patch, found, target.context):
            notes.append(_SCARCE)
        found = with_patch(found, patch)
    if not changes:
        return _settled(target, Outcome.UNCHANGED, "already so", to_body(proposed[-1]))
    if any(_stops(change, rollout) for change in changes):
        notes.append(_lost_by_a_stop(notebook))
    notes += [*job.remarks(notebook, target.context), *_restarts(changes, rollout)]
    first = replace(changes[0], notes=tuple(dict.fromkeys(notes)), arriving=notebook.status is not run_state)
    return (first, *changes[1:]) if staged else first


def _change(
    target: Target, job: JobSpec, rollout: Rollout, found: Notebook, patch: NotebookPatch, stage: int
) -> Change:
    """The change that makes `patch` to the notebook as it is `found` when its turn comes."""
    run_state = found.status.heading or found.status
    body = to_body(patch)
    return Change(
        item=0,
        wave=0,
        scope=target.context.scope,
        id=found.id,
        name=target.notebook.name,
        owner=found.owner,
        pool=found.pool_id,
        flavor=found.flavor,
        run_state=run_state,
        arriving=False,
        may_restart=rollout.disruption is Disruption.RESTART,
        phases=phases_of(patch, run_state),
        before={name: read_field(found, name) for name in body if readable(name)},
        after=body,
        lease=found.lease,
        why=clean(job.reason(target.notebook, target.context)),
        stage=stage,
        allow=patch.allow,
    )


def _stops(change: Change, rollout: Rollout) -> bool:
    """Whether its planned way stops a notebook that runs."""
    return change.needs_restart and change.run_state is Status.RUNNING and not rollout.stops_nobody


def _lost_by_a_stop(notebook: Notebook) -> str:
    """What a stop takes away for good, whatever it is for."""
    kept = notebook.volume.mount_path if notebook.volume else ""
    return (
        f"a stop keeps only what is under {kept or 'the mounted folder'}: packages installed elsewhere "
        "are lost, storage that was mounted by hand may have to be mounted again"
    )


def _disturbance(patch: NotebookPatch, run_state: Status, rollout: Rollout) -> str | None:
    """Why the rollout does not let this patch be made, or None."""
    if rollout.disruption is Disruption.RESTART or (run_state is Status.RUNNING and rollout.stops_nobody):
        return None
    if all(phase.when.allows(run_state) for phase in phases_of(patch, run_state)):
        return None
    return f"{_disturbs(run_state)}; rollout.disruption is none"


def _misfit(patch: NotebookPatch, found: Notebook, context: Context) -> str | None:
    """Why the cloud would refuse the image or the flavor, or None; with no catalogue nobody can tell."""
    catalog = context.catalog
    if not catalog or (patch.image_id is None and patch.flavor is None):
        return None
    switchable = context.facts.get(found.id, Facts()).switchable
    return "; ".join(change_misfits(catalog, found, patch.image_id, patch.flavor, switchable)) or None


def _stays_down(patch: NotebookPatch, found: Notebook, context: Context, rollout: Rollout) -> str | None:
    """Why the notebook, once stopped for this patch, could not be started again; None when it could."""
    if not _starts(patch, found, rollout):
        return None
    if problem := start_problem(context.catalog, with_patch(found, patch)):
        return problem
    if _scarce(patch, found, context) and not rollout.accept_sold_out:
        return f"{_SCARCE}; rollout.accept_sold_out is false"
    return None


_SCARCE = "its flavor is sold out: a restart may not find a machine"


def _scarce(patch: NotebookPatch, found: Notebook, context: Context) -> bool:
    switchable = context.facts.get(found.id, Facts()).switchable
    return out_of_stock(context.catalog, with_patch(found, patch), switchable)


def _starts(patch: NotebookPatch, found: Notebook, rollout: Rollout) -> bool:
    """Whether the notebook has to be started on the way of this patch."""
    run_state = found.status.heading or found.status
    if run_state is Status.RUNNING and rollout.stops_nobody:
        return False
    return not all(phase.when.allows(run_state) for phase in phases_of(patch, run_state))


def _restarts(changes: Sequence[Change], rollout: Rollout) -> Iterator[str]:
    """That each stage takes a restart of its own."""
    restarts = sum(change.needs_restart for change in changes)
    if restarts > 1 and not (rollout.stops_nobody and changes[0].run_state is Status.RUNNING):
        most = "" if rollout.when is Moment.NOW else "up to "
        yield f"is stopped and started {most}{restarts} times, once for each stage"


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


def _sight(patch: NotebookPatch, found: Notebook, context: Context) -> Iterable[str]:
    image = context.catalog.images.get(patch.image_id or "")
    if image is not None and (remark := sight_remark(found, image)):
        yield remark
    switchable = context.facts.get(found.id, Facts()).switchable
    if remark := switch_remark(context.catalog, found, patch.image_id, patch.flavor, switchable):
        yield remark


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
