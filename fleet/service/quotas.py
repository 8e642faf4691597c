"""Asks the scopes in which a plan restarts something for their quota of instances, once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import anyio

from fleet.core.errors import CallError
from fleet.core.planning.quota import Quota


@runtime_checkable
class Allotted(Protocol):
    """A scope that tells its quota."""

    async def quota(self) -> Quota: ...


@dataclass(frozen=True, slots=True)
class Quotas:
    """By scope: the quota, or why it is not known."""

    told: Mapping[str, Quota] = field(default_factory=dict)
    untold: Mapping[str, str] = field(default_factory=dict)


async def read_quotas(clouds: Mapping[str, object], scopes: Iterable[str]) -> Quotas:
    """The quotas of `scopes`. A scope that does not answer stops nobody from planning."""
    told: dict[str, Quota] = {}
    untold: dict[str, str] = {}

    async def one(name: str, cloud: Allotted) -> None:
        try:
            told[name] = await cloud.quota()
        except CallError as error:
            untold[name] = str(error)

    async with anyio.create_task_group() as group:
        for name in scopes:
            if isinstance(cloud := clouds[name], Allotted):
                group.start_soon(one, name, cloud)
    return Quotas(dict(sorted(told.items())), dict(sorted(untold.items())))
