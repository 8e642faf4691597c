"""What the views write, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from fleet.core.changing.sight import Sight
from fleet.core.events import (
    Began,
    Ended,
    Event,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Saw,
    Slowed,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.planning.plan import Plan
from fleet.telemetry.live import LiveView, picture
from fleet.telemetry.plain import PlainView, line
from fleet.telemetry.progress import Progress
from fleet.telemetry.view import progress_view

if TYPE_CHECKING:
    from fleet.engine.ports import Observer

    def are_observers(live: LiveView, plain: PlainView) -> tuple[Observer, Observer]:
        return live, plain


Plans = Callable[..., Plan]
HOSTILE = "[red]evil[/red]\x1b]0;title\x07\u202e\n训练笔记本"
SAW = Saw(0, 0.0, Sight(Status.RUNNING))


class Time:
    """A wall clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn(plan: Plan, *events: Event, width: int = 80) -> list[str]:
    """The live picture's lines on a terminal of this width."""
    progress = Progress(plan)
    for event in events:
        progress.apply(event)
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, color_system=None)
    console.print(picture(progress.snapshot(100.0)))
    return out.getvalue().splitlines()


def test_the_picture_tells_run_wave_counts_and_trouble(plan: Plans) -> None:
    lines = drawn(
        plan(1, 3, name="lab notebook"),
        RunStarted(40.0, "20261123-042900-ab12", "d"),
        WaveStarted(40.0, 1, 1),
        Began(0, 40.0),
        Began(1, 40.0),
        Ended(0, 60.0, Outcome.STRANDED, "no stock", debt=True),
        Slowed(60.0, "k", "60/min"),
    )
    text = "\n".join(lines)
    assert lines[0].split("  ") == ["20261123-042900-ab12", "torch", "wave 1/2", "1m"]
    assert "1/4 ended, 25%" in text
    assert "1 stranded" in text
    assert "1 under way, 1 away, 1 not brought back" in text
    assert "throttled: 60/min" in text
    assert "stranded: lab-a lab notebook: no stock" in text


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_is_wider_than_the_terminal(plan: Plans, width: int) -> None:
    lines = drawn(
        plan(9, name="训练" * 50),
        RunStarted(0.0, "20261123-042900-ab12", "d"),
        *(Ended(item, 1.0, outcome, "reason " * 40) for item, outcome in enumerate(Outcome)),
        Slowed(0.0, "k", "slow " * 50),
        width=width,
    )
    assert max(cell_len(text) for text in lines) <= width


@pytest.mark.row(42)
@pytest.mark.security("escapes")
def test_a_hostile_name_is_shown_and_not_obeyed(plan: Plans) -> None:
    text = "\n".join(drawn(plan(1, name=HOSTILE), Ended(0, 1.0, Outcome.FAILED, HOSTILE), width=200))
    assert "[red]evil[/red]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_only_the_waves_near_the_current_one_are_shown(plan: Plans) -> None:
    started = [WaveStarted(0.0, wave, 1) for wave in range(1, 11)]
    shown = [text for text in drawn(plan(*[1] * 20), *started) if "running" in text or "waiting" in text]
    assert [text.split()[1] for text in shown] == ["8", "9", "10", "11", "12"]


def test_a_plan_without_changes_can_be_drawn(plan: Plans) -> None:
    assert any("0/0 ended, 100%" in text for text in drawn(plan()))


def plain(plan: Plan) -> tuple[PlainView, io.StringIO, Time]:
    out, time = io.StringIO(), Time()
    return PlainView(Progress(plan), out, time), out, time


def test_plain_lines_come_at_waves_and_every_few_seconds(plan: Plans) -> None:
    view, out, time = plain(plan(1))
    view(RunStarted(100.0, "r", "d"))
    view(SAW)
    assert out.getvalue() == ""
    view(WaveStarted(100.0, 1, 1))
    assert out.getvalue().startswith("0s wave 1/1 starts; 0/1 ended")
    count = len(out.getvalue())
    time.now += 4.9
    view(SAW)
    assert len(out.getvalue()) == count
    time.now += 0.1
    view(SAW)
    view(SAW)
    assert out.getvalue()[count:].startswith("5s wave 1/1; 0/1 ended")
    assert out.getvalue().count("0/1 ended") == 2


def test_a_wall_clock_set_back_does_not_silence_the_lines(plan: Plans) -> None:
    view, out, time = plain(plan(1))
    time.now -= 50
    view(SAW)
    assert out.getvalue() != ""


def test_plain_lines_tell_verdicts_and_the_end(plan: Plans) -> None:
    view, out, _ = plain(plan(1))
    view(WaveEnded(0.0, 1, go=False, reason="1 failed\x1b[2J"))
    view(RunEnded(0.0, RunEnd.HALTED, "max_failures"))
    folded = " ".join(out.getvalue().split())
    assert r"ended: halt (1 failed\x1b[2J)" in folded
    assert "run ended (max_failures)" in folded
    assert folded.endswith("halted")


def test_a_plain_line_is_one_line_however_long(plan: Plans) -> None:
    progress = Progress(plan(9))
    for item, outcome in enumerate(Outcome):
        progress.apply(Ended(item, 1.0, outcome, "x"))
    text = line(progress.snapshot(2.0))
    assert len(text) > 80
    assert text.splitlines(keepends=True) == [text]


def test_a_pipe_gets_plain_lines(plan: Plans) -> None:
    assert isinstance(progress_view(plan(1), io.StringIO(), Time(), term="xterm"), PlainView)


def shown(leader: int) -> bytes:
    """Everything that was written to the other side, which is closed; it may come in parts."""
    parts = []
    with suppress(OSError):  # EIO is the end
        while part := os.read(leader, 65536):
            parts.append(part)
    return b"".join(parts)


def test_a_terminal_gets_the_picture_unless_it_cannot_draw(plan: Plans) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert isinstance(progress_view(plan(1), terminal, Time(), term="dumb"), PlainView)
        view = progress_view(plan(1), terminal, Time(), term="xterm")
        assert isinstance(view, LiveView)
        with view:
            view(RunStarted(90.0, "20261123-042900-ab12", "d"))
    assert b"20261123-042900-ab12" in shown(leader)
    os.close(leader)


@pytest.mark.row(52, 70)
def test_a_terminal_that_hangs_up_does_not_stop_the_run(plan: Plans) -> None:
    leader, follower = pty.openpty()
    terminal = os.fdopen(follower, "w")
    view = LiveView(Progress(plan(1)), terminal, Time())
    with view:
        os.close(leader)
        view(Began(0, 1.0))
        terminal.close()
        view(Ended(0, 2.0, Outcome.CHANGED))


def test_a_closed_stream_does_not_stop_the_run(plan: Plans) -> None:
    view, out, _ = plain(plan(1))
    out.close()
    view(WaveStarted(0.0, 1, 1))
