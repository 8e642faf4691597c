"""Fetches what a job wants to know before it proposes: files, usage, switchable flavors, earlier resizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio

from fleet.client.metrics import SampleFile, Source, usages
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.job import Context, Facts, JobSpec, Wants
from fleet.core.metrics import FileMetrics
from fleet.core.notebook import Flavor, Notebook
from fleet.core.patch import is_uuid
from fleet.core.usage import Usage
from fleet.service.resizes import Resizes
from fleet.settings.files import read_text

ASKERS = 16  # calls for switchable flavors under way in a scope; the gate keeps the rate

# Something about this one notebook; whatever else is wrong would be wrong with all of them.
_ITS_OWN = frozenset(
    {Meaning.GONE, Meaning.FROZEN, Meaning.WRONG_STATE, Meaning.BUSY, Meaning.RECOVERING, Meaning.INVALID}
)


@runtime_checkable
class Informed(Protocol):
    """A scope that tells of its notebooks more than their rows."""

    @property
    def metrics(self) -> Source | None: ...

    async def switchable_flavors(self, notebook_id: str) -> Sequence[Flavor]: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """Every scope's context with its facts, and what a person should know about how they were found."""

    contexts: Mapping[str, Context]
    notes: tuple[str, ...] = ()


def files_of(wants: Wants, folder: Path) -> dict[str, str]:
    """The text of every file that a job wants, by its path as the job file has it.

    Raises UsageError for one that cannot be read.
    """
    return {name: read_text(folder / name, str(folder / name)).text for name in wants.files}


async def gather(
    job: JobSpec,
    contexts: Mapping[str, Context],
    clouds: Mapping[str, object],
    rows: Mapping[str, Sequence[Notebook]],
    *,
    folder: Path,
    resizes: Resizes,
) -> Gathered:
    """The facts about `rows` of every scope. `folder` is the job file's; `resizes` are those of earlier runs.

    Raises UsageError when no source of usage is known, CallError when one or the cloud does not answer.
    """
    wants = job.wants()
    if wants.usage is None and not wants.switchable and not wants.resized:
        return Gathered(contexts)
    now = next(iter(contexts.values())).now / 1000 if contexts else 0.0
    found: dict[str, Context] = {}

    async def one(name: str) -> None:
        cloud = clouds[name]
        known = [row for row in rows.get(name, ()) if is_uuid(row.id)]
        usage = await _usages(wants, cloud, name, folder, known, resizes, now)
        facts = {
            row.id: Facts(
                usage=usage.get(row.id), resized=resizes.of(row.id), untold=resizes.untold_of(row.id)
            )
            for row in known
        }
        context = replace(contexts[name], facts=facts)
        if wants.switchable and isinstance(cloud, Informed):
            asked = [row.id for row in known if job.needs_switchable(row, context)]
            switchable = await _switchable(cloud, asked)
            facts |= {id: replace(facts[id], switchable=flavors) for id, flavors in switchable.items()}
        found[name] = replace(context, facts=facts)

    async with anyio.create_task_group() as group:
        for name in contexts:
            group.start_soon(one, name)
    return Gathered({name: found[name] for name in contexts}, resizes.notes)


def running_shares(contexts: Iterable[Context]) -> Iterator[tuple[tuple[str, str], float]]:
    """By scope and id the part of the time that each notebook ran, where its usage tells."""
    for context in contexts:
        for id, facts in context.facts.items():
            if facts.usage is not None and facts.usage.levels:
                share = max(level.share for level in facts.usage.levels.values())
                yield (context.scope, id), share


async def _usages(
    wants: Wants,
    cloud: object,
    scope: str,
    folder: Path,
    rows: Sequence[Notebook],
    resizes: Resizes,
    now: float,
) -> Mapping[str, Usage]:
    wanted = wants.usage
    if wanted is None:
        return {}
    source: Source | None = cloud.metrics if isinstance(cloud, Informed) else None
    if wanted.file:
        source = SampleFile(FileMetrics(str(folder / wanted.file)))
    if source is None:
        raise UsageError(
            f"scope {scope}: nothing says where usage is measured; add a table [metrics.NAME] with kind = "
            '"aom", "prometheus" or "file" to the configuration, and metrics = "NAME" to the scope '
            "if there are several"
        )
    since = {row.id: max((resize.at for resize in resizes.of(row.id)), default=0.0) for row in rows}
    return await usages(source, wanted, since, now)


async def _switchable(cloud: Informed, ids: Iterable[str]) -> dict[str, tuple[Flavor, ...] | None]:
    """The flavors that each notebook can be switched to; None where the cloud would not say of this one."""
    found: dict[str, tuple[Flavor, ...] | None] = {}
    left = iter(ids)

    async def ask() -> None:
        for id in left:
            try:
                found[id] = tuple(await cloud.switchable_flavors(id))
            except CallError as error:
                if error.meaning not in _ITS_OWN:
                    raise
                found[id] = None

    async with anyio.create_task_group() as group:
        for _ in range(ASKERS):
            group.start_soon(ask)
    return found
