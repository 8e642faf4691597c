"""What sharding over processes gives: the same updates by one process, by two, with enough cores by more.

They start at the same moment, each with all its connections; the rate is all updates over the time of the
slowest. Each has a core of its own as long as there are enough beside the server's; with two cores the second
process shares the server's. Limits are not the subject: processes with the same throttle key must split their
rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.harness import Client, Result, Row, Sample, at_least, conditions, interleave, ratio, summarize
from benchmarks.lab import CLIENT_CORE, CORES, SERVER_CORE, Child, Served, affinity, is_installed, serve
from benchmarks.rivals.work import WARM, Work

LATENCIES, QUICK_LATENCIES = (0.0, 0.05), (0.0,)
CONCURRENCY, QUICK_CONCURRENCY = 128, 8
CHANGES, QUICK_CHANGES = 6_000, 60
FREE = [core for core in CORES if core != SERVER_CORE] or [CLIENT_CORE]
GOAL = 1.6


def run(*, quick: bool) -> Result:
    """The engine and the client alone, with and without latency."""
    rounds, changes = (1, QUICK_CHANGES) if quick else (5, CHANGES)
    concurrency = QUICK_CONCURRENCY if quick else CONCURRENCY
    loop = "uvloop" if is_installed("uvloop") else "asyncio"
    counts = [count for count in (1, 2, 4, 8) if count <= max(2, len(FREE))]
    rows: list[Row] = []
    checks = []
    for latency in QUICK_LATENCIES if quick else LATENCIES:
        for client, share in (("fleet_engine", 1 / 3), ("fleet_client", 1.0)):
            work = Work(client, "", round(changes * share), concurrency, loop)
            with serve(latency=latency) as server:
                runs: dict[str, Client] = {
                    label(count): partial(together, count, work, server) for count in counts
                }
                samples = interleave(runs, rounds, warm_up=False)
            where = f"{client}, {loop}; {latency * 1000:.0f} ms"
            for name in samples:
                row = summarize(name, samples, [label(1)] if name != label(1) else [])
                rows.append(replace(row, client=f"{where}; {name}"))
            gain = ratio(samples, label(2), label(1), "rate")
            checks.append(at_least(f"{where}: requests/s of two over one", gain, GOAL))
    facts = conditions(
        ["notebook-fleet", "uvloop", "aiohttp"],
        rounds=rounds,
        quick=quick,
        concurrency=f"{concurrency} for each process",
        cores_beside_the_server=len(FREE),
        **affinity(),
    )
    return Result("processes", facts, rows, checks)


def label(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def together(count: int, work: Work, server: Served) -> Sample:
    """The work, split among so many processes that start at once."""
    server.reset()
    portions = [
        replace(
            work,
            url=server.url,
            count=work.count // count,
            core=core_of(number),
            first=number * (work.count + WARM * work.concurrency),
        )
        for number in range(count)
    ]
    children = [Child(portion) for portion in portions]
    for child in children:
        child.start()
    return add([child.sample() for child in children])


def core_of(number: int) -> int:
    """The core of a client: its own, else the server's too."""
    return FREE[number] if number < len(FREE) else SERVER_CORE


def add(samples: Sequence[Sample]) -> Sample:
    """What processes that ran side by side did together."""
    return Sample(
        sum(one.count for one in samples),
        sum(one.cpu for one in samples),
        max(one.wall for one in samples),
        rss_mb=sum(one.rss_mb for one in samples),
    )
