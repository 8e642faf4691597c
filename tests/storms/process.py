"""A process that may die at any write to its journal, and its way to the cloud without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from random import Random

from fleet.client.transport import Departure, Site
from fleet.client.wire import Request, Response
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Event
from fleet.simulator import messages
from fleet.simulator.cloud import Cloud
from tests.storms.brew import wall


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
    """The way to the cloud without sockets: latency, lost answers and deadlines, but no bytes.

    `shown` is told the status in the answer to each look, by request id, when the answer has arrived.
    """

    def __init__(self, cloud: Cloud, site: Site, draw: Random, shown: dict[str, str]) -> None:
        self._cloud = cloud
        self._site = site
        self._draw = draw
        self._shown = shown

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
        if reply.delay >= within:
            await asyncio.sleep(within)
            raise CallError(Meaning.LOST, "timed out")
        await asyncio.sleep(reply.delay + self._draw.uniform(0.001, 0.04))
        if not reply.answered:
            raise CallError(Meaning.LOST, "connection closed")
        if record.operation == "ShowNotebook" and reply.status == 200:
            self._shown[record.request_id] = json.loads(reply.body)["status"]
        named = {name.lower(): value for name, value in reply.headers.items()}
        return Response(reply.status, named, reply.body, self._site.host)
