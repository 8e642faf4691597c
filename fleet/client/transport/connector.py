"""Connections by aiohttp's connector, which resolves, connects and verifies. Only here its inside is known.

A connection is taken from it once, gets our protocol instead of aiohttp's, and is given back when it ends:
aiohttp's own protocol must hear of the end, or closing the connector would wait for it for ever.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from ssl import SSLContext

import aiohttp
from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection as Lease
from yarl import URL

from fleet.client.transport.connection import Connection

KEEP = 15.0  # s; what was idle for longer is not trusted to be alive
_KNOWN = ((3, 14, 5), (3, 15))

_SHAPE = (
    (TCPConnector, "connect", ("self", "req", "traces", "timeout")),
    (ResponseHandler, "connection_lost", ("self", "exc")),
    (Lease, "close", ("self",)),
)


def unfit() -> str | None:
    """Why connections of the installed aiohttp cannot be used, None when they can."""
    numbers = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if not _KNOWN[0] <= numbers < _KNOWN[1]:
        return f"aiohttp {aiohttp.__version__} is not known"
    for owner, name, parameters in _SHAPE:
        if tuple(inspect.signature(getattr(owner, name)).parameters) != parameters:
            return f"aiohttp {aiohttp.__version__} has another {owner.__name__}.{name}"
    return None


class Pool:
    """The connections to one origin. How many there are is the gates' business."""

    def __init__(self, connector: TCPConnector, origin: URL) -> None:
        self._connector = connector
        self._host = origin.host_port_subcomponent or ""
        self._target = ClientRequest("GET", origin, loop=asyncio.get_running_loop())
        self._idle: deque[Connection] = deque()

    def take(self, now: float) -> Connection | None:
        """The idle connection that was used last, if there is one that can be used."""
        idle = self._idle
        if idle and now - idle[0].idle_since > KEEP:
            idle.popleft().close()
        while idle:
            connection = idle.pop()
            if now - connection.idle_since <= KEEP and connection.usable:
                return connection
            connection.close()
        return None

    async def open(self) -> Connection:
        """A new connection. Raises what the connector raises."""
        lease = await self._connector.connect(self._target, [], ClientTimeout())
        handler, transport = lease.protocol, lease.transport
        if handler is None or transport is None or transport.is_closing() or handler.should_close:
            lease.close()
            raise aiohttp.ServerDisconnectedError("the connection ended, or the server spoke first")

        def lost(error: Exception | None) -> None:
            handler.connection_lost(error)
            lease.close()

        connection = Connection(transport, self._host, self._idle, lost)
        transport.set_protocol(connection)
        if transport.get_protocol() is not connection:
            connection.close()
            raise RuntimeError("the connection kept aiohttp's protocol")
        return connection


class Connector:
    """All connections that trust the same authorities; scopes with the same origin share a pool."""

    def __init__(self, verify: SSLContext | bool) -> None:
        self._connector = TCPConnector(ssl=verify, limit=0)
        self._pools: dict[URL, Pool] = {}

    def pool(self, origin: str) -> Pool:
        """The connections to `origin`."""
        url = URL(origin).origin()
        if url not in self._pools:
            self._pools[url] = Pool(self._connector, url)
        return self._pools[url]

    async def close(self) -> None:
        """Ends all connections and waits until they have ended."""
        await self._connector.close()
