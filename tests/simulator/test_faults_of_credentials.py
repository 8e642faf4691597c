"""Faults of credentials over a real socket: tokens die, keys are revoked, clocks are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.simulator.messages import Request
from fleet.simulator.signatures import ALGORITHM, canonical_request, sign

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]

NOW = 1_764_000_000.0


async def by_key(lab: Any) -> tuple[int, str]:
    """A signed call: its status and message."""
    identity = lab.cloud.identity
    date = datetime.fromtimestamp(NOW + lab.seconds(), UTC).strftime("%Y%m%dT%H%M%SZ")
    path, headers = f"/v1/{lab.project}/images", {"host": "lab.example.com", "x-sdk-date": date}
    signature = sign(
        canonical_request(Request("GET", path, "", headers), tuple(headers)), date, identity.secret_key
    )
    claim = f"Access={identity.access_key}, SignedHeaders=host;x-sdk-date, Signature={signature}"
    headers["authorization"] = f"{ALGORITHM} {claim}"
    async with lab.session.get(f"http://127.0.0.1:{lab.port}{path}", headers=headers) as response:
        return response.status, (await response.json()).get("error_msg", "")


async def test_all_tokens_die_at_an_instant_and_new_ones_live(site: MakeSite) -> None:
    lab = await site("- {kind: tokens-expire, after: 600}")
    await asyncio.sleep(599)
    assert (await lab.ask("GET", "images"))[0] == 200
    await asyncio.sleep(1)
    status, reply, _ = await lab.ask("GET", "images")
    assert (status, reply["error_code"]) == (401, "APIGW.0307")
    token, _ = lab.cloud.access.issue_token(lab.project, NOW + lab.seconds())
    assert (await lab.ask("GET", "images", token=token))[0] == 200
    await asyncio.sleep(3600)
    assert (await lab.ask("GET", "images", token=token))[0] == 200


async def test_a_revoked_key_is_unknown_until_it_is_given_back(site: MakeSite) -> None:
    lab = await site("- {kind: key-revoked, after: 60, until: 120}")
    assert (await by_key(lab))[0] == 200
    await asyncio.sleep(60)
    status, message = await by_key(lab)
    assert (status, message.rpartition(": ")[2]) == (401, "Get secretKey failed")
    await asyncio.sleep(60)
    assert (await by_key(lab))[0] == 200


async def test_a_revoked_key_can_stay_so(site: MakeSite) -> None:
    lab = await site("- {kind: key-revoked}")
    await asyncio.sleep(86_400)
    assert (await by_key(lab))[0] == 401


@pytest.mark.parametrize("seconds", [-1200, 1200])
async def test_a_skewed_clock_dates_answers_and_refuses_signatures(site: MakeSite, seconds: int) -> None:
    lab = await site(f"- {{kind: skewed-clock, seconds: {seconds}, after: 60}}")
    assert (await by_key(lab))[0] == 200
    await asyncio.sleep(60)
    status, message = await by_key(lab)
    assert (status, message.endswith("signature expired")) == (401, True)
    headers = (await lab.ask("GET", "images"))[2]
    dated = datetime.strptime(headers["Date"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert dated.timestamp() == NOW + 60 + seconds


async def test_one_node_of_the_gateway_can_be_skewed(site: MakeSite) -> None:
    lab = await site("- {kind: skewed-clock, seconds: 1200, probability: 0.5}")
    seen = [(await by_key(lab))[0] for _ in range(20)]
    assert {200, 401} == set(seen)
