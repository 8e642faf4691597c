"""The judges themselves: each complains of a story that was told otherwise than it happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from fleet.core.events import Ended, Outcome
from fleet.core.planning.plan import Plan
from fleet.core.rollout import Rollout, Share
from fleet.simulator.audit import snapshot
from fleet.simulator.records import Record
from fleet.simulator.states import Status
from tests.storms.brew import EPOCH, Storm, wall
from tests.storms.process import Journal
from tests.storms.promises import complaints
from tests.storms.request_log import repeats
from tests.storms.storm import in_virtual_time, plan, process
from tests.storms.trio import order, trio

# --- a log of one notebook -------------------------------------------------------------------------------

BODY = {"image_id": "new"}
USUAL = Record(
    at=EPOCH, project="p", operation="", method="GET", path="", query={}, body=None, notebook="nb", user="us",
    status=200, code="", applied=False, answered=True, request_id="",
)  # fmt: skip


def put(status: int = 200, *, applied: bool = False) -> Record:
    return replace(USUAL, operation="UpdateNotebook", method="PUT", body=BODY, status=status, applied=applied)


def look(**fields: Any) -> Record:
    return replace(USUAL, operation="ShowNotebook", **fields)


def listing(project: str = "p", **query: str) -> Record:
    return replace(USUAL, operation="ListAllNotebooks", notebook="", project=project, query=query)


@pytest.mark.parametrize("between", [look(), listing(), listing(offset="0", limit="50")])
def test_a_write_may_be_sent_again_after_a_look_that_showed_the_notebook(between: Record) -> None:
    assert list(repeats([put(500), between, put()])) == []


@pytest.mark.parametrize(
    "between",
    [
        listing(status="STOPPING"),
        listing(project="another"),
        look(notebook="another"),
        look(status=500),
        look(answered=False),
    ],
)
def test_what_does_not_show_the_notebook_is_no_look(between: Record) -> None:
    (complaint,) = repeats([put(500), between, put()])
    assert "without a look" in complaint


def test_a_write_that_was_refused_may_be_sent_again_at_once() -> None:
    assert list(repeats([put(429), put()])) == []


@pytest.mark.parametrize("status", [200, 500])
def test_a_put_whose_values_were_shown_is_not_sent_again(status: int) -> None:
    (complaint,) = repeats([put(status, applied=True), look(), put()])
    assert "although a look had shown it" in complaint


# --- the story of a small fleet, told otherwise ----------------------------------------------------------


async def _story() -> Storm:
    storm = trio()
    await plan(storm, order(storm))
    assert await process(storm, Journal(storm.events))
    storm.after = snapshot(storm.cloud, wall())
    return storm


@pytest.fixture
def storm() -> Storm:
    """Three notebooks that were all changed, two of them at the same time away."""
    found = in_virtual_time(_story())
    assert list(complaints(found)) == []
    return found


def told(storm: Storm, text: str) -> list[str]:
    """The complaints with these words."""
    return [complaint for complaint in complaints(storm) if text in complaint]


def planned(storm: Storm) -> Plan:
    assert storm.plan is not None
    return storm.plan


def restarted(storm: Storm) -> str:
    """A notebook that was stopped and started."""
    return next(record.notebook for record in storm.cloud.log if record.operation == "StopNotebook")


def place(storm: Storm, operation: str) -> int:
    """Where in the log the first such write to that notebook is."""
    return next(
        number
        for number, record in enumerate(storm.cloud.log)
        if (record.operation, record.notebook) == (operation, restarted(storm))
    )


def release(storm: Storm, change: Callable[[Rollout], Rollout]) -> None:
    storm.plan = replace(planned(storm), rollout=change(planned(storm).rollout))


def test_more_away_than_allowed_is_told(storm: Storm) -> None:
    release(storm, lambda rollout: replace(rollout, max_unavailable={"fleet": Share(1)}))
    assert told(storm, "('fleet', ''): 2 of 1")


def test_more_under_way_than_allowed_is_told(storm: Storm) -> None:
    release(storm, lambda rollout: replace(rollout, concurrency=2))
    assert told(storm, "3 under way of 2")


def test_more_failures_than_allowed_are_told(storm: Storm) -> None:
    release(storm, lambda rollout: replace(rollout, max_failures=Share(2)))
    assert not told(storm, "failures of")
    storm.events = [
        msgspec.structs.replace(event, outcome=Outcome.FAILED) if isinstance(event, Ended) else event
        for event in storm.events
    ]
    assert told(storm, "3 failures of")


def test_a_later_wave_that_did_not_wait_is_told(storm: Storm) -> None:
    last = max(change.item for change in planned(storm).changes)
    changes = tuple(
        replace(change, wave=2 if change.item == last else 1) for change in planned(storm).changes
    )
    storm.plan = replace(planned(storm), changes=changes)
    assert told(storm, f"item {last} begins, of wave 1 2 have not ended")


@pytest.mark.parametrize("operation", ["StopNotebook", "StartNotebook"])
def test_a_write_that_the_last_look_made_needless_is_told(storm: Storm, operation: str) -> None:
    number = place(storm, operation)
    seen = {"StopNotebook": "STOPPED", "StartNotebook": "RUNNING"}[operation]
    look = next(
        record
        for record in reversed(storm.cloud.log[:number])
        if record.notebook == restarted(storm) and record.request_id in storm.shown
    )
    storm.shown[look.request_id] = seen
    assert told(storm, f"{operation} although it was seen {seen}")


def test_a_look_whose_answer_came_too_late_is_none(storm: Storm) -> None:
    storm.shown.clear()
    assert told(storm, "StopNotebook by process 1 without a look")


def test_a_poll_of_one_status_is_no_look_of_a_new_process(storm: Storm) -> None:
    begins = place(storm, "StartNotebook")
    storm.began.append(begins)
    storm.times.append(storm.cloud.log[begins].at)
    assert told(storm, "StartNotebook by process 2 without a look")
    poll = listing(storm.cloud.log[begins].project, status="STOPPING")
    storm.cloud.log.insert(begins, poll)
    assert told(storm, "StartNotebook by process 2 without a look")
    storm.cloud.log.insert(begins, replace(poll, query={}))
    assert not told(storm, "StartNotebook by process 2 without a look")


@pytest.mark.parametrize("after_our_stop", [False, True])
def test_one_left_stopped_is_told_unless_somebody_touched_it_since(
    storm: Storm, after_our_stop: bool
) -> None:
    left = restarted(storm)
    start, stop = place(storm, "StartNotebook"), place(storm, "StopNotebook")
    assert storm.after is not None
    row = replace(storm.after.notebooks[left], status=Status.STOPPED)
    storm.after = replace(storm.after, notebooks={**storm.after.notebooks, left: row})
    theirs = replace(put(applied=True), notebook=left, request_id="theirs")
    storm.cloud.log[start] = replace(storm.cloud.log[start], applied=False)
    storm.cloud.log.insert(stop + after_our_stop, theirs)
    storm.by_hand.add("theirs")
    storm.touched.add(left)
    assert bool(told(storm, "left STOPPED by us, and no debt")) is not after_our_stop
