"""What leaves on every transport, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fleet.client.wire import Kind, Request

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

GET = Request("get", Kind.READ, "GET", "/v1/p/notebooks/n")
PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b'{"name":"x"}')
POST = Request("stop", Kind.WRITE, "POST", "/v1/p/notebooks/n/stop")
EVERY = [GET, PUT, POST]


def fields(request: bytes) -> dict[bytes, bytes]:
    """The headers of a request that arrived, names in lower case; each only once."""
    lines = [line.split(b": ", 1) for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    found = {name.lower(): value for name, value in lines}
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize("request_", EVERY)
async def test_nothing_is_sent_that_nobody_asked_for(
    raw_server: RawServe, reply: Reply, request_: Request, client_of: ClientOf
) -> None:
    async with raw_server(reply()) as server, client_of(server.url) as client:
        await client.send(request_)
    length = {} if request_ is GET else {b"content-length": b"%d" % len(request_.body)}
    assert fields(server.requests[0]) == {
        b"host": server.url.partition("//")[2].encode(),
        b"accept-encoding": b"identity",
        b"x-auth-token": b"canary",
        **length,
    }


@pytest.mark.security("ids")
@pytest.mark.parametrize("path", ["/v1/p/a%2Fb%20%7C", "/v1/p//x;y=1", "/v1/p/%e4%BD%a0", "/v1/p/a:b@c"])
@pytest.mark.parametrize("query", ["", "b=%7C&c=%2F"])
async def test_a_target_leaves_as_it_was_built(
    raw_server: RawServe, reply: Reply, path: str, query: str, client_of: ClientOf
) -> None:
    request = replace(PUT, path=path, query=query)
    async with raw_server(reply()) as server, client_of(server.url) as client:
        await client.send(request)
    assert server.requests[0].startswith(f"PUT {request.target} HTTP/1.1\r\n".encode())


async def test_every_request_has_its_own_headers_and_length(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    token = {"x-auth-token": "one"}
    async with raw_server(reply()) as server, client_of(server.url) as client:
        for value, body in (("one", b"{}"), ("one", b"{  }"), ("two", b""), ("one", b"{}")):
            token["x-auth-token"] = value
            await client.send(replace(PUT, body=body), headers=token)
    sent = [
        (fields(request)[b"x-auth-token"], fields(request)[b"content-length"]) for request in server.requests
    ]
    assert sent == [(b"one", b"2"), (b"one", b"4"), (b"two", b"0"), (b"one", b"2")]


async def test_a_body_larger_than_any_buffer_arrives_whole(
    raw_server: RawServe, reply: Reply, client_of: ClientOf
) -> None:
    body = b"x" * 1_000_000  # above a mebibyte aiohttp's session warns
    async with raw_server(reply()) as server, client_of(server.url) as client:
        assert (await client.send(replace(PUT, body=body), within=60.0)).status == 200
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("request_", EVERY)
async def test_a_proxy_is_told_the_whole_address_and_its_password(
    raw_server: RawServe,
    reply: Reply,
    request_: Request,
    client_of: ClientOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = replace(request_, query="b=%7C")
    async with raw_server(reply()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pw@"))
        monkeypatch.delenv("no_proxy", raising=False)
        async with client_of("http://modelarts.example.com", trust_env=True) as client:
            await client.send(request)
    asked = f"{request.method} http://modelarts.example.com{request.target} HTTP/1.1\r\n"
    assert proxy.requests[0].startswith(asked.encode())
    assert fields(proxy.requests[0])[b"host"] == b"modelarts.example.com"
    assert fields(proxy.requests[0])[b"proxy-authorization"] == b"Basic bWU6cHc="
