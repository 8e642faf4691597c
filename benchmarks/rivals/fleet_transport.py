"""Our transport bare: no gate, no signature, no retries. What the client and the engine build on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import loads
from benchmarks.rivals.work import (
    BODY,
    HEADERS,
    PROJECT,
    Update,
    Work,
    key,
    measure_async,
    require,
    work_through,
)
from fleet.client.operations import Operations
from fleet.client.transport import Site, open_transports
from fleet.core.scope import Way

PACKAGES = ("notebook-fleet",)
WITHIN = 30.0  # s


class AtOnce:
    """A departure that never waits."""

    def go(self) -> bool:
        return True

    async def wait(self) -> None:
        pass


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    operations, departure = Operations(PROJECT), AtOnce()
    headers = {name.lower(): value for name, value in HEADERS.items()}
    async with open_transports(Way(work.option("way", Way.WIRE)), ca_file=work.ca_file) as transports:
        transport = transports(Site(work.url, "", operations.prefix))

        async def put(number: int) -> None:
            request = operations.update(key(number), BODY)
            response = await transport.send(request, headers, within=WITHIN, departure=departure)
            require(number, response.status, loads(response.body))

        async def update(numbers: range) -> None:
            await work_through(numbers, work.concurrency, put)

        yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
