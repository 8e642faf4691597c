"""The road of a PUT, our client alone and the full engine, beside every way that Python has to send one.

Each client runs in a process of its own in each round and warms itself up. Scenes differ in TLS, latency and
concurrency. Where a goal needs wrk, the bare asyncio protocol on uvloop stands in for it: at 50 ms both
are bound by latency alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import (
    Check,
    Result,
    Row,
    Sample,
    at_least,
    at_most,
    conditions,
    interleave,
    ratio,
    summarize,
)
from benchmarks.lab import CLIENT_CORE, Served, affinity, is_installed, measure, missing, serve
from benchmarks.rivals.work import WARM, Work

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Client:
    """A module of `rivals`; `share` is its part of the updates where it is slow, `serial` one at a time."""

    module: str
    loop: str = "asyncio"
    options: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    serial: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What the network and the service are like."""

    tls: bool
    latency: float
    concurrency: int

    def __str__(self) -> str:
        return f"{'TLS' if self.tls else 'plain'}, {self.latency * 1000:.0f} ms, {self.concurrency} at once"


ENGINE, ENGINE_UV = "fleet engine", "fleet engine, uvloop"
OURS, OURS_UV, SIGNED_UV = "fleet client", "fleet client, uvloop", "fleet client signing, uvloop"
BARE, BARE_UV = "fleet transport", "fleet transport, uvloop"
SESSION, BARE_SESSION = "fleet client on the session", "fleet transport on the session"
GATHER, RAW, RAW_UV = "aiohttp gather", "raw protocol", "raw protocol, uvloop"
REQWEST = "pyreqwest"
SDK = {"SDK": "sync", "SDK 64 threads": "threads", "SDK async": "async"}

CLIENTS: dict[str, Client] = {
    ENGINE: Client("fleet_engine", share=1 / 3),
    ENGINE_UV: Client("fleet_engine", "uvloop", share=1 / 3),
    OURS: Client("fleet_client"),
    OURS_UV: Client("fleet_client", "uvloop"),
    SIGNED_UV: Client("fleet_client", "uvloop", {"signed": True}),
    SESSION: Client("fleet_client", options={"way": "session"}),
    BARE: Client("fleet_transport"),
    BARE_UV: Client("fleet_transport", "uvloop"),
    BARE_SESSION: Client("fleet_transport", options={"way": "session"}),
    RAW: Client("raw_protocol"),
    RAW_UV: Client("raw_protocol", "uvloop"),
    GATHER: Client("aiohttp_gather"),
    "aiohttp gather, uvloop": Client("aiohttp_gather", "uvloop"),
    "aiohttp tuned": Client("aiohttp_tuned"),
    "aiohttp tuned, uvloop": Client("aiohttp_tuned", "uvloop"),
    REQWEST: Client("pyreqwest_async"),
    "pyreqwest, uvloop": Client("pyreqwest_async", "uvloop"),
    "pycurl multi": Client("pycurl_multi"),
    "urllib3 64 threads": Client("urllib3_threads", share=0.5),
    "httpx": Client("httpx_async", share=0.03),
    **{
        name: Client("sdk", options={"mode": mode}, share=0.05, serial=mode == "sync")
        for name, mode in SDK.items()
    },
}
PACKAGES = (
    "notebook-fleet", "aiohttp", "uvloop", "httptools", "httpx", "pyreqwest", "pycurl", "urllib3",
    "huaweicloudsdkmodelarts", "orjson",
)  # fmt: skip

LOOPBACK, OVER_TLS, REMOTE = Scene(False, 0.0, 128), Scene(True, 0.0, 128), Scene(False, 0.05, 256)
SCENES = (LOOPBACK, OVER_TLS, REMOTE, Scene(False, 0.0, 64), Scene(False, 0.0, 256), Scene(True, 0.05, 256))
QUICK = (Scene(False, 0.0, 8), Scene(True, 0.002, 8))
UPDATES, QUICK_UPDATES = 15_000, 120
MOST_SERIAL = 100  # updates one at a time, where each has to wait for the network
# Updates for each connection before those that count, by clients that are not slow. With few, connections
# that are open serve the updates of others, which are opened later, and their handshakes would count.
WARM_QUICK = 60


def run(*, quick: bool) -> Result:
    """Every scene one after the other; within a scene every client once in a round."""
    rounds, updates, scenes = (1, QUICK_UPDATES, QUICK) if quick else (5, UPDATES, SCENES)
    clients, left_out = choose()
    rows: list[Row] = []
    found: dict[Scene, Samples] = {}
    for scene in scenes:
        with serve(tls=scene.tls, latency=scene.latency) as server:
            runs = {name: partial(update, client, scene, server, updates) for name, client in clients.items()}
            found[scene] = interleave(runs, rounds, warm_up=False)
        rows += table(scene, found[scene])
    loopback, tls, remote = (scenes[0], scenes[1], scenes[1]) if quick else (LOOPBACK, OVER_TLS, REMOTE)
    checks = [
        *judge_loopback(found[loopback], f"{loopback}: "),
        *judge_tls(found[tls], f"{tls}: "),
        *judge_remote(found[remote], f"{remote}: "),
        server_was_faster(found),
    ]
    facts = conditions(PACKAGES, rounds=rounds, quick=quick, updates=updates, left_out=left_out, **affinity())
    return Result("request_path", facts, rows, checks)


