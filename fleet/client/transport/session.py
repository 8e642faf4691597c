"""The transport on aiohttp's public session: the fallback, and what the wire transport is checked against.

aiohttp by itself sends an idempotent request again when its connection dies, even after the server acted on
it; here the second attempt is refused if the first one may have left. One flag, set just before the first
byte, decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp import ClientRequest, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from multidict import CIMultiDict, istr
from yarl import URL

from fleet.client.transport.deadlines import Deadlines
from fleet.client.transport.failures import broken, late, no_http, too_large, unsent
from fleet.client.transport.site import Departure, Site, check_headers, check_request
from fleet.client.wire import Request, Response
from fleet.core.errors import CallError


class _Ticket:
    """One call's way through the session: whom to ask before it leaves, and whether it may have left."""

    __slots__ = ("departure", "sent")

    def __init__(self, departure: Departure) -> None:
        self.departure = departure
        self.sent = False


# The ticket of the call that the current task makes: the session has no cheaper way to its requests.
_TICKET: ContextVar[_Ticket] = ContextVar("ticket")


class _OnceRequest(ClientRequest):
    """One attempt of the session at a call."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._ticket = _TICKET.get()
        if self._ticket.sent:
            raise aiohttp.ClientConnectionError("the connection closed before an answer came")
        super().__init__(*args, **options)

    async def send(self, conn: Connection) -> ClientResponse:
        ticket = self._ticket
        _require_open(conn)
        while not ticket.departure.go():
            await ticket.departure.wait()
            _require_open(conn)
        ticket.sent = True
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
        skip_auto_headers=("accept", "content-type", "user-agent"),
        timeout=ClientTimeout(total=None),  # deadlines are the transport's: the session's have a timer each
    )


class SessionTransport:
    """The transport on a `ClientSession` from `open_session`."""

    def __init__(self, session: ClientSession, site: Site, proxy: URL | None = None) -> None:
        self._session = session
        self._proxy = proxy
        self._site = site
        self._host = site.host
        self._origin = URL(site.origin).origin()
        self._deadlines = Deadlines()
        self._own: Mapping[str, str] | None = None
        self._headers: CIMultiDict[str] = CIMultiDict()

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        # the query goes along: the session takes both apart only to put them together again
        url = self._origin.with_path(check_request(self._site, request), encoded=True)
        if headers != self._own:
            self._set_own(headers)
        ticket = _Ticket(departure)
        token = _TICKET.set(ticket)
        try:
            with self._deadlines.within(within):
                answer = await self._session.request(
                    request.method,
                    url,
                    headers=self._headers,
                    data=request.body or None,
                    allow_redirects=False,
                    proxy=self._proxy,
                )
                try:
                    body = await self._read(answer, request.cap)
                finally:
                    if not answer.closed:  # it closes by itself when it has come in whole
                        answer.close()
        except (aiohttp.ClientError, OSError) as error:
            if not ticket.sent:
                raise unsent(error, self._site, within) from None
            raise self._unanswered(error, within) from None
        finally:
            _TICKET.reset(token)
        return Response(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            body,
            self._host,
        )

    def _set_own(self, headers: Mapping[str, str]) -> None:
        """Takes in the headers of a request; those of a token are the same for many."""
        check_headers(headers)
        every = {**self._site.headers, **headers}
        self._headers = CIMultiDict((istr(name), value) for name, value in every.items())
        self._own = dict(headers)

    async def _read(self, answer: ClientResponse, cap: int) -> bytes:
        """The body, never more than `cap` bytes of it."""
        content = answer.content
        if content.is_eof():
            body = content.read_nowait()
            if len(body) > cap:
                raise too_large(self._host, cap, answer.status)
            return body
        chunks: list[bytes] = []
        size = 0
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > cap:
                raise too_large(self._host, cap, answer.status)
            chunks.append(chunk)
        return b"".join(chunks)

    def _unanswered(self, error: Exception, within: float) -> CallError:
        if isinstance(error, TimeoutError):
            return late(self._host, within)
        if isinstance(error, aiohttp.ClientResponseError):
            return no_http(self._host)
        return broken(self._host)
