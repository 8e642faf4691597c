"""A cloud that does not answer is told while it lasts, with its reason and since when."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from fleet.core.events import OutOfReach, RunResumed
from fleet.core.planning.plan import Plan
from fleet.telemetry.live import picture
from fleet.telemetry.plain import PlainView
from fleet.telemetry.progress import Progress

WHY = "cannot connect to h (connection refused)"


@pytest.fixture
def progress(plan: Callable[..., Plan]) -> Progress:
    made = Progress(plan(2))
    made.apply(OutOfReach(105.0, "h", WHY, 100.0))
    return made


def test_the_trouble_is_told_with_how_long_it_lasts(progress: Progress) -> None:
    assert progress.snapshot(140.0).out_of_reach == (f"{WHY}, for 40s",)
    progress.apply(OutOfReach(150.0, "other", "no connection", 150.0))
    progress.apply(OutOfReach(160.0, "h", "", 160.0))
    assert progress.snapshot(160.0).out_of_reach == ("no connection, for 10s",)


def test_a_resumed_run_finds_out_anew(progress: Progress) -> None:
    progress.apply(RunResumed(900.0))
    assert progress.snapshot(901.0).out_of_reach == ()


def test_the_live_view_shows_the_trouble(progress: Progress) -> None:
    lines = [str(line) for line in picture(progress.snapshot(140.0)).renderables]
    assert f"no answer: {WHY}, for 40s" in lines


def test_the_plain_view_tells_the_trouble_at_once_and_its_end(plan: Callable[..., Plan]) -> None:
    stream = io.StringIO()
    view = PlainView(Progress(plan(2)), stream, lambda: 105.0)
    view(OutOfReach(105.0, "h", "\x1b[31mgone", 100.0))
    view(OutOfReach(105.0, "h", "", 105.0))
    first, second = stream.getvalue().splitlines()
    assert first.endswith("; \\x1b[31mgone, for 5s")
    assert "h answers again" in second
    assert "gone" not in second
