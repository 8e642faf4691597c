"""What holds changes back is shown as long as it does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

from fleet.core.events import Held, RunEnd, RunEnded, RunResumed, WaveStarted
from fleet.core.planning.plan import Plan
from fleet.telemetry.live import picture
from fleet.telemetry.plain import PlainView
from fleet.telemetry.progress import Progress


def test_a_hold_is_kept_by_place_until_it_is_over(plan: Callable[..., Plan]) -> None:
    progress = Progress(plan(2))
    progress.apply(Held(1.0, "lab-a", "8 of 50 calls failed"))
    progress.apply(Held(2.0, "wave 1", "waits for approval"))
    progress.apply(Held(3.0, "lab-a", "it works again"))
    assert set(progress.snapshot(3.0).held) == {"lab-a: it works again", "wave 1: waits for approval"}
    progress.apply(Held(4.0, "wave 1", ""))
    assert progress.snapshot(4.0).held == ("lab-a: it works again",)


def test_the_plain_view_tells_a_hold_and_its_end_at_once(plan: Callable[..., Plan]) -> None:
    stream = io.StringIO()
    view = PlainView(Progress(plan(2)), stream, lambda: 0.0)
    view(Held(0.0, "wave 1", "waits for \x1b[31mapproval"))
    view(Held(0.0, "wave 1", ""))
    first, second = stream.getvalue().splitlines()
    assert "wave 1: waits for \\x1b[31mapproval" in first
    assert "wave 1: no longer held" in second


def test_the_plain_view_names_one_wave_a_line(plan: Callable[..., Plan]) -> None:
    stream = io.StringIO()
    view = PlainView(Progress(plan(1, 1)), stream, lambda: 0.0)
    view(WaveStarted(0.0, 1, 1))
    view(Held(0.0, "wave 2", "begins at noon"))
    view(Held(0.0, "lab-a", "8 of 50 calls failed"))
    view(WaveStarted(0.0, 2, 1))
    labels = [line.partition(";")[0] for line in stream.getvalue().splitlines()]
    assert labels == [
        "0s wave 1/2 starts",
        "0s wave 2: begins at noon",
        "0s wave 1/2 lab-a: 8 of 50 calls failed",
        "0s wave 2/2 starts",
    ]


def test_the_live_view_shows_what_is_held(plan: Callable[..., Plan]) -> None:
    progress = Progress(plan(2))
    progress.apply(Held(1.0, "wave 1", "waits for approval"))
    lines = [str(line) for line in picture(progress.snapshot(1.0)).renderables]
    assert "held: wave 1: waits for approval" in lines


def test_the_live_view_says_until_when_the_run_waits(plan: Callable[..., Plan]) -> None:
    progress = Progress(plan(2))
    progress.apply(Held(1.0, "stop", "1 wait", until=90.0))
    lines = [str(line) for line in picture(progress.snapshot(1.0)).renderables]
    assert "waits until 1970-01-01 00:01:30 UTC at the latest" in lines


def test_what_was_told_of_a_hold_is_there_again_from_a_balance(plan: Callable[..., Plan]) -> None:
    progress = Progress(plan(2))
    progress.apply(Held(1.0, "stop", "1 wait", until=90.0))
    again = Progress.loaded(plan(2), json.loads(json.dumps(progress.dump([]))))
    assert again.snapshot(2.0).waits_until == 90.0


def test_a_hold_that_lasts_tells_how_long_it_has_been(plan: Callable[..., Plan]) -> None:
    progress = Progress(plan(2))
    progress.apply(Held(1.0, "lab-a", "8 of 50 calls failed"))
    assert progress.snapshot(10.9).held == ("lab-a: 8 of 50 calls failed",)
    assert progress.snapshot(241.0).held == ("lab-a: 8 of 50 calls failed, held for 4m",)


def test_a_hold_ends_with_the_process_that_held(plan: Callable[..., Plan]) -> None:
    for end in (RunResumed(2.0), RunEnded(2.0, RunEnd.INTERRUPTED)):
        progress = Progress(plan(2))
        progress.apply(Held(1.0, "lab-a", "8 of 50 calls failed"))
        progress.apply(end)
        assert progress.snapshot(3.0).held == ()
