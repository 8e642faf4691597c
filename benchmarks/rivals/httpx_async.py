"""httpx.AsyncClient with a semaphore and gather."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from benchmarks.harness import Sample
from benchmarks.rivals.work import BODY, HEADERS, Update, Work, measure_async, path, require

PACKAGES = ("httpx",)


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    httpx = import_module("httpx")
    semaphore = asyncio.Semaphore(work.concurrency)
    limits = httpx.Limits(max_connections=work.concurrency, max_keepalive_connections=work.concurrency)
    verify = ssl.create_default_context(cafile=work.ca_file) if work.ca_file else True
    async with httpx.AsyncClient(
        base_url=work.url, headers=HEADERS, limits=limits, verify=verify, timeout=None, trust_env=False
    ) as client:

        async def put(number: int) -> None:
            async with semaphore:
                response = await client.put(path(number), json=BODY)
                require(number, response.status_code, response.json())

        async def update(numbers: range) -> None:
            await asyncio.gather(*(put(number) for number in numbers))

        yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
