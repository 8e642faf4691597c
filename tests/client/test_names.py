"""The name of the cloud: it cannot be resolved for a while, or leads to somebody else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from fleet.client.wire import Kind, Request
from fleet.core.errors import NOT_APPLIED, TRANSIENT, Meaning

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

GET = Request("get", Kind.READ, "GET", "/v1/p/notebooks/n")
PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b"{}")
NAME = "modelarts.cn-north-4.example.com"


class Names:
    """What the running loop resolves every name to: an address of this machine, or nothing."""

    def __init__(self) -> None:
        self.address: str | None = None
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if self.address is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (self.address, port))]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    return names


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.mark.row(23)
@pytest.mark.parametrize("request_", [GET, PUT])
async def test_a_name_that_cannot_be_resolved_sends_nothing_and_may_be_tried_again(
    raw_server: RawServe, reply: Reply, client_of: ClientOf, names: Names, request_: Request
) -> None:
    async with (
        raw_server(reply()) as server,
        client_of(f"http://{NAME}:{port_of(server.url)}") as client,
    ):
        error = await client.fail(request_)
        assert (error.meaning, client.left, server.requests) == (Meaning.UNREACHABLE, 0, [])
        assert error.meaning in TRANSIENT & NOT_APPLIED
        names.address = "127.0.0.1"
        assert (await client.send(request_)).status == 200
    assert (len(server.requests), names.asked) == (1, [NAME] * 2)


@pytest.mark.row(24)
@pytest.mark.security("tls")
@pytest.mark.parametrize(("certified", "served"), [(NAME, 1), ("elsewhere.example.com", 0), ("127.0.0.1", 0)])
async def test_wherever_a_name_leads_the_certificate_must_be_for_the_name(
    raw_server: RawServe,
    reply: Reply,
    client_of: ClientOf,
    names: Names,
    tmp_path: Path,
    certified: str,
    served: int,
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    names.address = "127.0.0.1"
    async with (
        raw_server(reply(), tls) as server,
        client_of(f"https://{NAME}:{port_of(server.url)}", str(tmp_path / "ca.pem")) as client,
    ):
        if served:
            assert (await client.send(PUT)).status == 200
        else:
            assert (await client.fail(PUT)).meaning is Meaning.TLS
    assert (len(server.requests), client.left) == (served, served)


@pytest.mark.row(23)
async def test_a_connection_outlives_its_name(
    raw_server: RawServe, reply: Reply, client_of: ClientOf, names: Names
) -> None:
    names.address = "127.0.0.1"
    async with (
        raw_server(reply()) as server,
        client_of(f"http://{NAME}:{port_of(server.url)}") as client,
    ):
        await client.send(GET)
        names.address = None
        assert (await client.send(PUT)).status == 200
    assert (len(server.requests), server.connections) == (2, 1)
