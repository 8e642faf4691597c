"""Reads a fleet until two passes agree about what was selected: never a plan with a hole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import anyio

from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.core.errors import GuardError
from fleet.core.notebook import Notebook
from fleet.core.scope import ScopeSpec
from fleet.core.selection import MAX_PASSES, Picker, Selection, moved, select
from fleet.core.selector import require_all


class Listing(Protocol):
    """A scope that can be listed."""

    async def list_pass(self, filters: Mapping[str, str]) -> Sequence[Notebook]: ...


async def survey_scopes(
    specs: Sequence[ScopeSpec], picker: Picker, clock: Clock, *, accept_churn: bool = False
) -> list[Selection]:
    """Connects to the scopes and surveys them; see `survey`."""
    async with connect(specs, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        return await survey(clouds, picker, int(clock.wall() * 1000), accept_churn=accept_churn)


async def survey(
    scopes: Mapping[str, Listing], picker: Picker, now: int, *, accept_churn: bool = False
) -> list[Selection]:
    """The selection of every scope, read concurrently. `now` is wall time in ms.

    Raises GuardError when a scope does not hold still for two passes out of four, and UsageError when a
    notebook that the selector names by its id is in no scope.
    """
    found: dict[str, Selection] = {}

    async def one(name: str, scope: Listing) -> None:
        found[name] = await survey_scope(name, scope, picker, now, accept_churn=accept_churn)

    async with anyio.create_task_group() as group:
        for name, scope in scopes.items():
            group.start_soon(one, name, scope)
    selections = [found[name] for name in scopes]
    require_all(picker.ids(), (row for selection in selections for row in selection.rows))
    return selections


async def survey_scope(
    name: str, scope: Listing, picker: Picker, now: int, *, accept_churn: bool
) -> Selection:
    """One scope, read until two consecutive passes agree."""
    # A notebook named by its id must be found even when the rest of the expression rules it out.
    filters = {} if picker.ids() else picker.pushdown()
    rows = await scope.list_pass(filters)
    before = select(rows, picker, name, now)
    restless: tuple[str, ...] = ()
    for _ in range(MAX_PASSES - 1):
        rows = await scope.list_pass(filters)
        after = select(rows, picker, name, now)
        restless = moved(before, after)
        if not restless:
            return Selection(name, tuple(rows), tuple(after.values()))
        before = after
    if not accept_churn:
        raise GuardError(
            f"scope {name}: {len(restless)} selected notebooks kept changing while the fleet was read, "
            f"such as {', '.join(restless[:3])}; try again, or leave them out with --accept-churn"
        )
    calm = tuple(row for key, row in before.items() if key not in restless)
    return Selection(name, tuple(rows), calm, tuple(before[key] for key in restless if key in before))
