"""What the log says of a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Fate,
    Intended,
    Late,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Saw,
    Slowed,
    Step,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.planning.plan import Plan
from fleet.telemetry.log import configure_logging
from fleet.telemetry.observer import LogObserver

if TYPE_CHECKING:
    from fleet.engine.ports import Observer

    def is_an_observer(plan: Plan) -> Observer:
        return LogObserver(plan)


STORY: list[Event] = [
    RunStarted(0.0, "20261123-042900-ab12", "d1"),
    WaveStarted(0.0, 1, 1),
    Began(0, 1.0),
    Saw(0, 1.5, Sight(Status.RUNNING)),
    Intended(0, 2.0, Step.STOP, 1),
    Answered(0, 2.1, Step.STOP, Fate.ACCEPTED, status=200, request_id="r1"),
    Intended(0, 3.0, Step.PUT, 1, {"image_id": "x"}),
    Answered(0, 3.1, Step.PUT, Fate.REFUSED, meaning=Meaning.THROTTLED, code="APIGW.0308", status=429),
    Intended(0, 4.0, Step.PUT, 2, {"image_id": "x"}),
    Blind(0, 4.5, Meaning.UNREACHABLE, "no route"),
    Late(0, 4.6),
    Ended(0, 5.25, Outcome.FAILED, "sold out"),
    Slowed(5.3, "k", "60/min"),
    WaveEnded(5.4, 1, go=False, reason="1 failed"),
    RunEnded(5.5, RunEnd.HALTED, "max_failures"),
]


def lines(plan: Plan, level: Any, story: list[Event]) -> list[dict[str, Any]]:
    file = io.StringIO()
    configure_logging(file, level)
    observe = LogObserver(plan)
    for event in story:
        observe(event)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_finished_change_is_one_line_that_tells_it_all(plan: Callable[..., Plan]) -> None:
    (line,) = (line for line in lines(plan(1), "info", STORY) if line["event"] == "change ended")
    expected = {
        "run": "20261123-042900-ab12",
        "scope": "lab-a",
        "id": "f9937afa-4451-42db-a76b-000000000000",
        "item": 0,
        "outcome": "failed",
        "reason": "sold out",
        "steps": ["stop", "put", "put"],
        "seconds": 4.25,
    }
    assert line | expected == line
    assert line["level"] == "warning"


def test_at_info_the_run_and_its_waves_speak_too(plan: Callable[..., Plan]) -> None:
    said = [line["event"] for line in lines(plan(1), "info", STORY)]
    assert said == ["run started", "wave started", "change ended", "slowed", "wave ended", "run ended"]


def test_at_debug_every_write_is_told_before_and_after(plan: Callable[..., Plan]) -> None:
    told = lines(plan(1), "debug", STORY)
    assert [line["step"] for line in told if line["event"] == "intended"] == ["stop", "put", "put"]
    assert [line["fate"] for line in told if line["event"] == "answered"] == ["accepted", "refused"]
    assert [line["event"] for line in told if line["event"] in ("blind", "late")] == ["blind", "late"]


def test_a_change_that_never_began_is_told_all_the_same(plan: Callable[..., Plan]) -> None:
    (line,) = lines(plan(1), "info", [Ended(0, 1.0, Outcome.NOT_STARTED)])
    assert (line["steps"], line["seconds"]) == ([], 0.0)


@pytest.mark.parametrize("event", STORY)
def test_no_event_makes_it_fail_even_out_of_place(plan: Callable[..., Plan], event: Event) -> None:
    assert lines(plan(0), "debug", [event]) is not None
