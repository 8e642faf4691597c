"""How exactly limits are kept, judged by the instants at which the server saw the requests.

First with limits that the client is told, beside other limiters; then with one that only the server knows,
and tells in the text of its 429. A client that just repeats with growing pauses stands beside ours there.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from benchmarks.harness import (
    Check,
    Client,
    Result,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    conditions,
    interleave,
    summarize,
)
from benchmarks.lab import CLIENT_CORE, Seen, Served, affinity, is_installed, measure, serve
from benchmarks.rivals.work import Work
from benchmarks.windows import fullest, steady_rate
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import Pace

WORKERS = 64
FLEET = "fleet"
LIMITERS = {
    "no_limiter": "",
    "aiolimiter": "aiolimiter",
    "aiolimiter_fine": "aiolimiter",
    "pyrate_limiter": "pyrate-limiter",
    "throttled_py": "throttled-py",
    "throttled_py_fine": "throttled-py",
}
BACKOFF = "repeat with growing pauses"
ARITHMETIC = "fleet, arithmetic of an uncontended pass"
PACKAGES = ("notebook-fleet", "aiohttp", "aiolimiter", "pyrate-limiter", "throttled-py", "uvloop")

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Pacing:
    """A limit, and how long to try it."""

    count: int
    window: float
    seconds: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.count}/s" if self.window == 1.0 else f"{self.count}/min"


KNOWN = (Pacing(50, 1.0, 6, 5), Pacing(500, 1.0, 6, 5), Pacing(2000, 1.0, 6, 5), Pacing(60, 60.0, 75, 1))
QUICK_KNOWN = (Pacing(50, 1.0, 0.6, 1), Pacing(500, 1.0, 0.6, 1))
TAUGHT, QUICK_TAUGHT = Pacing(60, 1.0, 400, 1), Pacing(200, 1.0, 2.0, 1)  # who starts low needs minutes
LEARNED = 0.5  # of its time; what comes after is judged


def run(*, quick: bool) -> Result:
    """Every limit that is known, then the one that must be learned, then the arithmetic."""
    names = [name for name, package in LIMITERS.items() if not package or is_installed(package)]
    rows: list[Row] = []
    checks: list[Check] = []
    known = QUICK_KNOWN if quick else KNOWN
    for pacing in known:
        with serve() as server:
            runs: dict[str, Client] = {FLEET: partial(pace, pacing, server, "paced_fleet", "")}
            runs |= {name: partial(pace, pacing, server, "paced", name) for name in names}
            if pacing.window > 1.0:
                del runs["no_limiter"]
            samples = interleave(runs, pacing.rounds, warm_up=False)
        rows += table(samples, pacing)
        checks += judge(samples, pacing)
    taught = QUICK_TAUGHT if quick else TAUGHT
    with serve(limit=f"{taught.count}/{taught.window:.0f}") as server:
        runs = {
            FLEET: partial(learn, taught, server, "paced_fleet", ""),
            BACKOFF: partial(learn, taught, server, "paced", "no_limiter"),
        }
        samples = interleave(runs, taught.rounds, warm_up=False)
    rows += [replace(summarize(name, samples), client=f"{name}; {taught}, not told") for name in samples]
    checks += judge_learning(samples[FLEET], taught)
    passes = [time_arithmetic(2_000 if quick else 100_000) for _ in range(3 if quick else 15)]
    rows.append(summarize(ARITHMETIC, {ARITHMETIC: passes}))
    checks.append(at_most(f"{ARITHMETIC}, CPU us", median(one.cpu_us for one in passes), 1.0))
    facts = conditions(
        PACKAGES,
        rounds=max(pacing.rounds for pacing in known),
        quick=quick,
        workers=WORKERS,
        left_out=[name for name in LIMITERS if name not in names],
        **affinity(),
    )
    return Result("pacing", facts, rows, checks)


def play(
    pacing: Pacing, server: Served, client: str, limiter: str, rate: tuple[int, float] | None
) -> tuple[Sample, Seen]:
    """One client's turn, and what the server saw of it."""
    options = {"limiter": limiter, "rate": rate, "seconds": pacing.seconds}
    server.reset()
    sample = measure(Work(client, server.url, 0, WORKERS, core=CLIENT_CORE, options=options))
    seen = server.seen()
    return replace(sample, count=max(1, seen.puts)), seen


