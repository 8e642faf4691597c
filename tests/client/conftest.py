"""Recorded answers, servers that misbehave at the byte level, and scopes of a simulated cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest

from fleet.client.clock import Clock
from fleet.client.transport import Departure, Site, Transport, open_transports
from fleet.client.wire import Request, Response
from fleet.core.errors import CallError
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, ScopeSpec, Way
from fleet.simulator.cloud import Cloud
from fleet.simulator.seed import make_cloud

SAMPLES = Path(__file__).parent.parent / "samples"
NOW = 1_764_000_000.0
TOKEN = {"x-auth-token": "canary"}

Behavior = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """A server that reads whole requests and does with the connection what a test says."""

    behavior: Behavior
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Future[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.ensure_future(self._exchange(reader, writer)))

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(_content_length(head)))
                await self.behavior(self.requests[-1], writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


RawServe = Callable[..., AbstractAsyncContextManager[RawServer]]


@asynccontextmanager
async def _raw_server(behavior: Behavior, tls: SSLContext | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(behavior)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    raw.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}"
    try:
        yield raw
    finally:
        server.close()
        await raw.end()


@pytest.fixture
def raw_server() -> RawServe:
    """`async with raw_server(behavior, tls) as server`: keeps every request that comes in whole."""
    return _raw_server


@pytest.fixture
def reply() -> Callable[..., Behavior]:
    """Makes a behavior that answers every request alike."""

    def make(status: int = 200, body: bytes = b"{}", **headers: str) -> Behavior:
        named = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        head = f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n"

        async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(head.encode() + body)
            await writer.drain()

        return behave

    return make


@pytest.fixture
def sample() -> Callable[[str], bytes]:
    """A recorded answer's body, by name and status."""
    return lambda name: (SAMPLES / f"{name}.json").read_bytes()


class Client:
    """A transport, and how often it said that a request leaves."""

    def __init__(self, transport: Transport) -> None:
        self.left = 0
        self._transport = transport

    async def send(
        self,
        request: Request,
        within: float = 5.0,
        departure: Departure | None = None,
        headers: Mapping[str, str] = TOKEN,
    ) -> Response:
        return await self._transport.send(request, headers, within=within, departure=departure or self)

    def go(self) -> bool:
        self.left += 1
        return True

    async def wait(self) -> None:
        raise AssertionError("nobody asked to wait")

    async def fail(self, request: Request, **how: Any) -> CallError:
        with pytest.raises(CallError) as caught:
            await self.send(request, **how)
        assert "canary" not in f"{caught.value!s}{caught.value!r}"
        return caught.value


ClientOf = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=Way)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to a site: what is promised holds on all."""
    return Way(request.param)


@pytest.fixture
def client_of(way: Way) -> ClientOf:
    """`async with client_of(url) as client`: a transport of scope lab-a, project "p"."""

    @asynccontextmanager
    async def make(url: str, ca_file: str | None = None, *, trust_env: bool = False) -> AsyncIterator[Client]:
        check = "check region and endpoint of scope lab-a"
        site = Site(url, check, "/v1/p/", {"accept-encoding": "identity"})
        async with open_transports(way, ca_file=ca_file, trust_env=trust_env) as transport:
            yield Client(transport(site))

    return make


@dataclass
class HandClock:
    """Both clocks of the client, turned by hand."""

    at: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, lambda: NOW + self.at)


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def loop_clock() -> Clock:
    """Clocks that follow the running loop, so that virtual time drives them."""
    return Clock(_loop_time, lambda: NOW + _loop_time())


@pytest.fixture
def cloud() -> Cloud:
    """A cloud with a fleet that fills several pages."""
    return make_cloud(notebooks=400, seed=11, now=NOW, time_scale=1000.0)


@pytest.fixture
def spec_of(cloud: Cloud) -> Callable[..., ScopeSpec]:
    """Makes the spec of the first project served at a URL, with what a test wants otherwise."""

    def make(url: str, **changes: Any) -> ScopeSpec:
        identity = cloud.identity
        spec = ScopeSpec(
            name="lab-a",
            region=identity.region,
            project_id=identity.projects[0].id,
            endpoint=url,
            iam_endpoint=url,
            credential=AkSkKeys(identity.access_key, identity.secret_key),
            rate=Rate(1000, 1.0),
        )
        return replace(spec, **changes)

    return make
