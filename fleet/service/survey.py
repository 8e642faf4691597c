"""Reads a fleet until two passes agree about what was selected: never a plan with a hole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import anyio

from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.client.listing import BrokenPass, OnPage
from fleet.core.errors import GuardError
from fleet.core.notebook import Notebook
from fleet.core.scope import ScopeSpec
from fleet.core.selection import MAX_PASSES, Passes, Picker, Selection, select
from fleet.core.selector import require_all

T = TypeVar("T")

OnRead = Callable[[str, int, int, int | None], None]  # scope, number of the pass, page, of how many


def unwatched(_scope: str, _number: int, _page: int, _pages: int | None) -> None:
    """For surveys whose progress nobody watches."""


class Listing(Protocol):
    """A scope that can be listed."""

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage) -> Sequence[Notebook]: ...


async def survey_scopes(
    specs: Sequence[ScopeSpec],
    picker: Picker,
    clock: Clock,
    *,
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> list[Selection]:
    """Connects to the scopes and surveys them; see `survey`."""
    async with connect(specs, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        now = int(clock.wall() * 1000)
        return await survey(clouds, picker, now, accept_churn=accept_churn, on_read=on_read)


async def survey(
    scopes: Mapping[str, Listing],
    picker: Picker,
    now: int,
    *,
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> list[Selection]:
    """The selection of every scope, read concurrently.

    `now` is wall time in ms; `on_read` is told of every page.

    Raises GuardError when a scope does not hold still for two passes out of four, BrokenPass when its list
    had a hole in all but one of them, and UsageError when a notebook that the selector names by its id is in
    no scope.
    """
    found: dict[str, Selection] = {}

    async def one(name: str, scope: Listing) -> None:
        found[name] = _steady(await _read(name, scope, picker, now, on_read), accept_churn=accept_churn)

    async with anyio.create_task_group() as group:
        for name, scope in scopes.items():
            group.start_soon(one, name, scope)
    selections = [found[name] for name in scopes]
    require_all(picker.ids(), (row for one in selections for row in (*one.rows, *one.unstable)))
    return selections


async def _read(name: str, scope: Listing, picker: Picker, now: int, on_read: OnRead) -> Passes:
    """Passes over one scope until two agree, four at most; one with a hole counts, but is not believed."""
    # A notebook named by its id must be found even when the rest of the expression rules it out.
    filters = {} if picker.ids() else picker.pushdown()
    passes, broken = Passes(name), None
    for number in range(1, MAX_PASSES + 1):
        try:
            rows = await scope.list_pass(filters, partial(on_read, name, number))
        except BrokenPass as error:
            broken = error
            continue
        passes.take(rows, select(rows, picker, name, now))
        if passes.agree:
            break
    if passes.taken < 2 and broken is not None:
        raise broken
    return passes


def _steady(passes: Passes, *, accept_churn: bool) -> Selection:
    restless = tuple(passes.restless)
    if restless and not accept_churn:
        raise GuardError(
            f"scope {passes.scope}: {len(restless)} selected notebooks kept changing while the fleet was "
            f"read, such as {', '.join(restless[:3])}; try again, or leave them out with --accept-churn"
        )
    return passes.selection()


async def whole(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` lists; a list with a hole in it is read again, four times at most."""
    for _ in range(MAX_PASSES - 1):
        with suppress(BrokenPass):
            return await read()
    return await read()
