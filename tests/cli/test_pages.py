"""How far a listing has come is told now and then, never on stdout, and not at all when it is short."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.cli import listing, planning
from fleet.cli.pages import PageProgress

Lab = Any
Shell = Any


class Watch:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(capsys: pytest.CaptureFixture[str], *, terminal: bool) -> str:
    """What is said of 35 pages, one a second."""
    clock = Watch()
    with PageProgress(clock, terminal=terminal) as pages:
        for page in range(1, 36):
            clock.now += 0.5
            pages("lab-a", 1, page, 35)
            clock.now += 0.5
            pages("lab-\x1b[31mb", 2, page, None)
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_pipe_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, terminal=False).splitlines()
    assert lines == [f"lab-\\x1b[31mb: page {page}, pass 2" for page in (10, 20, 30)]


def test_a_terminal_gets_one_line_that_changes_every_second_and_is_gone_in_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *parts, last = shown(capsys, terminal=True).split("\r\x1b[K")
    assert (first, last, len(parts)) == ("", "", 35)
    assert "\n" not in "".join(parts)


def test_a_page_is_told_with_the_number_of_all_if_the_cloud_says_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Watch()
    pages = PageProgress(clock, terminal=False)
    clock.now = 10.0
    pages("lab-a", 1, 12, 34)
    assert capsys.readouterr().err == "lab-a: page 12 of 34, pass 1\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands for which ten seconds pass between two pages."""

    def make(now: Any) -> PageProgress:
        clock = iter(range(0, 10_000, 10))
        return PageProgress(lambda: float(next(clock)), terminal=False)

    monkeypatch.setattr(listing, "PageProgress", make)
    monkeypatch.setattr(planning, "PageProgress", make)


@pytest.mark.parametrize("words", [["ls", "--count"], ["plan", "job.yaml"]])
@pytest.mark.usefixtures("impatient")
def test_commands_that_list_tell_how_far_they_are(lab: Lab, shell: Shell, words: list[str]) -> None:
    said = shell(*words).said
    assert "lab-a: page 1 of 1, pass 1" in said
    assert "lab-b: page 1 of 1, pass 2" in said


@pytest.mark.usefixtures("impatient")
def test_the_first_line_of_a_run_in_a_pipe_still_names_the_run(lab: Lab, shell: Shell) -> None:
    result = shell("run", lab.pick(1), "--yes", "--run-dir", lab.runs)
    assert result.said[0] == f"run {result.run}"
