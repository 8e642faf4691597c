"""Servers on bad days: whatever they do, a call ends in time, is judged right, and was sent once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.client.wire import Kind, Request, decipher
from fleet.core.errors import CallError, Meaning

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

GET = Request("get", Kind.READ, "GET", "/v1/p/notebooks/n")
PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b'{"name":"x"}')
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Type: application/json\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
TO_THE_END = OK + b'\r\n{"a":1}'

both = pytest.mark.parametrize("request_", [GET, PUT], ids=["read", "write"])


def reset(writer: asyncio.StreamWriter) -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def says(answer: bytes, *, then: Callable[[asyncio.StreamWriter], object] | None = None) -> Behavior:
    """Answers every request with these bytes, and `then` does something with the connection."""

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then is not None:
            then(writer)

    return behave


@both
@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, TO_THE_END], ids=["length", "chunked", "to the end"])
async def test_an_answer_may_come_byte_by_byte(
    raw_server: RawServe, answer: bytes, request_: Request, client_of: ClientOf
) -> None:
    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(answer)):
            writer.write(answer[at : at + 1])
            await asyncio.sleep(0)
        if answer is TO_THE_END:
            writer.close()

    async with raw_server(drip) as server, client_of(server.url) as client:
        for _ in range(2):
            assert (await client.send(request_)).body == b'{"a":1}'
    assert (len(server.requests), client.left) == (2, 2)
    assert server.connections == (2 if answer is TO_THE_END else 1)


@both
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH, 200),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + LENGTH, 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}', 200),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}", 429),
        (b"HTTP/1.1 302 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302),
    ],
)
async def test_every_kind_of_answer_is_read_and_its_connection_kept(
    raw_server: RawServe, answer: bytes, status: int, request_: Request, client_of: ClientOf
) -> None:
    async with raw_server(says(answer)) as server, client_of(server.url) as client:
        for _ in range(3):
            got = await client.send(request_)
            assert got.status == status
            assert "link" not in got.headers
    assert (len(server.requests), server.connections, client.left) == (3, 1, 3)


@both
@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
        b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
    ],
)
async def test_a_connection_is_not_used_again_when_the_server_says_so(
    raw_server: RawServe, answer: bytes, request_: Request, client_of: ClientOf
) -> None:
    async with raw_server(says(answer)) as server, client_of(server.url) as client:
        for _ in range(2):
            assert (await client.send(request_)).body == b'{"a":1}'
    assert (len(server.requests), server.connections) == (2, 2)


@both
@pytest.mark.security("replay")
@pytest.mark.parametrize(
    ("answer", "then", "meaning"),
    [
        (b"", asyncio.StreamWriter.close, Meaning.LOST),
        (b"", reset, Meaning.LOST),
        (b"HTTP/1.1 2", asyncio.StreamWriter.close, None),
        (b"HTTP/1.1 2", reset, None),
        (LENGTH[:-1], asyncio.StreamWriter.close, Meaning.LOST),
        (LENGTH[:-1], reset, Meaning.LOST),
        (CHUNKED[:-1], asyncio.StreamWriter.close, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", asyncio.StreamWriter.close, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", reset, None),
        (OK + b"Content-Length: 7\r\nContent-Length: 8\r\n\r\n" + b'{"a":1}', None, Meaning.ODD),
        (OK + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, Meaning.ODD),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nnot hex\r\n", None, None),
        (b"\x16\x03\x01\x02\x00\x01", None, Meaning.ODD),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", None, Meaning.ODD),
        (OK + b"X: " + b"x" * 300_000, None, Meaning.ODD),
        (OK + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, None, Meaning.ODD),
    ],
)
async def test_what_goes_wrong_after_the_request_left_is_in_doubt_and_never_sent_again(
    raw_server: RawServe,
    answer: bytes,
    then: Callable[[asyncio.StreamWriter], object] | None,
    meaning: Meaning | None,
    request_: Request,
    client_of: ClientOf,
) -> None:
    bad, good = says(answer, then=then), says(LENGTH)

    async def third_is_bad(request: bytes, writer: asyncio.StreamWriter) -> None:
        await (bad if len(server.requests) == 3 else good)(request, writer)

    async with raw_server(third_is_bad) as server, client_of(server.url) as client:
        for _ in range(2):
            await client.send(request_)
        error = await client.fail(request_)
        assert error.in_doubt
        assert meaning in (None, error.meaning)
        assert (len(server.requests), server.connections, client.left) == (3, 1, 3)
        assert (await client.send(request_)).body == b'{"a":1}'
    assert (len(server.requests), server.connections, client.left) == (4, 2, 4)


@both
@pytest.mark.parametrize("then", [asyncio.StreamWriter.close, reset], ids=["close", "reset"])
async def test_a_connection_that_ends_as_soon_as_it_is_made_is_judged_by_whether_bytes_left(
    then: Callable[[asyncio.StreamWriter], object], request_: Request, client_of: ClientOf
) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        then(writer)

    async with await asyncio.start_server(slam, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}") as client:
            error = await client.fail(request_)
            assert error.meaning in (Meaning.LOST, Meaning.UNREACHABLE)
            assert client.left == (error.meaning is Meaning.LOST)


@both
@pytest.mark.parametrize("then", [asyncio.StreamWriter.close, reset], ids=["close", "reset"])
async def test_the_keep_alive_race_sends_each_request_at_most_once(
    raw_server: RawServe,
    then: Callable[[asyncio.StreamWriter], object],
    request_: Request,
    client_of: ClientOf,
) -> None:
    async with raw_server(says(LENGTH, then=then)) as server, client_of(server.url) as client:
        ends = [await outcome(client.send(request_)) for _ in range(20)]
    assert set(ends) <= {None, Meaning.LOST}
    assert client.left == 20
    assert ends.count(None) <= len(server.requests) <= 20


@both
@pytest.mark.security("deadline")
@pytest.mark.looptime
@pytest.mark.parametrize(("first", "rest", "second"), [(5.0, 4.0, 5.0), (30.0, 0.0, 2.0), (2.0, 10.0, 30.0)])
async def test_every_call_has_its_own_deadline_also_on_a_kept_connection(
    raw_server: RawServe, request_: Request, first: float, rest: float, second: float, client_of: ClientOf
) -> None:
    async def once(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.write(LENGTH)
        else:
            await asyncio.sleep(1000)

    loop = asyncio.get_running_loop()
    async with raw_server(once) as server, client_of(server.url) as client:
        await client.send(request_, within=first)
        await asyncio.sleep(rest)
        begun = loop.time()
        assert (await client.fail(request_, within=second)).meaning is Meaning.LOST
        assert loop.time() - begun == pytest.approx(second, abs=0.1)
    assert (len(server.requests), server.connections) == (2, 1)


@both
@pytest.mark.security("deadline")
@pytest.mark.looptime
async def test_the_deadline_holds_before_the_first_byte_too(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    class Never:
        def go(self) -> bool:
            return False

        async def wait(self) -> None:
            await asyncio.sleep(1000)

    loop = asyncio.get_running_loop()
    async with raw_server(says(LENGTH)) as server, client_of(server.url) as client:
        for _ in range(2):
            begun = loop.time()
            error = await client.fail(request_, within=30.0, departure=Never())
            assert (error.meaning, "30 s" in error.text) == (Meaning.UNREACHABLE, True)
            assert loop.time() - begun == pytest.approx(30.0, abs=1.0)
            await client.send(request_)
    assert len(server.requests) == 2


@both
async def test_a_connection_that_ends_while_the_departure_waits_is_replaced(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    writers = []

    async def note(request: bytes, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(LENGTH)

    class Late:
        asked = 0

        def go(self) -> bool:
            self.asked += 1
            return self.asked > 1

        async def wait(self) -> None:
            writers[0].close()
            for _ in range(20):
                await asyncio.sleep(0)

    async with raw_server(note) as server, client_of(server.url) as client:
        await client.send(request_)
        assert (await client.send(request_, departure=Late())).status == 200
    assert (len(server.requests), server.connections) == (2, 2)


@both
async def test_bytes_that_nobody_asked_for_answer_nothing(
    raw_server: RawServe, request_: Request, client_of: ClientOf
) -> None:
    planted = OK + b"Content-Length: 7\r\n\r\n" + b'{"a":2}'
    async with raw_server(says(LENGTH + planted)) as server, client_of(server.url) as client:
        for _ in range(3):
            assert (await client.send(request_)).body == b'{"a":1}'
    assert (len(server.requests), server.connections) == (3, 3)


@both
@pytest.mark.security("cap")
async def test_a_packed_answer_is_refused_unless_its_status_says_all(
    raw_server: RawServe, reply: Reply, request_: Request, client_of: ClientOf
) -> None:
    for status, meaning in ((200, Meaning.ODD), (429, Meaning.THROTTLED)):
        packed = reply(status, b"\x1f\x8b\x08", Content_Encoding="gzip")
        async with raw_server(packed) as server, client_of(server.url) as client:
            response = await client.send(request_)
            with pytest.raises(CallError) as caught:
                decipher(request_, response, 0.0)
        assert caught.value.meaning is meaning


@both
async def test_a_call_that_is_given_up_takes_its_connection_along(
    request_: Request, client_of: ClientOf
) -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}") as client:
            call = asyncio.ensure_future(client.send(replace(request_, body=b"")))
            await arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(ended.wait(), 5.0)


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "é", "\x7f", "\u2028"])
async def test_a_header_that_could_become_two_is_never_sent(
    raw_server: RawServe, reply: Reply, value: str, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        with pytest.raises(ValueError, match="header x-secret") as caught:
            await client.send(PUT, headers={"x-secret": f"canary{value}"})
        assert "canary" not in str(caught.value)
    assert (server.connections, client.left) == (0, 0)


@pytest.mark.parametrize("tail", [" HTTP/1.1\r\nx: 1", "\r\n", "\n", "\0", "x y", "x#y", "é"])
@pytest.mark.parametrize("field", ["path", "query"])
async def test_a_target_that_could_become_more_is_never_sent(
    raw_server: RawServe, reply: Reply, field: str, tail: str, client_of: ClientOf
) -> None:
    odd = replace(PUT, path=PUT.path + tail) if field == "path" else replace(PUT, query=f"a={tail}")
    async with raw_server(reply()) as server, client_of(server.url) as client:
        with pytest.raises(ValueError, match="left its scope"):
            await client.send(odd)
    assert (server.connections, client.left) == (0, 0)


@both
async def test_an_address_of_version_6(request_: Request, client_of: ClientOf) -> None:
    hosts: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        hosts.extend(line for line in head.lower().split(b"\r\n") if line.startswith(b"host:"))
        writer.write(LENGTH)
        writer.close()

    async with await asyncio.start_server(serve, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"http://[::1]:{port}") as client:
            assert (await client.send(request_)).status == 200
    assert hosts == [f"host: [::1]:{port}".encode()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=st.sampled_from([LENGTH, CHUNKED, TO_THE_END]),
    at=st.integers(0, 80),
    put=st.one_of(st.binary(max_size=8), st.sampled_from([b"\r\n", b"\r\n\r\n", b"HTTP/1.1 ", b": ", b"0"])),
    drop=st.integers(0, 12),
    half_way=st.booleans(),
)
def test_a_server_that_says_anything_at_all_is_asked_once(
    raw_server: RawServe,
    client_of: ClientOf,
    answer: bytes,
    at: int,
    put: bytes,
    drop: int,
    half_way: bool,
) -> None:
    damaged = answer[:at] + put + answer[at + drop :]

    async def scene() -> None:
        async def babble(request: bytes, writer: asyncio.StreamWriter) -> None:
            if half_way:
                writer.write(damaged[:at])
                await asyncio.sleep(0)
                writer.write(damaged[at:])
            else:
                writer.write(damaged)
            writer.close()

        async with raw_server(babble) as server, client_of(server.url) as client:
            assert await outcome(client.send(PUT, within=20.0)) in (None, Meaning.LOST, Meaning.ODD)
            assert (len(server.requests), server.connections, client.left) == (1, 1, 1)

    run(scene())


async def outcome(call: Awaitable[object]) -> Meaning | None:
    """What the failure of the call means, None when it has an answer."""
    try:
        await call
    except CallError as error:
        return error.meaning
    return None


def run(scene: Awaitable[None]) -> None:
    """Runs in a loop of its own, with a deadline for the whole."""

    async def in_time() -> None:
        async with asyncio.timeout(10.0):
            await scene

    asyncio.run(in_time())
