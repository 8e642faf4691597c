"""Faults of lists: rows move between the pages of one listing, or the pages are not what they seem.

They strike requests for a page behind the first one. Rows that are created or deleted really are,
by somebody at the console; a row deleted here is gone at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fleet.simulator import life, listing
from fleet.simulator.faults.occasions import Occasion, OfCalls, Scene, Verdict
from fleet.simulator.faults.persons import creation_like
from fleet.simulator.messages import Call
from fleet.simulator.paging import Page
from fleet.simulator.routing import Operation
from fleet.simulator.states import TABLE, Cause
from fleet.simulator.world import Notebook


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfLists(OfCalls):
    about: ClassVar[frozenset[Operation]] = frozenset(
        {Operation.LIST_NOTEBOOKS, Operation.LIST_ALL_NOTEBOOKS}
    )

    def concerns(self, occasion: Occasion) -> bool:
        return OfCalls.concerns(self, occasion) and occasion.query.get("offset", "0") != "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingRows(_OfLists):
    """Before the page is answered, so many ``rows`` are created in front, or deleted from the pages
    before; or all rows come in another order, this once."""

    kind: Literal["moving-rows"] = "moving-rows"
    how: Literal["created", "deleted", "reordered"]
    rows: Annotated[int, Field(gt=0)] = 1

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        if self.how == "reordered":
            return replace(verdict, cut=lambda page, rows: page.cut(draw.sample(rows, len(rows))))
        if self.how == "created":
            return replace(verdict, first=(*verdict.first, self._create))
        return replace(verdict, first=(*verdict.first, lambda scene, call: self._delete(scene, call, draw)))

    def _create(self, scene: Scene, call: Call) -> None:
        """Copies of the newest notebook of the list that can be had again."""
        rows = listing.selected(scene.world, call)
        model = next((row for row in rows if row.flavor in scene.world.flavors), None)
        if model is not None:
            for _ in range(self.rows):
                scene.act("POST", f"/v1/{call.project}/notebooks", creation_like(model), call.now)

    def _delete(self, scene: Scene, call: Call, draw: Random) -> None:
        seen = listing.selected(scene.world, call)[: int(call.query["offset"])]
        rows = [row for row in seen if Cause.DELETE in TABLE[row.status]]
        for row in draw.sample(rows, min(self.rows, len(rows))):
            scene.act("DELETE", f"/v1/{call.project}/notebooks/{row.id}", {}, call.now)
            life.hasten(scene.world, row, call.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedPage(_OfLists):
    """The first page again, whatever page was asked for: unlimited, a list without an end."""

    kind: Literal["repeated-page"] = "repeated-page"

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return replace(verdict, cut=lambda page, rows: replace(page, offset=0).cut(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyPage(_OfLists):
    """A page without rows, though the total has not been reached."""

    kind: Literal["empty-page"] = "empty-page"

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return replace(verdict, cut=_nothing)


def _nothing(page: Page, rows: Sequence[Notebook]) -> Sequence[Notebook]:
    return ()