def pace(pacing: Pacing, server: Served, client: str, limiter: str) -> Sample:
    """A client that was told the limit."""
    sample, seen = play(pacing, server, client, limiter, (pacing.count, pacing.window))
    came = seen.arrivals
    more = {
        "share of the limit": used(came, pacing, 0.5),
        "steady share": steady_rate(came) * pacing.window / pacing.count,
        "fullest window": fullest(came, pacing.window),
        "fullest 100 ms": fullest(came, 0.1),
        "CPU share": sample.cpu / sample.wall,
        "server stalled ms": seen.stalled * 1000,
    }
    return replace(sample, more=more)


def learn(pacing: Pacing, server: Served, client: str, limiter: str) -> Sample:
    """A client that was told nothing."""
    sample, seen = play(pacing, server, client, limiter, None)
    more = {
        "429s": seen.refused,
        "share of the limit": used(seen.arrivals, pacing, LEARNED),
        "requests judged": len(seen.arrivals) - before(seen.arrivals, pacing, LEARNED),
        "fullest window": fullest(seen.arrivals, pacing.window),
        "server stalled ms": seen.stalled * 1000,
    }
    return replace(sample, more=more)


def used(came: Sequence[float], pacing: Pacing, after: float) -> float:
    """The share of the limit that was used once a part of the time was over, and first bursts with it."""
    allowed = pacing.seconds * (1 - after) * pacing.count / pacing.window
    return (len(came) - before(came, pacing, after)) / allowed


def before(came: Sequence[float], pacing: Pacing, part: float) -> int:
    """How many requests came in the first part of the time."""
    return bisect_right(came, came[0] + pacing.seconds * part)


def table(samples: Samples, pacing: Pacing) -> list[Row]:
    """The rows of a limit; times cheaper than the documented use of aiolimiter."""
    bases = [name for name in ("aiolimiter",) if name in samples]
    rows = [summarize(name, samples, [base for base in bases if base != name]) for name in samples]
    return [replace(row, client=f"{row.client}; {pacing}") for row in rows]


def judge(samples: Samples, pacing: Pacing) -> list[Check]:
    """Whether our client kept the limit and used it. A window of 100 ms says something above 500/s only."""
    own = samples[FLEET]
    checks = [
        at_most(f"{pacing}: server stalled ms, else the windows are not to be trusted", stalled(own), 5),
        at_least(f"{pacing}: share of the limit used", least(own, "steady share"), 0.98),
        at_most(f"{pacing}: fullest window", most(own, "fullest window"), int(1.02 * pacing.count)),
    ]
    if pacing.count >= 500:
        checks.append(
            at_most(f"{pacing}: fullest 100 ms", most(own, "fullest 100 ms"), int(0.115 * pacing.count))
        )
    return checks


def judge_learning(own: Sequence[Sample], pacing: Pacing) -> list[Check]:
    """Whether our client learned the limit from the first refusal and then used it."""
    return [
        at_most(f"{pacing}, not told: server stalled ms", stalled(own), 5),
        at_most(f"{pacing}, not told: 429s", most(own, "429s"), 1),
        at_least(f"{pacing}, not told: requests judged", least(own, "requests judged"), 10_000),
        at_least(f"{pacing}, not told: share of the limit used", least(own, "share of the limit"), 0.97),
    ]


def stalled(samples: Sequence[Sample]) -> float:
    """The longest that the server was kept from its sockets, ms."""
    return most(samples, "server stalled ms")


def most(samples: Sequence[Sample], name: str) -> float:
    return max(sample.more[name] for sample in samples)


def least(samples: Sequence[Sample], name: str) -> float:
    return min(sample.more[name] for sample in samples)


def time_arithmetic(count: int) -> Sample:
    """What a request that need not wait costs in the core: a slot, a look at the windows, a record."""
    pace, now = Pace(Rate(60_000, 60.0)), time.monotonic()
    watch = Stopwatch()
    for number in range(count):
        at = now + number * 0.01
        pace.reserve(at)
        pace.clear_at(at)
        pace.sent(at)
    return watch.stop(count)
