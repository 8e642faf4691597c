"""aiohttp as most people write it: one session, a semaphore, gather over everything."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.harness import Sample
from benchmarks.rivals.work import BODY, HEADERS, Update, Work, measure_async, path, require

PACKAGES = ("aiohttp",)


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    semaphore = asyncio.Semaphore(work.concurrency)
    verify = ssl.create_default_context(cafile=work.ca_file) if work.ca_file else True
    connector = aiohttp.TCPConnector(ssl=verify, limit=work.concurrency)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:

        async def put(number: int) -> None:
            async with semaphore, session.put(f"{work.url}{path(number)}", json=BODY) as response:
                require(number, response.status, await response.json())

        async def update(numbers: range) -> None:
            await asyncio.gather(*(put(number) for number in numbers))

        yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
