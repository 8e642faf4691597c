"""One connection and the exchange on it: an asyncio protocol between the socket and the reader.

One request at a time, written by one call. Whatever is out of order closes the connection; nothing is ever
sent twice here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from fleet.client.transport.failures import broken, late, no_http, too_large
from fleet.client.transport.http11 import AnswerReader, NoHttp, TooLarge
from fleet.client.wire import Response
from fleet.core.errors import CallError

_TICK = 0.001  # s; a loop may wake up a little early


class Connection(asyncio.Protocol):
    """A connection to `host`. It goes back to `idle` by itself when its answer is complete."""

    def __init__(
        self,
        transport: asyncio.Transport,
        host: str,
        idle: deque[Connection],
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._host = host
        self._idle = idle
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self.idle_since = self._loop.time()
        self._reader = AnswerReader()
        self._waiter: asyncio.Future[Response] | None = None
        self._cap = 0
        self._within = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether both sides still keep the connection open, as far as is known."""
        return not self._transport.is_closing()

    def rest(self) -> None:
        """Nobody needs the connection at present."""
        self._idle.append(self)

    def begin(self, payload: bytes, cap: int, deadline: float, within: float) -> asyncio.Future[Response]:
        """Writes a request; the future is its answer, or a CallError. `deadline` is in the loop's time.

        If the future is cancelled the connection must be closed.
        """
        self._reader.expect(cap)
        self._cap, self._deadline, self._within = cap, deadline, within
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer()
        self._waiter = waiter = self._loop.create_future()
        self._transport.write(payload)
        return waiter

    def close(self) -> None:
        """Ends the connection at once. If an answer is awaited, it is lost."""
        self._fail(broken(self._host))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nobody asked
            self.close()
            return
        try:
            complete = self._reader.feed(data)
        except NoHttp:
            self._fail(no_http(self._host))
        except TooLarge:
            self._fail(too_large(self._host, self._cap, self._reader.status))
        else:
            if complete:
                self._finish(self._waiter)

    def eof_received(self) -> None:
        if self._waiter is not None and self._reader.end():
            self._finish(self._waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fail(broken(self._host))
        self._lost(exc)

    def _finish(self, waiter: asyncio.Future[Response]) -> None:
        self._waiter = None
        reader = self._reader
        if waiter.cancelled() or not reader.reusable:
            self._transport.abort()
        else:
            self.idle_since = self._loop.time()
            self.rest()
        if not waiter.cancelled():
            waiter.set_result(Response(reader.status, reader.headers, reader.take_body(), self._host))

    def _fail(self, error: CallError) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.cancelled():
            waiter.set_exception(error)
        self._transport.abort()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        """Some exchange of this connection set the timer; the present one may have a later deadline."""
        self._timer = None
        if self._waiter is None:
            return
        if self._deadline - self._loop.time() > _TICK:
            self._set_timer()
        else:
            self._fail(late(self._host, self._within))
