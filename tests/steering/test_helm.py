"""What can be asked of a run, as plain values: one line in, one line out, and what it did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.events import Event, RunEnd, Steered
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.engine.control import Control
from fleet.engine.tape import Tape
from fleet.service.helm import Helm


class Clock:
    def monotonic(self) -> float:
        return 1.0

    def boottime(self) -> float:
        return 1.0

    def wall(self) -> float:
        return 1000.0


class Scope:
    """A scope that remembers the rate it was given."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.rate = Rate(60, 60.0)
        self.shut: dict[str, Shut] = {}

    @property
    def limits(self) -> dict[str, tuple[Limit, ...]]:
        return {self.key: (Limit("configured", self.rate.count, self.rate.window), Limit("user", 30, 60.0))}

    @property
    def waits(self) -> dict[str, str]:
        return {self.key: "the rate"} if self.rate.count == 1 else {}

    def set_rate(self, rate: Rate) -> None:
        self.rate = rate


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def commit(self, event: Event) -> None:
        self.events.append(event)

    def note(self, event: Event) -> None:
        self.events.append(event)


class Run:
    """A helm with what it steers."""

    def __init__(self) -> None:
        self.control, self.recorder = Control(), Recorder()
        self.scopes = {"lab-a": Scope("key a"), "lab-b": Scope("key b")}
        self.helm = Helm(
            self.control, Tape(self.recorder, []), Clock(), self.scopes, 20, {"lab-a": Rate(10, 1.0)}
        )

    def ask(self, do: str, **words: object) -> Any:
        return json.loads(self.helm.answer(json.dumps({"do": do, **words}).encode()))

    @property
    def recorded(self) -> list[str]:
        assert all(isinstance(event, Steered) and event.at == 1000.0 for event in self.recorder.events)
        return [event.what for event in self.recorder.events if isinstance(event, Steered)]


@pytest.fixture
def run() -> Run:
    return Run()


def test_the_status_is_told_and_nothing_is_recorded(run: Run) -> None:
    assert run.ask("status") == {
        "done": True,
        "text": "",
        "misused": False,
        "paused": False,
        "ending": "",
        "concurrency": 20,
        "limits": {
            "key a": ["60/min", "30/min by policy user"],
            "key b": ["60/min", "30/min by policy user"],
        },
        "waits": {},
        "binding": [],
    }
    assert run.recorded == []


def test_a_pause_holds_until_it_is_released_and_each_is_recorded_once(run: Run) -> None:
    assert run.ask("pause")["paused"] is True
    assert run.control.paused
    assert run.ask("pause")["text"] == "is paused already"
    assert run.ask("resume")["paused"] is False
    assert not run.control.paused
    told = run.ask("resume")
    assert (told["done"], told["text"]) == (True, "goes on and is not paused; nothing to do")
    assert run.recorded == ["paused", "resumed"]


def test_a_cancelled_run_ends_as_interrupted(run: Run) -> None:
    run.ask("pause")
    assert run.ask("cancel")["ending"] == "cancelled from another terminal"
    assert run.control.end == (RunEnd.INTERRUPTED, "cancelled from another terminal")
    assert run.recorded == ["paused", "cancelled"]


@pytest.mark.parametrize("do", ["pause", "resume", "cancel", "set"])
def test_a_run_that_is_ending_cannot_be_steered_any_more(run: Run, do: str) -> None:
    run.control.drain(RunEnd.HALTED, "3 failed")
    told = run.ask(do, concurrency=2)
    assert (told["done"], told["misused"], told["text"]) == (False, False, "is ending already: 3 failed")
    assert run.recorded == []


def test_a_rate_is_set_for_every_scope_or_for_those_that_are_named(run: Run) -> None:
    run.ask("set", rate="10/s")
    assert {scope.rate for scope in run.scopes.values()} == {Rate(10, 1.0)}
    told = run.ask("set", rate="5/s", scopes=["lab-b"])
    assert [scope.rate.count for scope in run.scopes.values()] == [10, 5]
    assert told["limits"]["key b"] == ["5/s", "30/min by policy user"]
    assert run.recorded == ["set to rate 10/s", "set to rate 5/s of lab-b"]


def test_how_long_nothing_leaves_under_a_lower_rate_is_told_at_once_and_recorded(run: Run) -> None:
    configured, user = Limit("configured", 30, 60.0), Limit("user", 60, 60.0)
    run.scopes["lab-a"].shut = {"a, reads": Shut(12.0, configured), "a, writes": Shut(44.2, user)}
    writes = "a, writes: nothing may leave for another 44s, as 60/min by policy user is used up"
    reads = "a, reads: nothing may leave for another 12s, as 30/min is used up"
    assert run.ask("set", rate="30/min")["text"] == f"set to rate 30/min; {writes}; {reads}"
    run.scopes["lab-b"].shut = {"b, reads": Shut(50.0, None)}
    text = run.ask("set", rate="20/min", concurrency=3)["text"]
    refused = "b, reads: nothing may leave for another 50s, as the cloud refused more"
    assert text == f"set to concurrency 3, rate 20/min; {refused}; {writes}; 1 more"
    until = "requests wait until 1970-01-01 00:17:{} UTC"
    assert run.recorded == [
        f"set to rate 30/min; {until.format('25')}",
        f"set to concurrency 3, rate 20/min; {until.format('30')}",
    ]


