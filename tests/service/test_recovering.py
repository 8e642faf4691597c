"""Which calls it takes to find out what a run left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from fleet.client.listing import BrokenPass, OnPage, unwatched
from fleet.core.calls import Reading
from fleet.core.changing.recovery import Holds
from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Image, Notebook, Status
from fleet.core.selecting.selection import MAX_PASSES
from fleet.service.recovering import findings
from tests.plans import NEW, OLD, make_change, make_plan

CHANGES = [make_change(item) for item in range(3)]
A, B, C = (change.id for change in CHANGES)
PLAN = make_plan(*CHANGES)


def holding(id: str, image: str = NEW, status: Status = Status.RUNNING) -> Notebook:
    return Notebook(id, status, image=Image(image))


class Scope:
    """Lists what it is given, or fails so; a look shows what is told of it, or fails so."""

    def __init__(
        self, listed: Sequence[Notebook] | CallError, looks: Mapping[str, Notebook | Meaning] | None = None
    ) -> None:
        self._listed = listed
        self._looks = looks or {}
        self.calls: list[str] = []

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage = unwatched) -> Sequence[Notebook]:
        assert not filters
        self.calls.append("list")
        on_page(1, 1)
        if isinstance(self._listed, CallError):
            raise self._listed
        return self._listed

    async def look(self, notebook_id: str) -> Reading:
        self.calls.append(notebook_id)
        told = self._looks[notebook_id]
        if isinstance(told, Meaning):
            raise CallError(told, "so it is")
        return Reading(told, "request")


async def read(scope: Scope) -> list[Holds]:
    return [one.holds for one in await findings(PLAN, {"lab-a": scope}, 0)]


async def test_one_list_tells_of_all_that_hold_the_old_or_the_new_value() -> None:
    scope = Scope([holding(C, OLD), holding(A), holding(B), holding("another")])
    assert await read(scope) == [Holds.NEW, Holds.NEW, Holds.OLD]
    assert scope.calls == ["list"]


async def test_what_the_list_lacks_is_looked_at() -> None:
    lacks_the_image = Notebook(A, Status.RUNNING)
    scope = Scope([lacks_the_image], {A: holding(A, OLD), B: holding(B), C: Meaning.GONE})
    assert await read(scope) == [Holds.OLD, Holds.NEW, Holds.GONE]
    assert scope.calls == ["list", A, B, C]


async def test_what_cannot_be_looked_at_is_as_the_list_showed_it_or_unreachable() -> None:
    scope = Scope([holding(A, "third")], {A: Meaning.FORBIDDEN, B: Meaning.FORBIDDEN, C: holding(C)})
    assert await read(scope) == [Holds.OTHER, Holds.UNREACHABLE, Holds.NEW]


@pytest.mark.parametrize("silence", [Meaning.LOST, Meaning.UNREACHABLE, Meaning.UNAUTHENTICATED])
async def test_a_cloud_that_fell_silent_is_not_asked_again(silence: Meaning) -> None:
    scope = Scope([holding(C)], {A: silence})
    assert await read(scope) == [Holds.UNREACHABLE, Holds.UNREACHABLE, Holds.NEW]
    assert scope.calls == ["list", A]


async def test_a_list_that_is_refused_leaves_all_of_the_scope_unreachable_with_the_reason() -> None:
    scope = Scope(CallError(Meaning.FORBIDDEN, "no right to list"))
    found = await findings(PLAN, {"lab-a": scope}, 0)
    assert {(one.holds, one.reason) for one in found} == {(Holds.UNREACHABLE, "forbidden: no right to list")}
    assert scope.calls == ["list"]


async def test_a_list_with_a_hole_is_read_again() -> None:
    scope = Scope(BrokenPass("a hole"))
    assert await read(scope) == [Holds.UNREACHABLE] * 3
    assert scope.calls == ["list"] * MAX_PASSES


async def test_every_scope_is_read_and_the_order_is_that_of_the_plan() -> None:
    changes = [make_change(item, scope=scope) for item, scope in enumerate(("b", "a", "b"))]
    scopes = {
        "a": Scope([holding(B, OLD)]),
        "b": Scope([holding(A), holding(C)]),
        "without a change": Scope([]),
    }
    pages: list[str] = []
    found = await findings(make_plan(*changes), scopes, 0, on_read=lambda scope, *_: pages.append(scope))
    assert [(one.change.item, one.holds) for one in found] == [(0, Holds.NEW), (1, Holds.OLD), (2, Holds.NEW)]
    assert sorted(pages) == ["a", "b"]
    assert scopes["without a change"].calls == []
