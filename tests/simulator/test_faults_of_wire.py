"""Faults of the wire over a real socket, byte by byte, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from fleet.simulator.states import Status

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("applied", [True, False])
async def test_a_reset_is_no_ordinary_end(site: MakeSite, applied: bool) -> None:
    lab = await site(f"- {{kind: reset, match: {{method: POST}}, applied: {str(applied).lower()}}}")
    row = lab.row(Status.RUNNING)
    async with lab.open("POST", f"notebooks/{row.id}/stop") as reader:
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert (row.status is Status.STOPPING) is applied
    (record,) = lab.cloud.log
    assert (record.applied, record.answered, record.status) == (applied, False, 200 if applied else 0)


async def test_a_lost_answer_is_an_ordinary_end(site: MakeSite) -> None:
    lab = await site("- {kind: lost-answer}")
    row = lab.row(Status.RUNNING)
    async with lab.open("POST", f"notebooks/{row.id}/stop") as reader:
        assert await reader.read() == b""
    assert row.status is Status.STOPPING


async def test_half_a_body_is_less_than_was_promised(site: MakeSite) -> None:
    lab = await site("- {kind: half-body, times: 2}")
    row = lab.row(Status.RUNNING)
    async with lab.open("POST", f"notebooks/{row.id}/stop") as reader:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    promised = int(head.partition(b"Content-Length: ")[2].split()[0])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(body) == promised // 2 > 100
    assert row.status is Status.STOPPING
    assert (lab.cloud.log[-1].applied, lab.cloud.log[-1].answered) == (True, False)
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.ask("GET", f"notebooks/{row.id}")
    status, reply, _ = await lab.ask("GET", f"notebooks/{row.id}")
    assert (status, reply["id"]) == (200, row.id)


async def test_a_broken_chunk_ends_before_its_size(site: MakeSite) -> None:
    lab = await site("- {kind: half-body, chunked: true}")
    path = f"notebooks/{lab.row(Status.RUNNING).id}"
    async with lab.open("GET", path) as reader:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    size, _, rest = body.partition(b"\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert len(rest) == int(size, 16) // 2 > 100
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.ask("GET", path)


async def test_slow_headers_come_bit_by_bit(site: MakeSite) -> None:
    lab = await site("- {kind: slow-headers, seconds: 90}")
    start = lab.seconds()
    async with lab.open("GET", "notebooks/all?limit=10") as reader:
        assert await reader.read(4) == b"HTTP"
        assert lab.seconds() - start < 5
        await reader.readuntil(b"\r\n\r\n")
        assert lab.seconds() - start == pytest.approx(90, abs=1)
        assert (await reader.read()).endswith(b"}")
        assert lab.seconds() - start == pytest.approx(90, abs=1)


async def test_a_drip_keeps_its_promise_slowly(site: MakeSite) -> None:
    lab = await site("- {kind: drip, seconds: 50, times: 1}")
    path, start = "notebooks/all?limit=50", lab.seconds()
    async with lab.open("GET", path) as reader:
        await reader.readuntil(b"\r\n\r\n")
        assert lab.seconds() - start < 1
        first = await reader.read(10)
        assert lab.seconds() - start == pytest.approx(1, abs=0.5)
        body = first + await reader.read()
    assert lab.seconds() - start == pytest.approx(50, abs=1)
    async with lab.open("GET", path) as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].split()[0])
        assert await reader.readexactly(size) == body


async def test_a_caller_that_leaves_a_drip_hurts_nobody(
    site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    lab = await site("- {kind: drip, seconds: 500, times: 1}")
    async with lab.open("GET", "notebooks/all") as reader:
        await reader.readuntil(b"\r\n\r\n")
    assert (await lab.ask("GET", "notebooks/all"))[0] == 200
    await asyncio.sleep(600)
    assert (await lab.ask("GET", "notebooks/all"))[0] == 200
    assert caplog.text == ""


async def test_the_first_of_two_faults_of_the_wire_wins(site: MakeSite) -> None:
    lab = await site("[{kind: lost-answer, applied: false}, {kind: drip, seconds: 9}, {kind: reset}]")
    async with lab.open("GET", "notebooks/all") as reader:
        assert await reader.read() == b""
    assert lab.cloud.log[-1].status == 0


async def test_an_answer_that_never_was_can_still_drip(site: MakeSite) -> None:
    lab = await site("[{kind: drip, seconds: 9}, {kind: lost-answer, applied: false}]")
    async with lab.open("GET", "notebooks/all") as reader:
        assert (await reader.read()).startswith(b"HTTP/1.1 500 ")


async def test_the_cloud_dates_its_answers_by_its_own_clock(site: MakeSite) -> None:
    lab = await site()
    assert (await lab.ask("GET", "notebooks/all"))[2]["Date"] == "Mon, 24 Nov 2025 16:00:00 GMT"
