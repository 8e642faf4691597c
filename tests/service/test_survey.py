"""How often a fleet is read before a plan may rest on it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pytest

from fleet.client.listing import BrokenPass, OnPage, unwatched
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Flavor, Image, Notebook, Status
from fleet.core.planning.again import Again
from fleet.core.planning.guards import Guards
from fleet.core.rollout import Rollout
from fleet.core.scope import AkSkKeys, ScopeSpec
from fleet.core.selecting.selection import MAX_PASSES, Known
from fleet.core.selecting.selector import Selector
from fleet.service.planning import Order, make_plan
from fleet.service.survey import survey, whole

if TYPE_CHECKING:
    from fleet.core.selecting.selection import Selection

HOLE = "HOLE"
A, B = "f9937afa-4451-42db-a76b-72d624749f66", "0f3bd2c5-9f6e-4b8d-8f0a-5f6f4b1c2d3e"


class Scripted:
    """A scope whose passes go as they are told: the ids that each of them shows, or HOLE."""

    def __init__(self, *passes: str | Sequence[str]) -> None:
        self.passes = list(passes)
        self.read = 0

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage = unwatched) -> list[Notebook]:
        self.read += 1
        ids = self.passes.pop(0)
        on_page(1, 1)
        if ids == HOLE:
            raise BrokenPass("the list of notebooks has a hole")
        return [Notebook(id, Status.STOPPED) for id in ids]


async def read(scope: Scripted, select: str = "true", *, accept_churn: bool = False) -> Selection:
    (found,) = await survey({"lab-a": scope}, Selector.parse(select), 0, accept_churn=accept_churn)
    return found


@pytest.mark.row(40, 41)
@pytest.mark.parametrize(
    ("passes", "reads"),
    [
        ([[A, B], [A, B]], 2),
        ([HOLE, [A, B], [A, B]], 3),
        ([[A, B], HOLE, [A, B]], 3),
        ([HOLE, HOLE, [A, B], [A, B]], 4),
        ([[A, B], HOLE, HOLE, [A, B]], 4),
        ([[A], HOLE, [A, B], [A, B]], 4),
    ],
)
async def test_a_pass_with_a_hole_costs_one_more(passes: list[str | list[str]], reads: int) -> None:
    scope = Scripted(*passes)
    found = await read(scope)
    assert {row.id for row in found.matched} == {A, B}
    assert scope.read == reads


@pytest.mark.row(40, 41)
@pytest.mark.parametrize("accept_churn", [False, True])
@pytest.mark.parametrize("whole_one", range(MAX_PASSES + 1))
async def test_one_whole_pass_out_of_four_is_not_believed(whole_one: int, accept_churn: bool) -> None:
    passes: list[str | list[str]] = [HOLE] * MAX_PASSES
    if whole_one < MAX_PASSES:
        passes[whole_one] = [A]
    scope = Scripted(*passes)
    with pytest.RaisesGroup(pytest.RaisesExc(BrokenPass, match="has a hole")):
        await read(scope, accept_churn=accept_churn)
    assert scope.read == MAX_PASSES


async def test_a_notebook_named_by_its_id_is_not_missing_for_being_absent_from_the_last_pass() -> None:
    scope = Scripted([A, B], [A], [A, B], [A])
    found = await read(scope, f'id in ["{A}", "{B}"]', accept_churn=True)
    assert [row.id for row in found.matched] == [A]
    assert [row.id for row in found.unstable] == [B]


@pytest.mark.parametrize("holes", range(MAX_PASSES))
async def test_another_list_with_a_hole_is_read_again(holes: int) -> None:
    scope = Scripted(*[HOLE] * holes, [A])
    assert [row.id for row in await whole(lambda: scope.list_pass({}))] == [A]


async def test_another_list_that_always_has_a_hole_is_read_four_times() -> None:
    scope = Scripted(*[HOLE] * 9)
    with pytest.raises(BrokenPass):
        await whole(lambda: scope.list_pass({}))
    assert scope.read == MAX_PASSES


class Offering(Scripted):
    """A scope whose first list of images has a hole."""

    holes = 1

    async def images(self) -> list[Image]:
        self.holes -= 1
        if self.holes >= 0:
            raise BrokenPass("the list of images has a hole")
        return []

    async def flavors(self) -> list[Flavor]:
        return []


async def test_a_hole_in_the_list_of_images_does_not_cost_the_plan() -> None:
    spec = ScopeSpec("lab-a", "cn-north-4", "0" * 32, "https://x", "https://x", AkSkKeys("a", "b"))
    order = Order("nothing", "retry", Known("none", frozenset()), Again(recalls={}), Rollout(), Guards())
    plan = await make_plan(order, [spec], {"lab-a": Offering([A], [A])}, 1_000.0)
    assert [scope.listed for scope in plan.scopes] == [1]


def references() -> int:
    """How often the class is referred to, each of its instances included: no collector knows these."""
    gc.collect()
    return sys.getrefcount(Notebook)


class Crowd(Offering):
    """A scope with some notebooks. `left` is how many references there were when each pass began."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.left: list[int] = []

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage = unwatched) -> list[Notebook]:
        self.left.append(references())
        ids = [f"{A[:-2]}{number}" for number in range(10, 40)]
        return [Notebook(id, Status.STOPPED) for id in ids]


class Counting(JobSpec):
    """Counts the references whenever it is asked for a proposal."""

    found: ClassVar[list[int]] = []

    def propose(self, notebook: Notebook, context: Context) -> Skip:
        self.found.append(references())
        return Skip("counted")


async def test_two_passes_never_lie_in_memory_side_by_side_nor_the_rows_beside_the_whole_plan() -> None:
    spec = ScopeSpec("lab-a", "cn-north-4", "0" * 32, "https://x", "https://x", AkSkKeys("a", "b"))
    order = Order("count", "count", Selector.parse("true"), Counting(), Rollout(), Guards())
    crowd, before = Crowd(), references()
    plan = await make_plan(order, [spec], {"lab-a": crowd}, 1_000.0)
    assert len(plan.settled) == 30
    assert crowd.left == [before, before]
    assert Counting.found == [before + left for left in range(30, 0, -1)]


async def test_every_page_is_told_with_its_scope_and_the_number_of_its_pass() -> None:
    told: list[tuple[str, int, int, int | None]] = []
    scope = Scripted([A], HOLE, [A])
    await survey({"lab-a": scope}, Selector.parse("true"), 0, on_read=lambda *page: told.append(page))
    assert told == [("lab-a", 1, 1, 1), ("lab-a", 2, 1, 1), ("lab-a", 3, 1, 1)]
