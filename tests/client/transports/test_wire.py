"""What only the wire transport promises: its connections, its one write, and what it leans on."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from aiohttp import TCPConnector
from aiohttp.connector import Connection as Lease
from msgspec.structs import replace
from yarl import URL

from fleet.client.transport import Site, open_transports
from fleet.client.transport.connection import Connection
from fleet.client.transport.connector import KEEP, Pool, unfit
from fleet.client.transport.wire import WireTransport
from fleet.client.wire import Kind, Request
from fleet.core.errors import CallError, Meaning
from fleet.core.scope import Way

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

GET = Request("get", Kind.READ, "GET", "/v1/p/notebooks/n")
PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b'{"name":"x"}')
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\n{}"


@pytest.fixture
def way() -> Way:
    return Way.WIRE


class Gone:
    """A departure that never waits."""

    def go(self) -> bool:
        return True

    async def wait(self) -> None:
        raise AssertionError("nobody asked to wait")


class Line(asyncio.Transport):
    """The other end of a connection, as far as it matters."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[Connection, Line, deque[Connection]]:
    line, idle = Line(), deque[Connection]()
    return Connection(line, "h", idle, lambda _: None), line, idle


def deadline() -> float:
    return asyncio.get_running_loop().time() + 5.0


async def test_a_request_is_written_once_and_at_once() -> None:
    connection, line, idle = connected()
    answer = connection.begin(b"head and body", 100, deadline(), 5.0)
    assert line.written == [b"head and body"]
    connection.data_received(ANSWER)
    assert ((await answer).status, list(idle), line.aborted) == (200, [connection], False)
    connection.connection_lost(None)
    assert line.written == [b"head and body"]


async def test_many_requests_on_a_connection_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    call_at, timers = loop.call_at, []

    def count(*given: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*given, **named))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", count)
    connection, _, idle = connected()
    for _ in range(20):
        answer = connection.begin(b"x", 100, deadline(), 5.0)
        connection.data_received(ANSWER)
        await answer
        idle.clear()
    assert len(timers) == 1
    connection.connection_lost(None)
    assert timers[0].cancelled()


