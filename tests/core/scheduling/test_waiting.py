"""When polling pays: values, and the promise on what it costs and how late it notices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.scheduling.waiting import LATEST, READS, Waits, lists

STOPPING, STARTING = Status.STOPPING, Status.STARTING


def learned(least: float = 1.0, **times: list[float]) -> Waits:
    waits = Waits(least)
    for status, took in times.items():
        for seconds in took:
            waits.took(Status[status], seconds)
    return waits


def test_nothing_is_looked_at_sooner_than_the_shortest_pause() -> None:
    assert learned(5.0).soonest(STOPPING) == 5.0
    assert learned(5.0, STOPPING=[1.0] * 9).soonest(STOPPING) == 5.0


def test_a_few_waits_prove_nothing() -> None:
    assert learned(STARTING=[100.0] * 4).soonest(STARTING) == 1.0
    assert learned(STARTING=[100.0] * 5).soonest(STARTING) == 80.0


def test_the_first_look_comes_before_the_quickest_tenth_is_ready() -> None:
    assert learned(STARTING=[float(n) for n in range(50, 150)]).soonest(STARTING) == pytest.approx(48.0)


def test_each_kind_of_wait_has_times_of_its_own() -> None:
    waits = learned(STOPPING=[20.0] * 5, STARTING=[100.0] * 5)
    assert (waits.mean(STOPPING), waits.mean(STARTING)) == (20.0, 100.0)
    assert waits.soonest(STOPPING) == 16.0


def test_old_times_are_forgotten() -> None:
    assert learned(STOPPING=[500.0] * 100 + [20.0] * 100).mean(STOPPING) == 20.0


def test_a_page_holds_fifty_and_each_status_needs_pages_of_its_own() -> None:
    assert lists({}) == 0
    assert lists({STOPPING: 50}) == 1
    assert lists({STOPPING: 51, STARTING: 1}) == 3


def test_the_more_wait_the_more_often_it_pays_to_poll() -> None:
    waits = learned(STARTING=[100.0] * 5)
    assert waits.pause({STARTING: 1}, 1) == pytest.approx(15.0)
    assert waits.pause({STARTING: 20}, 1) == pytest.approx(5.0)
    assert waits.pause({STARTING: 50}, 1) == pytest.approx(2.0)
    assert waits.pause({STARTING: 50}, 4) == pytest.approx(8.0)
    assert waits.pause({STARTING: 150}, 3) == pytest.approx(2.0)


def test_of_what_nobody_knows_how_long_it_takes_news_is_asked_for_as_often_as_allowed() -> None:
    waits = learned(5.0, STARTING=[100.0] * 5)
    assert waits.pause({STOPPING: 30}, 1) == 5.0
    assert waits.pause({STOPPING: 1, STARTING: 1}, 2) == pytest.approx(LATEST * 50.0)


@given(
    least=st.floats(0.5, 60.0),
    times=st.lists(st.floats(0.1, 3600.0), max_size=30),
    stopping=st.integers(0, 2000),
    starting=st.integers(1, 2000),
    workspaces=st.integers(1, 9),
)
def test_polls_stay_cheap_and_their_news_fresh(
    least: float, times: list[float], stopping: int, starting: int, workspaces: int
) -> None:
    """Either polls cost a wait no more than promised, or they pause as long as freshness allows."""
    waits = learned(least, STARTING=times)
    waiting = {STOPPING: stopping, STARTING: starting}
    count = stopping + starting
    mean = (waits.mean(STOPPING) * stopping + waits.mean(STARTING) * starting) / count
    requests = min(workspaces * lists(waiting), count)
    pause = waits.pause(waiting, requests)
    assert least <= pause <= max(least, LATEST * mean)
    cost = mean / pause * requests / count
    assert cost <= READS * 1.000001 or pause >= LATEST * mean * 0.999999
