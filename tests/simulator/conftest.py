"""A seeded cloud and a caller with a valid token, without any socket and over a real one."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.faults import load_faults
from fleet.simulator.messages import Request
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

NOW = 1_764_000_000.0

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def now() -> float:
    """The wall second at which the seeded clouds were made."""
    return NOW


@pytest.fixture
def caller_of() -> Callable[[Cloud], Ask]:
    """Makes the ``ask`` of a cloud: ``ask(method, path, body, query=, at=) -> (status, JSON)``.

    The path is the part after the project, which is the cloud's first one. A dropped answer has
    the JSON value None, an empty one {}.
    """

    def make(cloud: Cloud) -> Ask:
        project = cloud.identity.projects[0].id
        token, _ = cloud.access.issue_token(project, NOW)

        def ask(
            method: str, path: str, body: object = None, *, query: str = "", at: float = NOW
        ) -> tuple[int, Any]:
            sent = b"" if body is None else json.dumps(body).encode()
            headers = {"x-auth-token": token}
            reply = cloud.handle(Request(method, f"/v1/{project}/{path}", query, headers, sent), at)
            return reply.status, None if not reply.answered else json.loads(reply.body or b"{}")

        return ask

    return make


@pytest.fixture
def cloud() -> Cloud:
    return make_cloud(notebooks=120, seed=7, now=NOW)


@pytest.fixture
def ask(cloud: Cloud, caller_of: Callable[[Cloud], Ask]) -> Ask:
    return caller_of(cloud)


@pytest.fixture
def plain() -> Callable[[Cloud, Status], Notebook]:
    """Turns some notebook of a cloud's first project into a well-known one in the given status:
    CPU flavor, old x86_64 image, EVS disk of 50 GB, SSH for one key and one address."""

    def make(cloud: Cloud, status: Status) -> Notebook:
        world, project = cloud.world, cloud.identity.projects[0].id
        row = next(
            row
            for row in world.notebooks.values()
            if row.project == project and row.status is status and row.feature == "NOTEBOOK"
        )
        row.flavor, row.custom_spec, row.pool = "modelarts.vm.cpu.2u", None, None
        row.image = next(image for image in world.images.values() if image.name.startswith("pytorch1.8-cuda"))
        row.volume = {
            "category": "EVS",
            "ownership": "MANAGED",
            "capacity": 50,
            "mount_path": "/home/ma-user/work/",
            "status": "IN_USE",
        }
        row.endpoints = [
            {"service": "NOTEBOOK"},
            {
                "service": "SSH",
                "key_pair_names": ["kp-ana"],
                "allowed_access_ips": ["203.0.113.1"],
                "uri": "ssh://ma-user@host.example.com:30001",
            },
        ]
        row.workspace_id = "0"
        row.rendered = None
        return row

    return make


@dataclass(frozen=True)
class Site:
    """A served cloud with one project, whose clock is the loop's, and a caller with a valid token."""

    cloud: Cloud
    port: int
    token: str
    session: aiohttp.ClientSession
    lines: io.StringIO  # the served request log

    @property
    def project(self) -> str:
        return self.cloud.identity.projects[0].id

    def row(self, status: Status) -> Notebook:
        """The first notebook in this status, in the order of the list."""
        rows = self.cloud.world.rows(self.project, "NOTEBOOK", "0", "")
        return next(row for row in rows if row.status is status)

    def seconds(self) -> float:
        """Since the cloud was made."""
        return asyncio.get_running_loop().time()

    async def ask(
        self, method: str, path: str, body: object = None, *, token: str = ""
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON (or text where it is none) and headers; redirects are not followed."""
        url = f"http://127.0.0.1:{self.port}/v1/{self.project}/{path}"
        async with self.session.request(
            method,
            url,
            json=body,
            headers={"X-Auth-Token": token or self.token},
            allow_redirects=False,
        ) as response:
            sent = await response.read()
            try:
                return response.status, json.loads(sent or b"{}"), response.headers
            except (ValueError, RecursionError):
                return response.status, sent.decode(), response.headers

    @asynccontextmanager
    async def open(self, method: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
        """A bare connection with the request sent, to see the answer byte by byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = (
            f"{method} /v1/{self.project}/{path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"X-Auth-Token: {self.token}",
            "Content-Length: 0",
        )
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        try:
            yield reader
        finally:
            writer.close()


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def site() -> AsyncIterator[MakeSite]:
    """Serves a cloud with the faults of a YAML text: ``await site("- {kind: drip, seconds: 9}")``."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))

        async def make(faults: str = "", *, notebooks: int = 40, seed: int = 9, **options: Any) -> Site:
            clock = asyncio.get_running_loop().time
            options = {"projects": 1, "lease_hours": (100.0, 200.0), "token_seconds": 1e9, **options}
            wrong = load_faults(faults)
            cloud = make_cloud(notebooks=notebooks, seed=seed, now=NOW + clock(), faults=wrong, **options)
            lines = io.StringIO()
            served = serve(cloud, clock=lambda: NOW + clock(), request_log=lines)
            url = await stack.enter_async_context(served)
            token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, NOW + clock())
            return Site(cloud, int(url.rpartition(":")[2]), token, session, lines)

        yield make
