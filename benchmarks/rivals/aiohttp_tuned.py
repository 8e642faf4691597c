"""aiohttp with every public trick that pays: workers, bytes, no timer for each request, orjson."""

from __future__ import annotations

import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from multidict import CIMultiDict, istr
from yarl import URL

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import dumps, loads
from benchmarks.rivals.work import BODY, HEADERS, Update, Work, measure_async, path, require, work_through

PACKAGES = ("aiohttp",)


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    base = URL(work.url)
    headers = CIMultiDict({istr(name): value for name, value in HEADERS.items()})
    verify = ssl.create_default_context(cafile=work.ca_file) if work.ca_file else True
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=verify, limit=work.concurrency),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:

        async def put(number: int) -> None:
            response = await session.put(
                base.with_path(path(number), encoded=True), data=dumps(BODY), headers=headers
            )
            require(number, response.status, loads(await response.read()))

        async def update(numbers: range) -> None:
            await work_through(numbers, work.concurrency, put)

        yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
