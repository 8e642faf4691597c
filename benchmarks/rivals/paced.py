"""Limiters in front of one and the same sender: workers on plain connections, each asks before it sends.

Options: `limiter`, a function of this module; `rate` as (count, seconds), None for no limiter; `seconds`, how
long it goes on.
Our own gate is asked by our own client, in `paced_fleet`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from itertools import count as numbers_from
from random import Random

from benchmarks.harness import SEED, Sample, Stopwatch
from benchmarks.rivals.fast_json import dumps
from benchmarks.rivals.work import BODY, HEADERS, Work, path, run_in, with_memory

PACKAGES: tuple[str, ...] = ()

Ask = Callable[[], Awaitable[object]]
Send = Callable[[], Awaitable[None]]


class Connection:
    """One request at a time over asyncio's streams; it believes whatever comes back."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def open(self) -> None:
        """Connects."""
        host, port = self._work.host.split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))

    async def put(self, number: int) -> int:
        """Updates a notebook; returns the status."""
        body = dumps(BODY)
        fields = {"Host": self._work.host, **HEADERS, "Content-Length": len(body)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"PUT {path(number)} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])


def no_limiter(count: int, window: float) -> Ask:
    """Never waits: what the sender alone costs."""

    async def ask() -> None:
        await asyncio.sleep(0)

    return ask


def aiolimiter(count: int, window: float) -> Ask:
    """As documented."""
    ask: Ask = import_module("aiolimiter").AsyncLimiter(count, window).acquire
    return ask


def aiolimiter_fine(count: int, window: float) -> Ask:
    """Ten milliseconds' worth at a time, at least one request: no bursts."""
    portion = max(1, int(count / window / 100))
    return aiolimiter(portion, portion * window / count)


def pyrate_limiter(count: int, window: float) -> Ask:
    """As documented: a bucket in memory that is waited for."""
    package = import_module("pyrate_limiter")
    limiter = package.Limiter(package.Rate(count, int(window * 1000)))

    async def ask() -> None:
        await limiter.try_acquire_async("benchmark")

    return ask


def throttled_py(count: int, window: float) -> Ask:
    """GCRA as documented; its burst is the whole limit unless one is given."""
    return _throttled(count, window, count)


def throttled_py_fine(count: int, window: float) -> Ask:
    """GCRA with ten milliseconds' worth of burst."""
    return _throttled(count, window, max(1, int(count / window / 100)))


def _throttled(count: int, window: float, burst: int) -> Ask:
    package = import_module("throttled.asyncio")
    quota = package.per_duration(timedelta(seconds=window), limit=count, burst=burst)
    limiter = package.Throttled(key="benchmark", using="gcra", quota=quota, timeout=window)

    async def ask() -> None:
        while (await limiter.limit()).limited:
            pass

    return ask


async def for_a_while(seconds: float, workers: list[Callable[[], Awaitable[None]]]) -> Sample:
    """The workers go on until the time is up, each with one call after the other. The sample counts calls."""
    done = 0

    async def worker(call: Callable[[], Awaitable[None]]) -> None:
        nonlocal done
        while True:
            await call()
            done += 1

    watch = Stopwatch()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for call in workers:
                group.create_task(worker(call))
    return watch.stop(max(1, done))


def measure(work: Work) -> Sample:
    count, window = work.option("rate") or (0, 0.0)
    numbers, draw = numbers_from(), Random(SEED)

    async def play() -> Sample:
        ask: Ask = getattr(sys.modules[__name__], work.option("limiter"))(count, window)

        def caller(connection: Connection) -> Send:
            async def call() -> None:
                await ask()
                wait = 0.1
                while await connection.put(next(numbers)) == 429:
                    await asyncio.sleep(wait * draw.random() * 2)
                    wait = min(wait * 2, 10.0)

            return call

        connections = [Connection(work) for _ in range(work.concurrency)]
        for connection in connections:
            await connection.open()
        return await for_a_while(work.option("seconds"), [caller(connection) for connection in connections])

    return with_memory(run_in(work.loop, play()))
