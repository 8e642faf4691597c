"""Reads a fleet until two passes agree about what was selected: never a plan with a hole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import anyio

from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.client.listing import BrokenPass, OnPage
from fleet.core.catalog import Catalog
from fleet.core.errors import GuardError
from fleet.core.notebook import Flavor, Image, Notebook
from fleet.core.scope import ScopeSpec
from fleet.core.selecting.fields import UNREAD, Offer
from fleet.core.selecting.selection import MAX_PASSES, Passes, Picker, Selection, select
from fleet.core.selecting.selector import require_all

T = TypeVar("T")

OnRead = Callable[[str, int, int, int | None], None]  # scope, number of the pass, page, of how many


def unwatched(_scope: str, _number: int, _page: int, _pages: int | None) -> None:
    """For surveys whose progress nobody watches."""


class Listing(Protocol):
    """A scope that can be listed."""

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage) -> Sequence[Notebook]: ...


class Catalogued(Listing, Protocol):
    """A scope that can be listed and that offers images and flavors."""

    async def images(self) -> Sequence[Image]: ...

    async def flavors(self) -> Sequence[Flavor]: ...


async def survey_scopes(
    specs: Sequence[ScopeSpec],
    picker: Picker,
    clock: Clock,
    *,
    named: Sequence[str] = (),
    offers: Collection[Offer] = (),
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> list[Selection]:
    """Connects to the scopes and surveys them; see `survey`.

    Of the catalogues it reads what the picker asks for, and `offers`.
    """
    async with connect(specs, monotonic=clock.monotonic, wall=clock.wall) as clouds:
        now = int(clock.wall() * 1000)
        catalogs = await read_catalogs(clouds, {*picker.offers, *offers})
        return await survey(
            clouds,
            picker,
            now,
            catalogs=catalogs,
            named=named,
            accept_churn=accept_churn,
            on_read=on_read,
        )


async def read_catalogs(
    clouds: Mapping[str, Catalogued], offers: Collection[Offer] = frozenset(Offer)
) -> dict[str, Catalog]:
    """The parts of every scope's catalogue that are asked for, read concurrently."""
    catalogs: dict[str, Catalog] = {}

    async def one(name: str, cloud: Catalogued) -> None:
        images = await whole(cloud.images) if Offer.IMAGES in offers else ()
        flavors = await cloud.flavors() if Offer.FLAVORS in offers else ()
        catalogs[name] = Catalog(
            images={image.id: image for image in images},
            flavors={flavor.id: flavor for flavor in flavors},
        )

    async with anyio.create_task_group() as group:
        for name, cloud in clouds.items():
            group.start_soon(one, name, cloud)
    return catalogs


async def survey(
    scopes: Mapping[str, Listing],
    picker: Picker,
    now: int,
    *,
    catalogs: Mapping[str, Catalog] | None = None,
    named: Sequence[str] = (),
    accept_churn: bool = False,
    on_read: OnRead = unwatched,
) -> list[Selection]:
    """The selection of every scope, read concurrently.

    `now` is wall time in ms; `on_read` is told of every page. `catalogs` hold what the picker asks for, by
    scope. The notebooks `named` are read even where the picker does not pick them.

    Raises GuardError when a scope does not hold still for two passes out of four, BrokenPass when its list
    had a hole in all but one of them, and UsageError when a notebook that the selector names by its id, or
    one of `named`, is in no scope.
    """
    found: dict[str, Selection] = {}
    ids = (*picker.ids(), *named)
    # A notebook named by its id must be found even when the rest of the expression rules it out.
    filters = {} if ids else picker.pushdown()

    async def one(name: str, scope: Listing) -> None:
        catalog = (catalogs or {}).get(name, UNREAD)

        def pick(rows: Iterable[Notebook]) -> dict[str, Notebook]:
            return select(rows, picker, name, now, catalog)

        passes = await _read(name, scope, filters, pick, on_read)
        found[name] = replace(_steady(passes, accept_churn=accept_churn), catalog=catalog)

    async with anyio.create_task_group() as group:
        for name, scope in scopes.items():
            group.start_soon(one, name, scope)
    selections = [found[name] for name in scopes]
    require_all(ids, (row for one in selections for row in (*one.rows, *one.unstable)))
    return selections


async def _read(
    name: str,
    scope: Listing,
    filters: Mapping[str, str],
    pick: Callable[[Iterable[Notebook]], Mapping[str, Notebook]],
    on_read: OnRead,
) -> Passes:
    """Passes over one scope until two agree, four at most; one with a hole counts, but is not believed."""
    passes, broken = Passes(name), None
    for number in range(1, MAX_PASSES + 1):
        passes.lay_aside()
        try:
            rows = await scope.list_pass(filters, partial(on_read, name, number))
        except BrokenPass as error:
            broken = error
            continue
        passes.take(rows, pick(rows))
        del rows  # or two passes lie in memory while the next one is read
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
