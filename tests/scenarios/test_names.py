"""The cloud's name cannot be resolved for a while: nothing fails for it."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime


def resolver(works_again_at: float) -> Callable[..., Awaitable[list[Any]]]:
    """Resolves every name to this machine, from an instant of the loop on."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if asyncio.get_running_loop().time() < works_again_at:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    return getaddrinfo


@pytest.mark.row(23)
@pytest.mark.parametrize("outage", [60.0, 600.0])
async def test_no_notebook_fails_while_the_name_cannot_be_resolved(
    world: MakeLab, monkeypatch: pytest.MonkeyPatch, outage: float
) -> None:
    lab = await world(running=3, stopped=1)
    name = lab.specs[0].endpoint.replace("127.0.0.1", "modelarts.cn-north-4.example.com")
    lab.specs = [replace(spec, endpoint=name) for spec in lab.specs]
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolver(0.0))
    plan = await lab.plan()
    monkeypatch.setattr(loop, "getaddrinfo", resolver(loop.time() + outage))
    run = await lab.apply(plan)
    assert (run.outcomes, run.report.exit) == (["changed"] * 4, Exit.DONE)
    assert run.log[0].at - run.before.at >= outage
    assert run.findings() == []
