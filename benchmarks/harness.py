"""What every benchmark shares: interleaved rounds, medians with their spread, the result as table and JSON.

The judge is the CPU time of the whole process, all its threads and the kernel's part included. Wall time
tells only rates and latencies.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

SEED = 20_260_101


@dataclass(frozen=True, slots=True)
class Sample:
    """What one client needed for `count` pieces of work; seconds. `waits` are single latencies.

    `rss_mb` is the peak of the client's own process, 0 when it ran in this one. `more` has figures
    of its own.
    """

    count: int
    cpu: float
    wall: float
    waits: Sequence[float] = ()
    rss_mb: float = 0.0
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.count * 1e6

    @property
    def rate(self) -> float:
        return self.count / self.wall


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self, count: int, waits: Sequence[float] = ()) -> Sample:
        """The sample for `count` pieces of work."""
        cpu, wall = time.process_time(), time.perf_counter()
        return Sample(count, cpu - self._cpu, wall - self._wall, waits)


@dataclass(frozen=True, slots=True)
class Row:
    """One client: medians over the rounds.

    `ratios[other]` is the other's CPU divided by this one's, so above 1 this one is cheaper. `spread` has the
    quartiles of `cpu_us` and of each ratio. `rss_mb` is the peak of the process that the client ran in.
    `more` has what only some programs know of a client, by name.
    """

    client: str
    req_s: float
    cpu_us: float
    rss_mb: float
    ratios: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """A goal, and whether it was met."""

    what: str
    value: float
    goal: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What one program found."""

    name: str
    conditions: Mapping[str, Any]
    rows: Sequence[Row]
    checks: Sequence[Check]


Client = Callable[[], Sample]


def interleave(
    clients: Mapping[str, Client], rounds: int, *, warm_up: bool = True
) -> dict[str, list[Sample]]:
    """A sample of every client in each round, in an order drawn anew.

    A round before the first warms up, unless the clients do so themselves.
    """
    draw = Random(SEED)
    samples: dict[str, list[Sample]] = {name: [] for name in clients}
    for number in range(rounds + warm_up):
        for name in draw.sample(list(clients), len(clients)):
            gc.collect()
            sample = clients[name]()
            if number >= warm_up:
                samples[name].append(sample)
    return samples


def summarize(client: str, samples: Mapping[str, Sequence[Sample]], rivals: Sequence[str] = ()) -> Row:
    """The row of `client` against `rivals`, which ran in the same rounds."""
    own = samples[client]
    costs = [sample.cpu_us for sample in own]
    waits = [seconds for sample in own for seconds in sample.waits]
    ratios = {
        rival: [other.cpu_us / mine.cpu_us for other, mine in zip(samples[rival], own, strict=True)]
        for rival in rivals
    }
    return Row(
        client=client,
        req_s=round(median(sample.rate for sample in own), 3),
        cpu_us=round(median(costs), 3),
        rss_mb=round(max(sample.rss_mb for sample in own) or peak_rss_mb(), 1),
        ratios={rival: round(median(values), 3) for rival, values in ratios.items()},
        spread={"cpu_us": quartiles(costs)} | {rival: quartiles(values) for rival, values in ratios.items()},
        latency_ms=percentiles_ms(waits) if waits else {},
        more={name: round(median(sample.more[name] for sample in own), 4) for name in own[0].more},
    )


def ratio(samples: Mapping[str, Sequence[Sample]], of: str, to: str, what: str = "cpu_us") -> float:
    """The median over the rounds of one client's CPU (or `rate`) as a share of another's."""
    pairs = zip(samples[of], samples[to], strict=True)
    return float(median(getattr(one, what) / getattr(other, what) for one, other in pairs))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile; twice the same for a single value."""
    if len(values) == 1:
        return round(values[0], 3), round(values[0], 3)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return round(low, 3), round(high, 3)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile in ms."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1000, 3), "p99": round(cuts[98] * 1000, 3)}


def at_most(what: str, value: float, limit: float) -> Check:
    return Check(what, round(value, 4), f"<= {limit:g}", value <= limit)


def at_least(what: str, value: float, limit: float) -> Check:
    return Check(what, round(value, 4), f">= {limit:g}", value >= limit)


def peak_rss_mb() -> float:
    """The most memory that this process has held so far; 0 where /proc does not tell.

    Not getrusage: its maximum starts from that of the process which started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return next(
        (int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0
    )


def conditions(packages: Sequence[str], *, rounds: int, quick: bool, **more: object) -> dict[str, Any]:
    """What the figures depend on. An interpreter built without profile is up to a third slower."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    words = {"PGO": "--enable-optimizations", "LTO": "--with-lto", "shared": "--enable-shared"}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "build": {word: flag in flags for word, flag in words.items()},
        "compiler": platform.python_compiler(),
        "executable": sys.executable,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "versions": {package: _version(package) for package in packages},
        "seed": SEED,
        "rounds": rounds,
        "quick": quick,
        **more,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def as_json(result: Result) -> str:
    return json.dumps(asdict(result), indent=1) + "\n"


def as_table(result: Result) -> str:
    """The result for a person."""
    heads = ("client", "per s", "CPU us", "quartiles", "p50 / p99 ms", "RSS MB", "more", "times cheaper than")
    lines = [heads, *(_cells(row) for row in result.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    facts = [f"{name}: {value}" for name, value in result.conditions.items()]
    marks = [
        f"{'ok  ' if check.ok else 'MISS'} {check.what}: {check.value:g} (goal {check.goal})"
        for check in result.checks
    ]
    return "\n".join([result.name, *facts, "", *(line.rstrip() for line in table), "", *marks])


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row.spread["cpu_us"]
    return (
        row.client,
        f"{row.req_s:,.0f}",
        f"{row.cpu_us:.1f}",
        f"{low:.1f} - {high:.1f}",
        " / ".join(f"{value:.2f}" for value in row.latency_ms.values()),
        f"{row.rss_mb:.0f}",
        ", ".join(f"{name} {value:g}" for name, value in row.more.items()),
        ", ".join(f"{rival} {ratio:.2f}" for rival, ratio in row.ratios.items()),
    )
