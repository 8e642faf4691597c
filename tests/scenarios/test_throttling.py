"""The gateway says 429: limits are learned and kept, and nothing fails for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.audit import is_write
from fleet.simulator.faults import Match, Throttled
from fleet.simulator.throttle import Limit

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime


async def test_a_storm_of_429_teaches_the_limit_and_fails_nothing(world: MakeLab) -> None:
    storm = Throttled(match=Match(method="PUT"), times=12, limit=30, seconds=60)
    lab = await world(running=4, faults=[storm])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["changed"] * 4, Exit.DONE)
    assert sum(record.status == 429 for record in run.log) == 12
    assert [key.rpartition(", ")[2] for key in run.report.limits] == ["writes"]
    assert any("30/min by policy user" in event.text for event in run.events if event.kind == "slowed")
    assert run.findings() == []


async def test_a_limit_below_the_configured_rate_is_kept_once_it_is_known(world: MakeLab) -> None:
    lab = await world(running=6, throttle=[Limit(limit=6, seconds=60, calls="writes")])
    run = await lab.go()
    assert (run.outcomes, run.findings()) == (["changed"] * 6, [])
    refused = [record.at for record in run.log if record.status == 429]
    writes = [record for record in run.log if is_write(record)]
    assert refused
    assert len(refused) <= 6
    assert not [at for at in refused if at > refused[0] + 120.0]
    assert len(writes) - len(refused) == 18
    assert any("keeping to 6/min by policy user" in text for text in run.report.limits.values())


async def test_a_refusal_without_a_usable_limit_slows_down(world: MakeLab) -> None:
    lab = await world(stopped=3, faults=[Throttled(match=Match(method="PUT"), times=4, limit=999_999)])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["changed"] * 3, Exit.DONE)
    assert any("slowed down to a request every" in text for text in run.report.limits.values())