def test_only_of_the_scopes_whose_rate_is_set_it_is_told_that_nothing_leaves(run: Run) -> None:
    run.scopes["lab-a"].shut = {"a, reads": Shut(12.0, Limit("configured", 30, 60.0))}
    assert run.ask("set", rate="5/s", scopes=["lab-b"])["text"] == "set to rate 5/s of lab-b"
    assert run.ask("set", concurrency=3)["text"] == "set to concurrency 3"


def test_a_concurrency_is_set_and_told(run: Run) -> None:
    assert run.ask("set", concurrency=3)["concurrency"] == 3
    assert run.control.concurrency == 3
    assert run.recorded == ["set to concurrency 3"]


@pytest.mark.parametrize(
    ("words", "misused", "complaint"),
    [
        ({"rate": "fast"}, True, "rate 'fast' is not a count and a window"),
        ({"rate": "0/s", "concurrency": 3}, True, "rate '0/s' is not"),
        (
            {"rate": "5/s", "scopes": ["lab-x"], "concurrency": 3},
            True,
            "has no scope lab-x; its scopes are lab-a, lab-b",
        ),
        ({"scopes": ["lab-a"], "concurrency": 3}, True, "nothing to set"),
        ({}, True, "nothing to set; give a rate or a concurrency"),
        ({"concurrency": 0}, False, "not understood"),
        ({"concurrency": 1001}, False, "not understood"),
        ({"rate": "5" * 41}, False, "not understood"),
    ],
)
def test_what_cannot_be_set_changes_nothing(
    run: Run, words: dict[str, object], misused: bool, complaint: str
) -> None:
    told = run.ask("set", **words)
    assert (told["done"], told["misused"]) == (False, misused)
    assert complaint in told["text"]
    assert (run.recorded, run.control.concurrency) == ([], None)
    assert {scope.rate for scope in run.scopes.values()} == {Rate(60, 60.0)}


def test_a_rate_above_the_configured_one_is_refused_and_changes_nothing(run: Run) -> None:
    for words in ({"rate": "601/min"}, {"rate": "11/s", "scopes": ["lab-a"], "concurrency": 3}):
        told = run.ask("set", **words)
        assert (told["done"], told["misused"]) == (False, True)
        assert told["text"] == (
            f"rate {words['rate']} is above the ceiling 10/s of scope lab-a in fleet.toml; set at most that, "
            "or raise it there, cancel the run and resume it"
        )
    assert (run.recorded, run.control.concurrency) == ([], None)
    assert {scope.rate for scope in run.scopes.values()} == {Rate(60, 60.0)}
    assert run.ask("set", rate="600/min")["done"]


def test_a_scope_without_a_configured_rate_takes_any(run: Run) -> None:
    assert run.ask("set", rate="1000/s", scopes=["lab-b"])["done"]
    assert run.scopes["lab-b"].rate == Rate(1000, 1.0)


def test_the_rates_and_what_is_shut_are_recorded_by_scope_and_throttle_key(run: Run) -> None:
    run.scopes["lab-b"].shut = {"b, reads": Shut(12.0, None)}
    run.ask("set", rate="5/s")
    run.ask("set", rate="4/s", scopes=["lab-b"])
    run.ask("set", concurrency=3)
    until = "; requests wait until 1970-01-01 00:16:52 UTC"
    assert run.recorder.events == [
        Steered(
            1000.0,
            f"set to rate 5/s{until}",
            dict.fromkeys(["lab-a", "lab-b"], Rate(5, 1.0)),
            {"b, reads": 1012.0},
        ),
        Steered(1000.0, f"set to rate 4/s of lab-b{until}", {"lab-b": Rate(4, 1.0)}, {"b, reads": 1012.0}),
        Steered(1000.0, "set to concurrency 3"),
    ]


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_rubbish_gets_an_answer_and_changes_nothing(line: bytes) -> None:
    run = Run()
    told = json.loads(run.helm.answer(line))
    assert (told["done"], told["text"]) == (False, "not understood; both sides must be of one version")
    assert (run.recorded, run.control.end, run.control.paused) == ([], None, False)


@pytest.mark.parametrize(
    "line", [b"[" * 4000, b'{"do": "pause", "more": 1}', b'{"do": "stop"}', b'{"do": 1e400}', b"{}"]
)
def test_what_is_nearly_a_question_is_none(run: Run, line: bytes) -> None:
    assert json.loads(run.helm.answer(line))["done"] is False
    assert not run.control.paused


class Budgets:
    """Those of a crew at work."""

    def __init__(self) -> None:
        self.binding = ("concurrency 20",)
        self.ceilings = {"max_failures 3": 3, "max_unavailable of fleet": 10}


def test_the_status_tells_what_the_next_change_and_the_requests_wait_for(run: Run) -> None:
    run.control.budgets = Budgets()
    run.scopes["lab-b"].set_rate(Rate(1, 60.0))
    told = run.ask("status")
    assert (told["binding"], told["waits"]) == (["concurrency 20"], {"key b": "the rate"})


@pytest.mark.parametrize(
    ("concurrency", "words"),
    [
        (3, ""),
        (4, "; but max_failures 3 lets 3 be under way at once"),
        (11, "; but max_failures 3 lets 3 be under way at once"),
    ],
)
def test_a_concurrency_that_other_budgets_forbid_is_set_and_they_are_named(
    run: Run, concurrency: int, words: str
) -> None:
    run.control.budgets = Budgets()
    assert run.ask("set", concurrency=concurrency)["text"] == f"set to concurrency {concurrency}{words}"
    assert run.control.concurrency == concurrency
