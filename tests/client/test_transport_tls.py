"""Certificates: trusted, or the end; there is no way to ask for less."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from fleet.client.transport.tls import verification
from fleet.client.wire import Kind, Request
from fleet.core.errors import Meaning, UsageError

if TYPE_CHECKING:
    from tests.client.conftest import Behavior, ClientOf, RawServe

    Reply = Callable[..., Behavior]

PUT = Request("put", Kind.WRITE, "PUT", "/v1/p/notebooks/n", body=b"{}")
CHECK = "check region and endpoint of scope lab-a"


def tls_server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.security("tls")
async def test_a_private_authority_is_trusted_when_named(
    raw_server: RawServe, reply: Reply, authority: trustme.CA, ca_file: str, client_of: ClientOf
) -> None:
    tls = tls_server(authority.issue_cert("localhost"))
    async with raw_server(reply(), tls) as server, client_of(server.url, ca_file) as client:
        assert (await client.send(PUT)).status == 200


@pytest.mark.row(25)
@pytest.mark.security("tls")
async def test_a_certificate_nobody_vouches_for_is_refused(
    raw_server: RawServe, reply: Reply, authority: trustme.CA, client_of: ClientOf
) -> None:
    tls = tls_server(authority.issue_cert("localhost"))
    async with raw_server(reply(), tls) as server, client_of(server.url) as client:
        error = await client.fail(PUT)
    assert error.meaning is Meaning.TLS
    assert "certificate" in error.text
    assert error.text.endswith(CHECK)
    assert (server.requests, client.left) == ([], 0)


@pytest.mark.row(25)
@pytest.mark.security("tls")
async def test_an_expired_certificate_is_refused(
    raw_server: RawServe, reply: Reply, authority: trustme.CA, ca_file: str, client_of: ClientOf
) -> None:

    certificate = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    async with (
        raw_server(reply(), tls_server(certificate)) as server,
        client_of(server.url, ca_file) as client,
    ):
        error = await client.fail(PUT)
    assert error.meaning is Meaning.TLS
    assert "expired" in error.text
    assert server.requests == []


@pytest.mark.row(25)
@pytest.mark.security("tls")
async def test_a_certificate_for_another_host_is_refused(
    raw_server: RawServe, reply: Reply, authority: trustme.CA, ca_file: str, client_of: ClientOf
) -> None:
    tls = tls_server(authority.issue_cert("elsewhere.example.com"))
    async with raw_server(reply(), tls) as server, client_of(server.url, ca_file) as client:
        error = await client.fail(PUT)
    assert error.meaning is Meaning.TLS
    assert "localhost" in error.text
    assert server.requests == []


async def test_a_plain_server_on_the_tls_port_is_a_tls_failure(ca_file: str, client_of: ClientOf) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"https://localhost:{port}", ca_file) as client:
            assert (await client.fail(PUT)).meaning is Meaning.TLS


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_an_authority_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"ca_file: .*ca\.pem: "):
        verification(str(path))
