"""While the cloud answers nothing, the run says so, and whoever reads its journal sees since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.events import OutOfReach
from fleet.service.following import look_at
from fleet.simulator.faults import load_faults

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime


async def test_an_outage_is_told_once_with_its_begin_and_its_end(world: MakeLab) -> None:
    lab = await world(running=4, faults=load_faults("[{kind: reset, after: 20, until: 100}]"))
    run = await lab.go()
    assert run.outcomes == ["changed"] * 4
    down, up = [event for event in run.events if isinstance(event, OutOfReach)]
    assert "broke before the answer was complete" in down.text
    assert 5.0 <= down.at - down.since < 60.0
    assert 20.0 <= down.since - run.before.at < 60.0
    assert (up.host, up.text) == (down.host, "")
    assert up.at - run.before.at > 100.0
    assert look_at(run.path, up.at).snapshot.out_of_reach == ()
