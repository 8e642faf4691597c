"""Plans to watch, and structlog as it was before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from fleet.core.notebook import Status
from fleet.core.planning.plan import Plan
from fleet.core.rollout import Rollout
from tests import plans


def make_plan(
    *sizes: int, rollout: Rollout | None = None, name: str = "n", state: Status = Status.RUNNING
) -> Plan:
    """A plan with waves 1, 2, ... of these sizes; items count from 0, every change needs a restart."""
    waves = [wave for wave, size in enumerate(sizes, start=1) for _ in range(size)]
    changes = (
        plans.make_change(item, name=name, owner="", wave=wave, run_state=state, before={}, after={})
        for item, wave in enumerate(waves)
    )
    return plans.make_plan(*changes, rollout=rollout or Rollout(concurrency=10))


@pytest.fixture(scope="session")
def plan() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture(autouse=True)
def clean_structlog() -> Iterator[Any]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
