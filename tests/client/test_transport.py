"""Every transport against sockets that do what servers do on bad days."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fleet.client.transport import Site
from fleet.client.wire import Kind, Request
from fleet.core.errors import CallError, Meaning

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

GET = Request("get", Kind.READ, "GET", "/v1/p/notebooks/n")
PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b'{"name":"x"}')
POST = Request("stop", Kind.WRITE, "POST", "/v1/p/notebooks/n/stop")
LEASE = Request("lease", Kind.WRITE, "PATCH", "/v1/p/notebooks/n/lease", body=b"{}")
EVERY = [GET, PUT, POST, LEASE]
CHECK = "check region and endpoint of scope lab-a"


async def settle() -> None:
    """Lets both ends of the loopback see what the other did."""
    for _ in range(20):
        await asyncio.sleep(0)


class Patient:
    """A departure that wants to wait so often."""

    def __init__(self, waits: int = 0) -> None:
        self.waits = waits

    def go(self) -> bool:
        self.waits -= 1
        return self.waits < 0

    async def wait(self) -> None:
        await asyncio.sleep(0)


async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Applies the request, then closes without an answer."""
    writer.close()


@pytest.mark.parametrize("request_", EVERY)
async def test_what_is_sent_is_what_was_built(
    raw_server: RawServe, reply: Reply, request_: Request, client_of: ClientOf
) -> None:
    async with (
        raw_server(reply(200, b'{"a":1}', X_Request_Id="r")) as server,
        client_of(server.url) as client,
    ):
        answer = await client.send(replace(request_, query="b=%7C&c=%2F"))
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert head.startswith(f"{request_.method} {request_.path}?b=%7C&c=%2F HTTP/1.1\r\n".encode())
    assert body == request_.body
    assert b"accept-encoding: identity" in lines
    assert not any(line.startswith((b"transfer-encoding", b"cookie")) for line in lines)
    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b'{"a":1}', "r")