def choose() -> tuple[dict[str, Client], dict[str, str]]:
    """The clients that can run here, and what the others lack."""
    lacks = {
        name: missing(client.module)
        + ([client.loop] if client.loop != "asyncio" and not is_installed(client.loop) else [])
        for name, client in CLIENTS.items()
    }
    here = {name: client for name, client in CLIENTS.items() if not lacks[name]}
    return here, {name: ", ".join(what) for name, what in lacks.items() if what}


def update(client: Client, scene: Scene, server: Served, updates: int) -> Sample:
    """One client's turn. Raises when the server did not see every update, each once."""
    concurrency = 1 if client.serial else scene.concurrency
    count = max(concurrency, round(updates * client.share))
    if client.serial and scene.latency:
        count = min(count, MOST_SERIAL)
    work = Work(
        client.module,
        server.url,
        count,
        concurrency,
        client.loop,
        server.ca_file,
        CLIENT_CORE,
        client.options,
        warm=max(WARM, round(WARM_QUICK * client.share)),
    )
    server.reset()
    sample = measure(work)
    seen = server.seen()
    if seen.puts != count + len(work.warming):
        raise RuntimeError(f"{client.module}: {seen.puts} updates at the server, not {work.counting.stop}")
    share = count / work.counting.stop  # the server does not know which updates only warmed up
    busy = min(1.0, seen.busy * share / sample.wall)
    return Sample(
        sample.count, sample.cpu, sample.wall, (), sample.rss_mb, {**sample.more, "server busy": busy}
    )


def table(scene: Scene, samples: Samples) -> list[Row]:
    """The rows of a scene, named with it; ratios are within it."""
    bases = [name for name in (GATHER, REQWEST, "SDK 64 threads", RAW_UV) if name in samples]
    rows = [summarize(name, samples, [base for base in bases if base != name]) for name in samples]
    return [replace(row, client=f"{row.client}; {scene}") for row in rows]


def judge_loopback(samples: Samples, where: str) -> list[Check]:
    """The goals at 128 connections without latency, in CPU for each request."""
    modes = [name for name in SDK if name in samples]
    sdk = min(modes, key=lambda name: typical_cpu(samples[name]), default="")
    goals = [
        (GATHER, ENGINE_UV, 5.0),
        (REQWEST, ENGINE_UV, 2.1),
        (sdk, ENGINE_UV, 30.0),
        (GATHER, ENGINE, 3.3),
        (REQWEST, ENGINE, 1.35),
        (GATHER, BARE_SESSION, 1.25),
        (GATHER, SESSION, 1.25),
    ]
    checks = [
        at_least(f"{where}CPU of {other} over {mine}", ratio(samples, other, mine), goal)
        for other, mine, goal in goals
        if {other, mine} <= samples.keys()
    ]
    if {RAW_UV, ENGINE_UV} <= samples.keys():
        share = ratio(samples, ENGINE_UV, RAW_UV)
        checks.append(at_most(f"{where}CPU of {ENGINE_UV} over {RAW_UV}", share, 1.8))
    mine, bare = (ENGINE_UV, BARE_UV) if BARE_UV in samples else (ENGINE, BARE)
    pairs = zip(samples[mine], samples[bare], strict=True)
    extra = median(full.cpu_us - alone.cpu_us for full, alone in pairs)
    return [*checks, at_most(f"{where}CPU us a request of {mine} above {bare}", extra, 30.0)]


def typical_cpu(samples: Sequence[Sample]) -> float:
    return median(sample.cpu_us for sample in samples)


def judge_tls(samples: Samples, where: str) -> list[Check]:
    """The goals over TLS, on the faster loop that is here."""
    mine = ENGINE_UV if ENGINE_UV in samples else ENGINE
    return [
        at_least(f"{where}CPU of {other} over {mine}", ratio(samples, other, mine), goal)
        for other, goal in ((GATHER, 2.5), (REQWEST, 1.2))
        if other in samples
    ]


def judge_remote(samples: Samples, where: str) -> list[Check]:
    """The goals where latency rules: the rate of the floor, at a part of the CPU."""
    mine = ENGINE_UV if ENGINE_UV in samples else ENGINE
    checks = [at_most(f"{where}CPU of {mine} over {GATHER}", ratio(samples, mine, GATHER), 0.27)]
    if RAW_UV in samples:
        rate = ratio(samples, mine, RAW_UV, "rate")
        checks.append(at_least(f"{where}requests/s of {mine} over {RAW_UV}, in wrk's place", rate, 0.9))
    return checks


def server_was_faster(found: Mapping[Scene, Samples]) -> Check:
    """How much of its time the server was at work, with the client that asked most of it."""
    runs = (few for samples in found.values() for few in samples.values())
    shares = [median(one.more["server busy"] for one in few) for few in runs]
    return at_most("the server's busiest share", max(shares), 0.95)
