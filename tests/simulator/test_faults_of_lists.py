"""Faults of lists over a real socket: rows move between pages, and pages lie."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleet.simulator.messages import SOMEBODY

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]


async def pages(lab: Any, many: int = 3, query: str = "") -> list[list[str]]:
    """The ids on the first pages of one listing."""
    found = []
    for number in range(many):
        path = f"notebooks/all?limit=10&offset={number * 10}{query}"
        status, reply, _ = await lab.ask("GET", path)
        assert status == 200
        found.append([row["id"] for row in reply["data"]])
    return found


async def test_a_row_created_between_pages_repeats_one(site: MakeSite) -> None:
    first, second, third = await pages(await site())
    lab = await site("- {kind: moving-rows, how: created, rows: 2, times: 1}")
    seen = await pages(lab)
    assert seen == [first, first[-2:] + second[:-2], second[-2:] + third[:-2]]
    fresh = [record for record in lab.cloud.log if record.operation == "CreateNotebook"]
    assert [(record.user, record.status) for record in fresh] == [(SOMEBODY.id, 200)] * 2
    again = await pages(lab)
    assert again[0][2:] + again[1][:2] == first


async def test_a_row_deleted_between_pages_hides_one(site: MakeSite) -> None:
    first, second, third = await pages(await site())
    lab = await site("- {kind: moving-rows, how: deleted, times: 1}")
    seen = await pages(lab)
    assert seen[0] == first
    assert seen[1] == second[1:] + third[:1]
    (record,) = [record for record in lab.cloud.log if record.operation == "DeleteNotebook"]
    assert (record.user, record.applied) == (SOMEBODY.id, True)
    assert record.notebook in first
    assert record.notebook not in lab.cloud.world.notebooks


async def test_deletion_keeps_to_the_rows_of_the_listing(site: MakeSite) -> None:
    lab = await site("- {kind: moving-rows, how: deleted, rows: 100, times: 1}")
    first, second, _ = await pages(lab, query="&status=RUNNING")
    deleted = {record.notebook for record in lab.cloud.log if record.operation == "DeleteNotebook"}
    assert deleted == set(first)
    assert not deleted & set(second)


async def test_rows_come_in_another_order_for_one_page(site: MakeSite) -> None:
    right = await pages(await site())
    lab = await site("- {kind: moving-rows, how: reordered, times: 1}")
    seen = await pages(lab)
    assert (seen[0], seen[2]) == (right[0], right[2])
    assert seen[1] != right[1]
    assert set(seen[1]) & set(right[0] + right[2])
    assert await pages(lab) == right


async def test_a_repeated_page_makes_a_list_without_an_end(site: MakeSite) -> None:
    lab = await site("- {kind: repeated-page}")
    first, *others = await pages(lab, many=8)
    assert len(first) == 10
    assert others == [first] * 7


async def test_an_empty_page_comes_before_the_total(site: MakeSite) -> None:
    lab = await site("- {kind: empty-page, times: 1}")
    right = await pages(await site())
    assert await pages(lab) == [right[0], [], right[2]]
    _, reply, _ = await lab.ask("GET", "notebooks/all?limit=10")
    assert reply["total"] > 20


async def test_the_first_page_and_other_calls_are_true(site: MakeSite) -> None:
    lab = await site("- {kind: empty-page}")
    assert (await lab.ask("GET", "notebooks/all?limit=50&offset=0"))[1]["data"]
    assert (await lab.ask("GET", "images?limit=5&offset=5"))[1]["data"]
