"""pyreqwest: Rust's reqwest, one client, workers, bytes in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import dumps, loads
from benchmarks.rivals.work import BODY, HEADERS, Update, Work, measure_async, path, require, work_through

PACKAGES = ("pyreqwest",)


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    builder = import_module("pyreqwest.client").ClientBuilder().default_headers(HEADERS).http1_only()
    if work.ca_file:
        builder = builder.add_root_certificate_pem(_bytes_of(work.ca_file))
    async with builder.build() as client:

        async def put(number: int) -> None:
            request = client.put(f"{work.url}{path(number)}").body_bytes(dumps(BODY)).build()
            response = await request.send()
            require(number, response.status, loads(bytes(await response.bytes())))

        async def update(numbers: range) -> None:
            await work_through(numbers, work.concurrency, put)

        yield update


def _bytes_of(file: str) -> bytes:
    return Path(file).read_bytes()


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
