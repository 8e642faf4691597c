"""What every client is told to do, and how one is timed: first warmed up, then the updates that count."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeVar

from benchmarks.harness import Sample, Stopwatch, peak_rss_mb
from benchmarks.server import NEW_IMAGE

T = TypeVar("T")

PROJECT = "0" * 32
TOKEN = "t" * 64
ACCESS_KEY, SECRET_KEY = "AKEXAMPLE", "SKEXAMPLE"
BODY: Mapping[str, Any] = {"image_id": NEW_IMAGE}
WARM = 2


@dataclass(frozen=True, slots=True)
class Work:
    """`count` updates of as many notebooks from number `first` on, `concurrency` at once, at `url`.

    `loop` is asyncio or uvloop, `core` the one to keep to. `options` are for this client only. `warm` are
    the updates for each connection before those that count.
    """

    client: str
    url: str
    count: int
    concurrency: int
    loop: str = "asyncio"
    ca_file: str | None = None
    core: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0
    warm: int = WARM

    def option(self, name: str, default: Any = None) -> Any:
        """What is told to this one client only."""
        return self.options.get(name, default)

    @property
    def host(self) -> str:
        """The address without its scheme."""
        return self.url.partition("//")[2]

    @property
    def warming(self) -> range:
        """The notebooks that are updated to open every connection."""
        return range(self.first, self.first + self.warm * self.concurrency)

    @property
    def counting(self) -> range:
        """The notebooks whose updates are measured."""
        begin = self.warming.stop
        return range(begin, begin + self.count)


def key(number: int) -> str:
    """The id of a notebook."""
    return f"f9937afa-4451-42db-a76b-{number:012d}"


def path(number: int) -> str:
    """The path of a notebook's update."""
    return f"/v1/{PROJECT}/notebooks/{key(number)}"


HEADERS = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}


def require(number: int, status: int, answer: Mapping[str, Any]) -> None:
    """Raises when the answer is not the notebook's."""
    if status != 200 or answer["id"] != key(number):
        raise RuntimeError(f"notebook {number}: status {status}")


Update = Callable[[range], Awaitable[None]]


def measure_async(opened: Callable[[Work], AbstractAsyncContextManager[Update]], work: Work) -> Sample:
    """Times a client that lives in an event loop; `opened` gives its way to update a range of notebooks."""

    async def play() -> Sample:
        async with opened(work) as update:
            await update(work.warming)
            gc.collect()
            watch = Stopwatch()
            await update(work.counting)
            return watch.stop(work.count)

    return with_memory(run_in(work.loop, play()))


def measure_sync(
    opened: Callable[[Work], AbstractContextManager[Callable[[range], None]]], work: Work
) -> Sample:
    """Times a client that blocks."""
    with opened(work) as update:
        update(work.warming)
        gc.collect()
        watch = Stopwatch()
        update(work.counting)
        return with_memory(watch.stop(work.count))


def with_memory(sample: Sample) -> Sample:
    """The sample with the peak memory of this process."""
    return replace(sample, rss_mb=peak_rss_mb())


def run_in(loop: str, story: Coroutine[Any, Any, T]) -> T:
    """What comes of `story` on a loop of that kind."""
    factory = None if loop == "asyncio" else import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(story)


async def work_through(numbers: range, workers: int, update: Callable[[int], Awaitable[None]]) -> None:
    """`workers` tasks that share the numbers."""
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            await update(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())


def wait_for_start() -> None:
    """Tells the parent that everything is imported, and waits for its word."""
    print("ready", flush=True)
    sys.stdin.readline()
