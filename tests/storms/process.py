"""A process that may die at any write to its journal, and its way to the cloud without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from fleet.client.transport import Departure, Site
from fleet.client.wire import Request, Response
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Event
from fleet.simulator import messages
from tests.storms.brew import Storm, wall


class Death(BaseException):
    """The process dies."""


class Journal:
    """A journal in memory with the promise of the real one: what was noted is kept by the next commit.

    The process dies at write number `dies_at`, be it a commit or a note. Either everything up to that write
    `survives`, or nothing after the last commit.
    """

    def __init__(self, kept: Sequence[Event], dies_at: int | None = None, survives: bool = False) -> None:
        self.kept = list(kept)
        self.writes = 0
        self._noted: list[Event] = []
        self._dies_at = dies_at
        self._survives = survives
        self._dead = False

    async def commit(self, event: Event) -> None:
        """Keeps the event, or dies just before or just after doing so."""
        self._take(event)
        self._keep()

    def note(self, event: Event) -> None:
        """Keeps the event with the next commit."""
        self._take(event)

    def close(self) -> None:
        """An orderly end keeps everything."""
        if not self._dead:
            self._keep()

    def _take(self, event: Event) -> None:
        if self._dead:
            raise Death
        self.writes += 1
        self._noted.append(event)
        if self.writes == self._dies_at:
            self._dead = True
            if self._survives:
                self._keep()
            raise Death

    def _keep(self) -> None:
        self.kept += self._noted
        self._noted.clear()


class Wire:
    """The way to the cloud without sockets: latency, lost answers, deadlines and caps, but no bytes.

    The storm is told of each look what it showed and when, as soon as the answer has arrived.
    """

    def __init__(self, storm: Storm, site: Site) -> None:
        self._storm = storm
        self._cloud = storm.cloud
        self._site = site
        self._draw = storm.draw

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        """As the transport over aiohttp does it."""
        while not departure.go():
            await departure.wait()
        said = {"host": self._site.host, **self._site.headers, **headers}
        asked = messages.Request(request.method, request.path, request.query, said, request.body)
        try:
            await asyncio.sleep(self._draw.uniform(0.001, 0.04))
        except asyncio.CancelledError:  # what has left arrives, although nobody waits for the answer
            self._cloud.handle(asked, wall())
            raise
        reply = self._cloud.handle(asked, wall())
        record = self._cloud.log[-1]
        takes = _seconds(reply)
        if takes >= within:
            await asyncio.sleep(within)
            raise CallError(Meaning.LOST, "timed out")
        await asyncio.sleep(takes + self._draw.uniform(0.001, 0.04))
        if not reply.answered:
            raise CallError(Meaning.LOST, "connection closed")
        if len(reply.body) > request.cap:
            raise CallError(Meaning.ODD, "larger than the cap", status=reply.status)
        if record.operation == "ShowNotebook" and (status := _status(reply)):
            self._storm.shown[record.request_id] = status
            self._storm.arrived[record.request_id] = wall()
        named = {name.lower(): value for name, value in reply.headers.items()}
        return Response(reply.status, named, reply.body, self._site.host)


def _seconds(reply: messages.Reply) -> float:
    """How long the answer takes to its last byte, be it sent in pieces."""
    pieces = reply.sending.pieces if reply.sending is not None else ()
    return reply.delay + sum(seconds for seconds, _ in pieces)


def _status(reply: messages.Reply) -> str:
    """The notebook's status that the answer to a look tells; empty if it tells none."""
    try:
        told = json.loads(reply.body)
    except ValueError:
        return ""
    return str(told.get("status", "")) if reply.status == 200 and isinstance(told, dict) else ""
