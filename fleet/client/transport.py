"""The network: one request out, one answer in, over an aiohttp session.

A call is sent once. aiohttp by itself sends an idempotent request again when its connection dies, even after
the server acted on it; here the second attempt is refused if the first one may have left. One flag, set just
before the first byte, decides: `UNREACHABLE` and `TLS` mean that nothing left, `LOST` that the cloud may have
acted.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from aiohttp import ClientRequest, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from fleet.client.wire import Request, Response
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.text import clean

Leaving = Callable[[], Awaitable[None]]


class Transport(Protocol):
    """One way to one host."""

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, leaving: Leaving
    ) -> Response:
        """Sends once. `leaving` is awaited with a connection in hand, just before the first byte.

        `within` (s) bounds everything from the connection to the last byte of the answer. Raises CallError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Where a transport goes: an origin such as https://host:port, what to check when it cannot be reached,
    and what the path of every request must start with.
    """

    origin: str
    check: str
    prefix: str = "/"

    @property
    def host(self) -> str:
        """Host and, where it is not the default, port: the Host header."""
        return URL(self.origin).host_port_subcomponent or ""


class _Ticket:
    """One call's way through the session: hands `leaving` to the request and lets nothing be sent twice."""

    def __init__(self, leaving: Leaving) -> None:
        self.sent = False
        self.leaving = leaving

    async def __call__(
        self, request: ClientRequest, handler: Callable[[ClientRequest], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        if self.sent:
            raise CallError(Meaning.LOST, "the connection closed before an answer came")
        if not isinstance(request, _OnceRequest):
            raise TypeError("the session was not made by open_session")
        request.ticket = self
        return await handler(request)


class _OnceRequest(ClientRequest):
    ticket: _Ticket

    async def send(self, conn: Connection) -> ClientResponse:
        _require_open(conn)
        await self.ticket.leaving()
        _require_open(conn)
        self.ticket.sent = True
        return await super().send(conn)


def _require_open(conn: Connection) -> None:
    """Raises what makes the session take another connection: nothing has left on this one."""
    if conn.transport is None or conn.transport.is_closing():
        raise aiohttp.ServerDisconnectedError("the kept connection was closed before it was used")


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Trusts the authority in `ca_file` alone. Raises UsageError when it cannot be read."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "no certificate in PEM form in it"
        raise UsageError(f"ca_file: {ca_file}: {reason}") from None


def open_session(*, ca_file: str | None, trust_env: bool) -> ClientSession:
    """A session that follows the rules of this module; the gates bound its connections, not the connector."""
    verify = tls_context(ca_file) if ca_file else True
    return ClientSession(
        connector=TCPConnector(ssl=verify, limit=0),
        request_class=_OnceRequest,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=trust_env,
    )


class SessionTransport:
    """The transport on a `ClientSession` from `open_session`."""

    def __init__(self, session: ClientSession, site: Site) -> None:
        self._session = session
        self._site = site
        self._origin = str(URL(site.origin).origin())
        self._prefix = f"{self._origin}{site.prefix}"

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, leaving: Leaving
    ) -> Response:
        url = self._url(request)
        ticket = _Ticket(leaving)
        try:
            async with self._session.request(
                request.method,
                url,
                headers=CIMultiDict(headers),
                data=request.body or None,
                allow_redirects=False,
                timeout=ClientTimeout(total=within),
                middlewares=(ticket,),
            ) as answer:
                body = await self._read(answer, request.cap)
                return Response(
                    answer.status,
                    {name.lower(): value for name, value in answer.headers.items()},
                    body,
                    self._site.host,
                )
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(error, within) if ticket.sent else self._unsent(error, within) from None

    def _url(self, request: Request) -> URL:
        text = f"{self._origin}{request.target}"
        url = URL(text, encoded=True)
        if not text.startswith(self._prefix) or str(url) != text or "/.." in request.path:
            raise ValueError(f"a request left its scope: {clean(request.path)}")
        return url

    async def _read(self, answer: ClientResponse, cap: int) -> bytes:
        """The body, never more than `cap` bytes of it."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > cap:
                answer.close()
                raise CallError(
                    Meaning.ODD,
                    f"the answer of {self._site.host} is larger than {cap} bytes",
                    status=answer.status,
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _lost(self, error: Exception, within: float) -> CallError:
        host = self._site.host
        if isinstance(error, TimeoutError):
            return CallError(Meaning.LOST, f"{host} did not answer in full within {within:.0f} s")
        if isinstance(error, aiohttp.ClientResponseError):
            return CallError(Meaning.ODD, f"{host} answered what is no HTTP")
        return CallError(Meaning.LOST, f"the connection to {host} broke before the answer was complete")

    def _unsent(self, error: Exception, within: float) -> CallError:
        meaning, what = _reason(error, self._site.host, within)
        return CallError(meaning, f"{what}: {self._site.check}")


def _reason(error: Exception, host: str, within: float) -> tuple[Meaning, str]:
    """Why nothing was sent."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return Meaning.TLS, f"the certificate of {host} is refused ({clean(why, 120)})"
        case aiohttp.ClientSSLError():
            return Meaning.TLS, f"no TLS connection to {host}"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Meaning.UNREACHABLE, f"the proxy gives no connection to {host}"
        case aiohttp.ClientConnectorDNSError():
            return Meaning.UNREACHABLE, f"cannot resolve {host}"
        case TimeoutError():
            return Meaning.UNREACHABLE, f"no connection to {host} within {within:.0f} s"
        case aiohttp.ClientConnectorError():
            why = clean(error.os_error.strerror or "no reason given", 80)
            return Meaning.UNREACHABLE, f"cannot connect to {host} ({why})"
        case _:
            return Meaning.UNREACHABLE, f"the connection to {host} broke before the request left"
