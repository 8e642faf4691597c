"""The transport of the hot path: one request, one write, one future; no session, task or timer a request.

`http11` knows the bytes, `connection` the exchange, `connector` where connections come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from fleet.client.transport.connection import Connection
from fleet.client.transport.connector import Connector
from fleet.client.transport.failures import unsent
from fleet.client.transport.http11 import RequestHead
from fleet.client.transport.site import Departure, Site
from fleet.client.wire import Request, Response


class WireTransport:
    """The transport on connections of `connector`."""

    def __init__(self, connector: Connector, site: Site) -> None:
        self._site = site
        self._head = RequestHead(site)
        self._pool = connector.pool(site.origin)
        self._loop = asyncio.get_running_loop()

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        payload = self._head.encode(request, headers)
        now = self._loop.time()
        deadline = now + within
        connection = self._pool.take(now)
        if connection is None or not _goes(departure, connection):
            connection = await self._depart(departure, deadline, within, wait=connection is not None)
        answer = connection.begin(payload, request.cap, deadline, within)
        try:
            return await answer
        except BaseException:
            if answer.cancelled() or not answer.done():
                connection.close()
            raise

    async def _depart(
        self, departure: Departure, deadline: float, within: float, *, wait: bool
    ) -> Connection:
        """A connection on which the departure has said that the request goes, after a `wait` if need be."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    if wait:
                        await departure.wait()
                    connection = self._pool.take(self._loop.time()) or await self._pool.open()
                    if _goes(departure, connection):
                        return connection
                    wait = True
        except (aiohttp.ClientError, OSError) as error:
            raise unsent(error, self._site, within) from None


def _goes(departure: Departure, connection: Connection) -> bool:
    """Asks the departure; when the request does not go now, the connection is free again."""
    goes = False
    try:
        goes = departure.go()
    finally:
        if not goes:
            connection.rest()
    return goes
