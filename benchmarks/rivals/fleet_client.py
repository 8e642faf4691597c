"""Our client alone: `ModelArts.put` with a turn, gate and retries armed, at a rate that never binds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.harness import Sample
from benchmarks.rivals.work import (
    ACCESS_KEY,
    BODY,
    PROJECT,
    SECRET_KEY,
    TOKEN,
    Update,
    Work,
    key,
    measure_async,
    work_through,
)
from fleet.client.api import ModelArts
from fleet.client.connect import connect
from fleet.core.pacing.limits import Rate
from fleet.core.scope import AkSkKeys, Credential, ScopeSpec, TokenGiven, Way

PACKAGES = ("notebook-fleet",)
NEVER_BINDS = Rate(100_000, 1.0)
SCOPE = "lab-a"


def scope(work: Work) -> ScopeSpec:
    """The only scope. It signs when the work's options say so, else it sends a token as the rivals do.

    `rate` is (count, seconds), or None for one that must be found out.
    """
    signed = work.option("signed", False)
    credential: Credential = AkSkKeys(ACCESS_KEY, SECRET_KEY) if signed else TokenGiven(TOKEN)
    rate = work.option("rate", (NEVER_BINDS.count, NEVER_BINDS.window))
    return ScopeSpec(
        name=SCOPE,
        region="cn-north-4",
        project_id=PROJECT,
        endpoint=work.url,
        iam_endpoint=work.url,
        credential=credential,
        workspaces=("0",),
        rate=None if rate is None else Rate(*rate),
        ca_file=work.ca_file,
        transport=Way(work.option("way", Way.WIRE)),
    )


def connected(work: Work) -> AbstractAsyncContextManager[dict[str, ModelArts]]:
    """The scope, connected."""
    return connect([scope(work)], in_flight=work.concurrency)


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Update]:
    async with connected(work) as clouds:
        cloud = clouds[SCOPE]

        async def put(number: int) -> None:
            receipt = await cloud.put(key(number), BODY, await cloud.turn())
            if receipt.status != 200:
                raise RuntimeError(f"notebook {number}: status {receipt.status}")

        async def update(numbers: range) -> None:
            await work_through(numbers, work.concurrency, put)

        yield update


def measure(work: Work) -> Sample:
    return measure_async(opened, work)