async def test_a_connection_keeps_no_body_while_it_is_idle() -> None:
    connection, _, _ = connected()
    answer = connection.begin(b"x", 100_000, deadline(), 5.0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
    body = (await answer).body
    assert len(body) == 50_000
    assert not [chunks for chunks in gc.get_referrers(body) if isinstance(chunks, list)]
    connection.connection_lost(None)


async def test_an_answer_to_a_call_given_up_does_not_free_its_connection() -> None:
    connection, line, idle = connected()
    answer = connection.begin(b"x", 100, deadline(), 5.0)
    answer.cancel()
    connection.data_received(ANSWER)
    assert (line.aborted, list(idle)) == (True, [])
    connection.connection_lost(None)


@pytest.mark.looptime
@pytest.mark.parametrize(("pause", "connections"), [(KEEP - 1, 1), (KEEP + 1, 2)])
async def test_a_connection_idle_for_long_is_not_trusted(
    raw_server: RawServe, reply: Reply, pause: float, connections: int, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        await client.send(PUT)
        await asyncio.sleep(pause)
        await client.send(PUT)
    assert (len(server.requests), server.connections) == (2, connections)


@pytest.mark.looptime
async def test_of_many_connections_idle_for_long_none_is_trusted(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        await asyncio.gather(*[client.send(GET) for _ in range(5)])
        await asyncio.sleep(KEEP + 1)
        await client.send(PUT)
    assert server.connections == 6


@pytest.mark.looptime
async def test_what_lies_idle_at_the_bottom_is_closed_while_the_top_is_busy(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        await asyncio.gather(*[client.send(GET) for _ in range(5)])
        assert server.connections == 5
        for _ in range(20):
            await asyncio.sleep(1)
            await client.send(GET)
        assert sum(not task.done() for task in server.tasks) == 1
    assert server.connections == 5


async def test_scopes_of_one_origin_share_connections(raw_server: RawServe, reply: Reply) -> None:
    async with raw_server(reply()) as server, open_transports() as transport:
        for prefix, origin in (("/a/", server.url), ("/b/", f"{server.url}/")):
            request = Request("get", Kind.READ, "GET", f"{prefix}x")
            way = transport(Site(origin, "", prefix))
            assert isinstance(way, WireTransport)
            assert (await way.send(request, {}, within=5.0, departure=Gone())).status == 200
    assert server.connections == 1


async def test_what_comes_before_the_request_is_no_answer_to_it(client_of: ClientOf) -> None:
    heard: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = not heard
        heard.append(b"")
        number = len(heard) - 1
        if greeting:
            writer.write(ANSWER)
        heard[number] = await reader.read(1000)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}") as client:
            with suppress(CallError):  # the greeting may be there as soon as the connection is
                await client.send(PUT, departure=Slow())
            assert (await client.send(PUT)).status == 204
    assert heard[0] == b""
    assert heard[-1].startswith(b"PUT ")


class Slow:
    """A departure that at first has to wait, connection in hand."""

    def __init__(self) -> None:
        self.asked = 0

    def go(self) -> bool:
        self.asked += 1
        return self.asked > 1

    async def wait(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def speak(lease: Lease) -> None:
    assert lease.protocol is not None
    lease.protocol.data_received(ANSWER)


def hang_up(lease: Lease) -> None:
    assert lease.transport is not None
    lease.transport.close()


@pytest.mark.parametrize("happens", [speak, hang_up])
async def test_a_connection_that_is_odd_from_the_start_is_not_adopted(
    raw_server: RawServe, reply: Reply, happens: Callable[[Lease], None]
) -> None:
    class Hasty(TCPConnector):
        async def connect(self, *given: Any, **named: Any) -> Lease:
            lease = await super().connect(*given, **named)
            happens(lease)
            return lease

    connector = Hasty()
    async with raw_server(reply()) as server, connector:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await Pool(connector, URL(server.url)).open()
        assert server.requests == []


async def test_an_answer_without_a_length_is_not_ended_by_a_reset(
    raw_server: RawServe, client_of: ClientOf
) -> None:
    async def cut(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(TO_THE_END)
        await writer.drain()
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with raw_server(cut) as server, client_of(server.url) as client:
        assert (await client.fail(PUT)).meaning is Meaning.LOST


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's certificate for localhost, and the file of the authority that vouches for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, str(path)


async def test_connections_are_kept_over_tls_and_closed_with_the_transports(
    raw_server: RawServe, reply: Reply, tls: tuple[ssl.SSLContext, str], client_of: ClientOf
) -> None:
    async with raw_server(reply(), tls[0]) as server:
        async with asyncio.timeout(10.0):
            async with client_of(server.url, tls[1]) as client:
                for _ in range(5):
                    await client.send(PUT)
            await asyncio.gather(*server.tasks)
    assert server.connections == 1


async def test_closing_the_transports_loses_what_is_under_way(
    raw_server: RawServe, client_of: ClientOf
) -> None:
    arrived = asyncio.Event()

    async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.sleep(1000)

    async with raw_server(silence) as server:
        async with asyncio.timeout(10.0):
            async with client_of(server.url) as client:
                call = asyncio.ensure_future(client.fail(PUT))
                await arrived.wait()
            assert (await call).meaning is Meaning.LOST


def test_the_installed_aiohttp_can_be_used() -> None:
    assert unfit() is None


@pytest.mark.parametrize("version", ["3.14.4", "3.15.0", "3.15.0a1", "4.0.0", "3.9"])
async def test_an_aiohttp_that_is_not_known_is_not_leaned_on(
    raw_server: RawServe, reply: Reply, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp, "__version__", version)
    opened = open_transports()
    with pytest.warns(RuntimeWarning, match=f"aiohttp {version} is not known: the slower session"):
        transport = await opened.__aenter__()
    async with raw_server(reply()) as server:
        way = transport(Site(server.url, "", "/v1/p/"))
        assert not isinstance(way, WireTransport)
        assert (await way.send(PUT, {}, within=5.0, departure=Gone())).status == 200
        await opened.__aexit__(None, None, None)


def test_an_aiohttp_of_another_shape_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: TCPConnector, req: object) -> None:
        """Takes less than the one that we know."""

    monkeypatch.setattr(TCPConnector, "connect", connect)
    assert unfit() == f"aiohttp {aiohttp.__version__} has another TCPConnector.connect"


@pytest.mark.parametrize("request_", [GET, PUT])
async def test_the_whole_request_leaves_in_the_step_in_which_the_departure_says_so(
    request_: Request, client_of: ClientOf
) -> None:
    seen = b""

    class Watch:
        """Looks into the other end of the connection as soon as the loop is free again."""

        def go(self) -> bool:
            asyncio.get_running_loop().call_soon(self.look)
            return True

        def look(self) -> None:
            nonlocal seen
            end, _ = listener.accept()
            with end:
                seen = end.recv(65536, socket.MSG_DONTWAIT)

        async def wait(self) -> None:
            raise AssertionError("nobody asked to wait")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with client_of(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            await client.fail(request_, departure=Watch())
    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.startswith(f"{request_.method} {request_.path} HTTP/1.1\r\n".encode())
    assert body == request_.body


async def test_a_body_larger_than_any_buffer_arrives_whole(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    body = b"x" * 20_000_000
    async with raw_server(reply()) as server, client_of(server.url) as client:
        assert (await client.send(replace(PUT, body=body), within=60.0)).status == 200
    assert server.requests[0].endswith(b"\r\n\r\n" + body)
