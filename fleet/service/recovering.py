"""Reads what a run left behind whose journal is lost or damaged: from its plan, the cloud, and what can still
be told from the journal. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio

from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.client.memory import LimitFile
from fleet.core.calls import Reading
from fleet.core.changing.recovery import Finding, finding, only, unseen, ways
from fleet.core.changing.sight import GONE, sight_of
from fleet.core.errors import FATAL, CallError, Meaning
from fleet.core.notebook import Notebook
from fleet.core.planning.plan import Change, Plan
from fleet.core.scope import ScopeSpec
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.service.owing import owed_items
from fleet.service.survey import Listing, OnRead, unwatched, whole


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left on disk of a run. `damage` is the first in its journal, empty where there is none.

    `plan` has the changes to look at: where there is damage, none of the notebooks of which the journal still
    proves that nothing is owed; `ended` is their number.
    """

    plan: Plan
    damage: str = ""
    ended: int = 0


def remains(folder: Path) -> Remains:
    """What the journal in `folder` still tells. Raises JournalError where that is nothing."""
    with JournalReader(folder / JOURNAL) as reader:
        state = reader.fold()
        if not reader.damage:
            return Remains(state.plan)
        doubtful = only(state.plan.changes, owed_items(state))
        ended = len(ways(state.plan.changes)) - len(ways(doubtful))
        return Remains(replace(state.plan, changes=doubtful), str(reader.damage[0]), ended)


# Where the cloud answers so, or not at all, no other look will be answered.
_SILENT = FATAL | {Meaning.UNREACHABLE, Meaning.LOST}


class Visible(Listing, Protocol):
    """A scope that can be listed, and whose notebooks can be looked at."""

    async def look(self, notebook_id: str) -> Reading: ...


async def recover(
    plan: Plan,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    *,
    memory: LimitFile | None = None,
    on_read: OnRead = unwatched,
) -> tuple[Finding, ...]:
    """Connects to the scopes and finds out; see `findings`. `memory` remembers limits across runs."""
    async with connect(specs, memory=memory, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        return await findings(plan, clouds, int(clock.wall() * 1000), on_read=on_read)


async def findings(
    plan: Plan, clouds: Mapping[str, Visible], now: int, *, on_read: OnRead = unwatched
) -> tuple[Finding, ...]:
    """A finding for each notebook that the plan changes, in its order, at wall time `now` (ms).

    One list of each scope tells of most; a notebook that it lacks, or of which it shows neither the old nor
    the new value, is looked at itself. What cannot be read is a finding as well.
    """
    planned = ways(plan.changes)
    changes: dict[str, list[Change]] = {}
    for change in planned:
        changes.setdefault(change.scope, []).append(change)
    found: dict[int, Finding] = {}

    async def one(name: str) -> None:
        view = _View(clouds[name], plan.created_at, now)
        for seen in await view.findings(changes[name], partial(on_read, name)):
            found[seen.change.item] = seen

    async with anyio.create_task_group() as group:
        for name in changes:
            group.start_soon(one, name)
    return tuple(found[change.item] for change in planned)


class _View:
    """What can be seen of one scope. `silent` says why nothing more can be."""

    def __init__(self, cloud: Visible, planned_at: float, now: int) -> None:
        self._cloud = cloud
        self._planned_at = planned_at
        self._now = now
        self._silent = ""

    async def findings(self, changes: Sequence[Change], on_pass: partial[None]) -> list[Finding]:
        listed = await self._list(on_pass)
        found = []
        for change in changes:
            row = listed.get(change.id)
            seen = unseen(change, self._silent) if row is None else self._judge(change, row)
            found.append(await self._look(seen) if seen.doubtful and not self._silent else seen)
        return found

    async def _list(self, on_pass: partial[None]) -> dict[str, Notebook]:
        try:
            rows = await whole(partial(self._cloud.list_pass, {}, partial(on_pass, 1)))
        except CallError as error:
            self._silent = str(error)
            return {}
        return {row.id: row for row in rows}

    async def _look(self, seen: Finding) -> Finding:
        """The finding of a closer look; `seen` where that shows nothing."""
        change = seen.change
        try:
            return self._judge(change, (await self._cloud.look(change.id)).notebook)
        except CallError as error:
            if error.meaning is Meaning.GONE:
                return finding(change, GONE, self._planned_at)
            if error.meaning in _SILENT:
                self._silent = str(error)
            return unseen(change, str(error)) if seen.sight is None else seen

    def _judge(self, change: Change, notebook: Notebook) -> Finding:
        return finding(change, sight_of(notebook, change.after, self._now), self._planned_at)
