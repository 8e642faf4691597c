"""The gateway says 429: limits are learned and kept, and nothing fails for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Slowed
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.send_log import largest_count
from fleet.simulator.audit import is_write
from fleet.simulator.faults import Match, Throttled, load_faults
from fleet.simulator.throttle import Limit

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime


@pytest.mark.row(1, 2)
async def test_a_storm_of_429_teaches_the_limit_and_fails_nothing(world: MakeLab) -> None:
    storm = Throttled(match=Match(method="PUT"), times=12, limit=30, seconds=60)
    lab = await world(running=4, faults=[storm])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["changed"] * 4, Exit.DONE)
    assert sum(record.status == 429 for record in run.log) == 12
    assert [key.rpartition(", ")[2] for key in run.report.limits] == ["writes"]
    assert any("30/min by policy user" in event.text for event in run.events if isinstance(event, Slowed))
    assert run.findings() == []


@pytest.mark.row(2)
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
    assert list(run.report.limits.values()) == [("6/min by policy user",)]


@pytest.mark.row(1)
async def test_a_refusal_without_a_usable_limit_slows_down(world: MakeLab) -> None:
    lab = await world(stopped=3, faults=[Throttled(match=Match(method="PUT"), times=4, limit=999_999)])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["changed"] * 3, Exit.DONE)
    assert any("slowed down to a request every" in text for text in run.report.throttled.values())


@pytest.mark.row(1)
@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        ("retry_after: 120", 120.0),
        ("text: false, retry_after: 120", 120.0),
        ("text: false", 0.0),
        ("retry_after: 3600", 0.0),
    ],
)
async def test_a_hint_how_long_to_wait_is_kept_and_no_change_is_lost(
    world: MakeLab, fault: str, pause: float
) -> None:
    faults = load_faults(f"[{{kind: throttle, match: {{method: PUT}}, times: 1, {fault}}}]")
    lab = await world(stopped=3, rate=Rate(20, 60.0), faults=faults)
    run = await lab.go()
    assert (run.outcomes, run.report.exit, run.findings()) == (["changed"] * 3, Exit.DONE, [])
    (refused,) = [record.at for record in run.log if record.status == 429]
    last = max(record.at for record in run.log if is_write(record))
    assert refused < last
    assert not [one for one in run.log if is_write(one) and refused + 1.0 < one.at < refused + pause]
    assert run.calls(applied=True) == ["put"] * 3


@pytest.mark.row(2)
async def test_the_report_tells_the_largest_count_in_any_window_as_the_cloud_saw_it(world: MakeLab) -> None:
    lab = await world(running=6, rate=Rate(30, 60.0))
    run = await lab.go()
    seen = {
        "writes": [record.at for record in run.log if is_write(record)],
        "reads": [record.at for record in run.log if not is_write(record)],
    }
    told = {key.rpartition(", ")[2]: peaks for key, peaks in run.report.peaks.items()}
    assert told.keys() == seen.keys()
    for kind, instants in seen.items():
        ((limit, most),) = told[kind].items()
        assert (limit.count, limit.window) == (30, 60.0)
        assert 0 < most == largest_count(instants, 60.0) <= 30
