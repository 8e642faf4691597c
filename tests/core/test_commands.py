"""Commands in a text are made whole, wherever they stand in it."""

from __future__ import annotations

import pytest

from fleet.core.commands import elsewhere, whole

CONFIG, RUNS = " --config '/my files/fleet.toml'", " --run-dir /runs"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("see: fleet report R", f"see: fleet report R{CONFIG}{RUNS}"),
        ("see: fleet runs", f"see: fleet runs{CONFIG}{RUNS}"),
        (
            "see: fleet report R, then: fleet resume R\n",
            f"see: fleet report R{CONFIG}{RUNS}, then: fleet resume R{CONFIG}{RUNS}\n",
        ),
        ("waits (type 1, or: fleet approve R)", f"waits (type 1, or: fleet approve R{CONFIG}{RUNS})"),
        ("one: fleet resume R; two", f"one: fleet resume R{CONFIG}{RUNS}; two"),
        ("fleet undo R -o PLAN\nmore", f"fleet undo R -o PLAN{CONFIG}{RUNS}\nmore"),
        ("fleet start --scope a b --duration -1", f"fleet start --scope a b --duration -1{CONFIG}"),
        ("with: fleet ls -s 'id == \"x, y\"'", f"with: fleet ls -s 'id == \"x, y\"'{CONFIG}"),
        ("fleet resume R (soon)", f"fleet resume R{CONFIG}{RUNS} (soon)"),
        (f"fleet resume R{RUNS}x", f"fleet resume R{RUNS}x{CONFIG}"),
        (f"fleet start x{CONFIG}y", f"fleet start x{CONFIG}y"),
    ],
)
def test_a_command_gets_the_options_that_it_lacks(text: str, made: str) -> None:
    assert whole(text, CONFIG, RUNS) == made
    assert whole(made, CONFIG, RUNS) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "while the fleet was read",
        "a notebook-fleet start",
        "fleet show plan.json --all",
        "fleets resume R",
        "fleet resumed R",
        "/home/fleet report",
    ],
)
def test_what_is_no_command_or_needs_no_options_stays(text: str) -> None:
    assert whole(text, CONFIG, RUNS) == text


def test_without_options_a_text_stays() -> None:
    assert whole("see: fleet report R; now") == "see: fleet report R; now"


def test_a_run_in_another_place_keeps_its_own() -> None:
    command = f"fleet resume {elsewhere('R', '/over there')}"
    assert whole(command, CONFIG, RUNS) == f"fleet resume R --run-dir '/over there'{CONFIG}"
