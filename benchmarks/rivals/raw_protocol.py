"""The floor: an asyncio.Protocol with httptools, one connection a worker, one future a request, no safety."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import dumps, loads
from benchmarks.rivals.work import BODY, HEADERS, Update, Work, measure_async, path, require

PACKAGES = ("httptools",)


class Exchange(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._parser: Any = import_module("httptools").HttpResponseParser(self)
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[tuple[int, bytes]]
        self._transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Writes a request; the future is its status and body."""
        self._body = b""
        self._answer = self._loop.create_future()
        self._transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answer.set_result((self._parser.get_status_code(), self._body))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    host, port = work.host.split(":")
    verify = ssl.create_default_context(cafile=work.ca_file) if work.ca_file else None
    loop = asyncio.get_running_loop()
    exchanges = [
        (await loop.create_connection(Exchange, host, int(port), ssl=verify))[1]
        for _ in range(work.concurrency)
    ]
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": work.host, **HEADERS}.items())

    async def worker(exchange: Exchange, left: Any) -> None:
        for number in left:
            body = dumps(BODY)
            head = f"PUT {path(number)} HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
            status, answer = await exchange.send(head.encode() + body)
            require(number, status, loads(answer))

    async def update(numbers: range) -> None:
        left = iter(numbers)
        async with asyncio.TaskGroup() as group:
            for exchange in exchanges:
                group.create_task(worker(exchange, left))

    yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
