"""A seeded cloud and a caller with a valid token, without any socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fleet.simulator.cloud import Cloud
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
            return reply.status, None if reply.dropped else json.loads(reply.body or b"{}")

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
