"""Plans to watch, and structlog as it was before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.plan import Change, Estimate, Phase, Plan
from fleet.core.rollout import Rollout


def make_plan(
    *sizes: int, rollout: Rollout | None = None, name: str = "n", state: Status = Status.RUNNING
) -> Plan:
    """A plan with waves 1, 2, ... of these sizes; items count from 0, every change needs a restart."""
    waves = [wave for wave, size in enumerate(sizes, start=1) for _ in range(size)]
    changes = tuple(
        Change(
            item=item,
            scope="lab-a",
            id=f"{item:08x}-0000-0000-0000-000000000000",
            name=name,
            owner="",
            pool="",
            flavor="",
            wave=wave,
            run_state=state,
            arriving=False,
            may_restart=True,
            phases=(Phase(When.STOPPED, {"image_id": "x"}),),
            before={},
            after={},
        )
        for item, wave in enumerate(waves)
    )
    return Plan(
        format=1,
        job="torch",
        job_type="image-migration",
        select="true",
        created_at=0.0,
        engine="0",
        scopes=(),
        rollout=rollout or Rollout(concurrency=10),
        changes=changes,
        settled=(),
        checks=(),
        estimate=Estimate(0, 0, 0.0),
    )


@pytest.fixture(scope="session")
def plan() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture(autouse=True)
def clean_structlog() -> Iterator[Any]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
