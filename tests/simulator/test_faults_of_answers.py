"""Faults of answers over a real socket: pages, portals, bombs and JSON of another shape."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from fleet.simulator.states import Status

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize(("status", "applied"), [(200, False), (200, True), (502, False), (502, True)])
async def test_an_html_page_comes_with_any_status(site: MakeSite, status: int, applied: bool) -> None:
    lab = await site(f"- {{kind: html-page, status: {status}, applied: {str(applied).lower()}}}")
    row = lab.row(Status.RUNNING)
    got, text, headers = await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert (got, headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert (row.status is Status.STOPPING) is applied
    assert (lab.cloud.log[-1].status, lab.cloud.log[-1].applied) == (status, applied)


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_portal_redirects_and_lets_nothing_through(site: MakeSite, status: int) -> None:
    portal = await site()
    to = f"http://127.0.0.1:{portal.port}/login?x=1"
    lab = await site(f'- {{kind: redirect, status: {status}, to: "{to}", times: 1}}')
    row = lab.row(Status.RUNNING)
    got, _, headers = await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert (got, headers["Location"]) == (status, to)
    assert row.status is Status.RUNNING
    assert portal.cloud.log == []
    async with aiohttp.ClientSession() as careless:
        await careless.get(headers["Location"])
    assert [record.path for record in portal.cloud.log] == ["/login"]


async def test_a_bomb_is_as_large_as_it_says(site: MakeSite) -> None:
    lab = await site("- {kind: bomb, megabytes: 3}")
    status, reply, headers = await lab.ask("GET", "notebooks/all")
    assert (status, len(reply["data"])) == (200, 3_000_000)
    assert int(headers["Content-Length"]) > 3_000_000


async def test_a_compressed_bomb_is_small_until_it_is_opened(site: MakeSite) -> None:
    lab = await site("- {kind: bomb, megabytes: 3, compressed: true}")
    async with lab.open("GET", "notebooks/all") as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].split()[0])
        body = await reader.readexactly(size)
    assert b"Content-Encoding: gzip" in head
    assert size < 30_000
    assert len(json.loads(gzip.decompress(body))["data"]) == 3_000_000


async def show(site: MakeSite, fault: str, path: str = "") -> Any:
    lab = await site(f"- {{kind: odd-answer, {fault}}}")
    status, reply, _ = await lab.ask("GET", path or f"notebooks/{lab.row(Status.RUNNING).id}")
    assert status == 200
    return reply


async def test_a_deep_answer_cannot_be_parsed_by_recursion(site: MakeSite) -> None:
    text = await show(site, "body: deep")
    assert text == "[" * 100_000 + "]" * 100_000
    with pytest.raises(RecursionError):
        json.loads(text)
    assert '"lease":[[[[' in await show(site, "body: deep, fields: [lease]")


async def test_huge_numbers_are_longer_than_python_reads(site: MakeSite) -> None:
    text = await show(site, "body: huge-numbers")
    assert text.count("9" * 5000) >= 4
    with pytest.raises(ValueError, match="4300"):
        json.loads(text)
    text = await show(site, "body: huge-numbers, fields: [update_at]")
    assert f'"update_at":{"9" * 5000}' in text
    assert f'"create_at":{"9" * 5000}' not in text


async def test_wrong_types_stand_where_others_are_due(site: MakeSite) -> None:
    assert await show(site, "body: wrong-types") == []
    reply = await show(site, "body: wrong-types, fields: [status, image, endpoints, current_time]")
    assert (reply["status"], reply["image"], reply["endpoints"], reply["current_time"]) == (7, [], {}, "many")
    assert isinstance(reply["name"], str)


async def test_null_stands_where_an_object_is_due(site: MakeSite) -> None:
    assert await show(site, '"body": "null"') is None
    rows = await show(site, '"body": "null", fields: [lease]', "notebooks/all")
    assert {row["lease"] for row in rows["data"]} == {None}
    assert all(row["image"] for row in rows["data"])


async def test_fields_go_missing(site: MakeSite) -> None:
    assert await show(site, "body: missing-fields") == {}
    rows = await show(site, "body: missing-fields, fields: [status, swr_path]", "notebooks/all")
    for row in rows["data"]:
        assert not {"status"} & set(row)
        assert not {"swr_path"} & set(row["image"])
        assert row["id"]


async def test_an_answer_without_a_body_has_no_odd_one(site: MakeSite) -> None:
    lab = await site("- {kind: odd-answer, body: deep}")
    path = f"notebooks/{lab.row(Status.RUNNING).id}/tags/create"
    status, reply, _ = await lab.ask("POST", path, {"tags": [{"key": "a", "value": "b"}]})
    assert (status, reply) == (204, {})