@pytest.mark.row(13)
@pytest.mark.security("replay")
@pytest.mark.parametrize("request_", EVERY)
async def test_a_fresh_connection_that_dies_after_the_request_gets_no_second_one(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    async with raw_server(hang_up) as server, client_of(server.url) as client:
        error = await client.fail(request_)
    assert error.meaning is Meaning.LOST
    assert (len(server.requests), server.connections, client.left) == (1, 1, 1)


@pytest.mark.row(13)
@pytest.mark.security("replay")
@pytest.mark.parametrize("request_", EVERY)
async def test_a_kept_connection_that_dies_after_the_request_gets_no_second_one(
    raw_server: RawServe, reply: Reply, request_: Request, client_of: ClientOf
) -> None:
    answer = reply()

    async def once(request: bytes, writer: asyncio.StreamWriter) -> None:
        await (answer if len(server.requests) == 1 else hang_up)(request, writer)

    async with raw_server(once) as server, client_of(server.url) as client:
        await client.send(GET)
        error = await client.fail(request_)
    assert error.meaning is Meaning.LOST
    assert (len(server.requests), server.connections, client.left) == (2, 1, 2)


@pytest.mark.row(11, 12)
@pytest.mark.parametrize("request_", EVERY)
async def test_a_reset_after_the_request_is_in_doubt(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with raw_server(reset) as server, client_of(server.url) as client:
        error = await client.fail(request_)
    assert error.meaning is Meaning.LOST
    assert len(server.requests) == 1


async def test_a_kept_connection_closed_by_the_server_is_replaced_before_anything_leaves(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    answer = reply()

    async def close_after(request: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        writer.close()

    async with raw_server(close_after) as server, client_of(server.url) as client:
        await client.send(GET)
        await settle()
        await client.send(PUT)
    assert (len(server.requests), server.connections, client.left) == (2, 2, 2)


async def test_keep_alive_saves_connections(raw_server: RawServe, reply: Reply, client_of: ClientOf) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        for request in EVERY * 3:
            await client.send(request)
    assert (len(server.requests), server.connections) == (12, 1)


@pytest.mark.row(30)
@pytest.mark.security("redirect")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [GET, PUT])
async def test_a_redirect_is_an_answer_and_nobody_else_hears_of_it(
    raw_server: RawServe, reply: Reply, status: int, request_: Request, client_of: ClientOf
) -> None:
    async with (
        raw_server(reply()) as other,
        raw_server(reply(status, b"", Location=f"{other.url}/v1/p/x")) as server,
        client_of(server.url) as client,
    ):
        assert (await client.send(request_)).status == status
    assert other.requests == []
    assert other.connections == 0


@pytest.mark.row(29)
@pytest.mark.security("cap")
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_over_the_cap_is_cut_off_while_it_is_read(
    raw_server: RawServe, chunked: bool, client_of: ClientOf
) -> None:
    written = 0

    async def flood(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        size = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000000"
        writer.write(f"HTTP/1.1 200 OK\r\n{size}\r\n\r\n".encode())
        block = b"x" * 65536
        while not writer.is_closing():
            writer.write(b"10000\r\n" + block + b"\r\n" if chunked else block)
            written += len(block)
            await writer.drain()

    async with raw_server(flood) as server, client_of(server.url) as client:
        error = await client.fail(replace(PUT, cap=1024 * 1024))
    assert error.meaning is Meaning.ODD
    assert "1048576 bytes" in error.text
    assert written < 16 * 1024 * 1024


@pytest.mark.security("cap")
async def test_a_body_as_large_as_the_cap_passes(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    async with raw_server(reply(200, b"x" * 5000)) as server, client_of(server.url) as client:
        assert len((await client.send(replace(GET, cap=5000))).body) == 5000
        assert (await client.fail(replace(GET, cap=4999))).meaning is Meaning.ODD


@pytest.mark.row(29)
@pytest.mark.security("cap")
async def test_a_packed_body_is_not_unpacked(raw_server: RawServe, reply: Reply, client_of: ClientOf) -> None:
    packed = gzip.compress(b"0" * 10_000_000)
    answer = reply(200, packed, Content_Encoding="gzip")
    async with raw_server(answer) as server, client_of(server.url) as client:
        assert (await client.send(GET)).body == packed


@pytest.mark.row(9)
@pytest.mark.security("deadline")
@pytest.mark.looptime
@pytest.mark.parametrize("request_", EVERY)
async def test_a_dripping_body_ends_with_the_deadline(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(1)

    async with raw_server(drip) as server, client_of(server.url) as client:
        begun = asyncio.get_running_loop().time()
        error = await client.fail(request_, within=30.0)
        took = asyncio.get_running_loop().time() - begun
    assert error.meaning is Meaning.LOST
    assert "30 s" in error.text
    assert took == pytest.approx(30.0, abs=1.0)


@pytest.mark.row(8)
@pytest.mark.security("deadline")
@pytest.mark.looptime
async def test_silence_ends_with_the_deadline(raw_server: RawServe, client_of: ClientOf) -> None:
    async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1000)

    async with raw_server(silence) as server, client_of(server.url) as client:
        assert (await client.fail(PUT, within=30.0)).meaning is Meaning.LOST
    assert len(server.requests) == 1


@pytest.mark.row(10)
@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
)
@pytest.mark.parametrize("request_", [GET, PUT])
async def test_half_an_answer_is_in_doubt(
    raw_server: RawServe, half: bytes, request_: Request, client_of: ClientOf
) -> None:
    async def stop_short(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(half)
        await writer.drain()
        writer.close()

    async with raw_server(stop_short) as server, client_of(server.url) as client:
        error = await client.fail(request_)
    assert error.in_doubt
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "noise",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/9 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
)
async def test_what_is_no_http_is_odd(raw_server: RawServe, noise: bytes, client_of: ClientOf) -> None:
    async def babble(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(noise)
        await writer.drain()
        writer.close()

    async with raw_server(babble) as server, client_of(server.url) as client:
        assert (await client.fail(PUT)).meaning is Meaning.ODD
    assert len(server.requests) == 1


@pytest.mark.security("cap")
async def test_endless_headers_are_odd(raw_server: RawServe, client_of: ClientOf) -> None:
    async def swell(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1_000_000)
        await writer.drain()

    async with raw_server(swell) as server, client_of(server.url) as client:
        assert (await client.fail(PUT)).meaning is Meaning.ODD


async def test_no_listener_is_unreachable_and_says_what_to_check(client_of: ClientOf) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with client_of(url) as client:
            error = await client.fail(PUT)
    assert error.meaning is Meaning.UNREACHABLE
    assert "cannot connect to 127.0.0.1" in error.text
    assert error.text.endswith(CHECK)
    assert client.left == 0


@pytest.mark.row(23)
async def test_an_unknown_host_is_unreachable_and_says_what_to_check(client_of: ClientOf) -> None:
    async with client_of("http://modelarts.nowhere.invalid") as client:
        error = await client.fail(PUT)
    assert error.meaning is Meaning.UNREACHABLE
    assert error.text == f"cannot resolve modelarts.nowhere.invalid: {CHECK}"
    assert client.left == 0


async def test_what_the_departure_raises_stops_the_request(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    class Refusal(Patient):
        def go(self) -> bool:
            raise CallError(Meaning.UNAUTHENTICATED, "no")

    async with raw_server(reply()) as server, client_of(server.url) as client:
        assert (await client.fail(PUT, departure=Refusal())).meaning is Meaning.UNAUTHENTICATED
    assert server.requests == []


async def test_the_departure_is_asked_with_a_connection_in_hand_and_again_after_a_wait(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    seen = []

    class Note(Patient):
        async def wait(self) -> None:
            await settle()
            seen.append((server.connections, len(server.requests)))

    async with raw_server(reply()) as server, client_of(server.url) as client:
        for _ in range(2):
            await client.send(PUT, departure=Note(2))
    assert seen == [(1, 0), (1, 0), (1, 1), (1, 1)]


@pytest.mark.parametrize("spelling", ["http://LOCALHOST:{port}", "http://localhost:{port}/"])
async def test_an_origin_in_another_spelling_leads_to_the_same_place(
    raw_server: RawServe, reply: Reply, spelling: str, client_of: ClientOf
) -> None:
    async with (
        raw_server(reply()) as server,
        client_of(spelling.format(port=server.url.rpartition(":")[2])) as client,
    ):
        assert (await client.send(PUT)).status == 200


async def test_cookies_are_not_kept(raw_server: RawServe, reply: Reply, client_of: ClientOf) -> None:
    async with (
        raw_server(reply(200, b"{}", Set_Cookie="a=b")) as server,
        client_of(server.url.replace("127.0.0.1", "localhost")) as client,  # addresses have no cookies anyway
    ):
        await client.send(GET)
        await client.send(GET)
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.security("endpoint")
async def test_proxies_of_the_environment_are_left_alone_unless_asked_for(
    raw_server: RawServe, reply: Reply, monkeypatch: pytest.MonkeyPatch, client_of: ClientOf
) -> None:
    async with raw_server(reply(200, b"proxy")) as proxy, raw_server(reply(200, b"direct")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        for trust_env, body in ((False, b"direct"), (True, b"proxy")):
            async with client_of(server.url, trust_env=trust_env) as client:
                assert (await client.send(PUT)).body == body


@pytest.mark.security("ids")
@pytest.mark.parametrize(
    "path",
    ["/v1/q/notebooks", "/v1/p/../q", "/v1/p", "@evil.example.com/v1/p/", "/v1/p/notebooks/../../../x"],
)
async def test_a_path_outside_of_the_scope_is_never_sent(
    raw_server: RawServe, reply: Reply, path: str, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        with pytest.raises(ValueError, match="left its scope"):
            await client.send(replace(GET, path=path))
    assert server.connections == 0


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://modelarts.example.com", "modelarts.example.com"),
        ("https://modelarts.example.com:443/", "modelarts.example.com"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("https://[::1]:8443", "[::1]:8443"),
    ],
)
def test_the_host_names_its_port_only_when_it_is_not_the_default(origin: str, host: str) -> None:
    assert Site(origin, CHECK).host == host
