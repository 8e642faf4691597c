"""The transport on aiohttp's public session: the fallback, and what the wire transport is checked against.

aiohttp by itself sends an idempotent request again when its connection dies, even after the server acted on
it; here the second attempt is refused if the first one may have left. One flag, set just before the first
byte, decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLContext

import aiohttp
from aiohttp import ClientRequest, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from fleet.client.transport.failures import broken, late, no_http, too_large, unsent
from fleet.client.transport.site import Departure, Site, check_headers, check_request
from fleet.client.wire import Request, Response
from fleet.core.errors import CallError, Meaning


class _Ticket:
    """One call's way through the session: asks the departure, and lets nothing be sent twice."""

    def __init__(self, departure: Departure) -> None:
        self.sent = False
        self.departure = departure

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
        while not self.ticket.departure.go():
            await self.ticket.departure.wait()
            _require_open(conn)
        self.ticket.sent = True
        return await super().send(conn)


def _require_open(conn: Connection) -> None:
    """Raises what makes the session take another connection: nothing has left on this one."""
    if conn.transport is None or conn.transport.is_closing():
        raise aiohttp.ServerDisconnectedError("the kept connection was closed before it was used")


def open_session(verify: SSLContext | bool) -> ClientSession:
    """A session that follows the rules of this module; the gates bound its connections, not the connector."""
    return ClientSession(
        connector=TCPConnector(ssl=verify, limit=0),
        request_class=_OnceRequest,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
    )


class SessionTransport:
    """The transport on a `ClientSession` from `open_session`."""

    def __init__(self, session: ClientSession, site: Site, proxy: URL | None = None) -> None:
        self._session = session
        self._proxy = proxy
        self._site = site
        self._origin = str(URL(site.origin).origin())

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        url = URL(self._origin + check_request(self._site, request), encoded=True)
        check_headers(headers)
        ticket = _Ticket(departure)
        try:
            async with self._session.request(
                request.method,
                url,
                headers=CIMultiDict({**self._site.headers, **headers}),
                data=request.body or None,
                allow_redirects=False,
                proxy=self._proxy,
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
            if not ticket.sent:
                raise unsent(error, self._site, within) from None
            raise self._unanswered(error, within) from None

    async def _read(self, answer: ClientResponse, cap: int) -> bytes:
        """The body, never more than `cap` bytes of it."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > cap:
                answer.close()
                raise too_large(self._site.host, cap, answer.status)
            chunks.append(chunk)
        return b"".join(chunks)

    def _unanswered(self, error: Exception, within: float) -> CallError:
        host = self._site.host
        if isinstance(error, TimeoutError):
            return late(host, within)
        if isinstance(error, aiohttp.ClientResponseError):
            return no_http(host)
        return broken(host)
