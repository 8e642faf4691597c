"""Faults: each kind does what it says, to what it matches, as often as it may."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.simulator import faults
from fleet.simulator.cloud import Cloud
from fleet.simulator.documents import DocumentError
from fleet.simulator.faults import (
    Bomb,
    FailingStart,
    Fault,
    FaultPlan,
    LostAnswer,
    Match,
    Occasion,
    ServerError,
    SlowAnswer,
    SlowStart,
    SoldOut,
    Throttled,
    load_faults,
)
from fleet.simulator.messages import Request
from fleet.simulator.routing import Operation
from fleet.simulator.rules import Rules, load_rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]
Scene = Callable[[Sequence[Fault]], tuple[Cloud, Ask, Notebook]]


@pytest.fixture
def scene(caller_of: Callable[[Cloud], Ask], plain: Plain, now: float) -> Scene:
    """A cloud with these faults, its caller, and a stopped notebook."""

    def make(wrong: Sequence[Fault]) -> tuple[Cloud, Ask, Notebook]:
        cloud = make_cloud(notebooks=40, seed=9, now=now, projects=1, faults=wrong)
        return cloud, caller_of(cloud), plain(cloud, Status.STOPPED)

    return make


RENAME = {"name": "renamed"}
PUTS = Match(operation=Operation.UPDATE_NOTEBOOK)


def test_throttling_answers_429_and_applies_nothing(scene: Scene) -> None:
    cloud, ask, notebook = scene([Throttled(match=PUTS, times=1, limit=5, seconds=10)])
    status, reply = ask("PUT", f"notebooks/{notebook.id}", RENAME)
    assert (status, reply["error_code"]) == (429, "APIGW.0308")
    assert reply["error_msg"].endswith("limit:5,time:10 second")
    assert notebook.name != "renamed"
    assert not cloud.log[-1].applied


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_comes_before_or_after_applying(scene: Scene, status: Any, applied: bool) -> None:
    cloud, ask, notebook = scene([ServerError(match=PUTS, status=status, applied=applied)])
    got, reply = ask("PUT", f"notebooks/{notebook.id}", RENAME)
    assert got == status
    assert reply["error_code"]
    assert (notebook.name == "renamed") is applied
    assert (cloud.log[-1].applied, cloud.log[-1].status) == (applied, status)


@pytest.mark.parametrize("applied", [False, True])
def test_a_lost_answer_is_no_answer(scene: Scene, applied: bool) -> None:
    cloud, ask, notebook = scene([LostAnswer(match=PUTS, applied=applied, times=1)])
    _, reply = ask("PUT", f"notebooks/{notebook.id}", RENAME)
    assert reply is None
    assert (notebook.name == "renamed") is applied
    record = cloud.log[-1]
    assert (record.applied, record.answered, record.status) == (
        applied,
        False,
        200 if applied else 0,
    )


def test_a_slow_start_takes_longer(scene: Scene, now: float) -> None:
    cloud, ask, notebook = scene([SlowStart(seconds=5000)])
    ask("POST", f"notebooks/{notebook.id}/start", query="duration=36000000")
    seen = []
    for wait in (5000, 7000):
        cloud.settle(now + wait)
        seen.append(notebook.status)
    assert seen == [Status.STARTING, Status.RUNNING]


def test_a_failing_start_leaves_its_reason_and_the_next_one_works(scene: Scene, now: float) -> None:
    _, ask, notebook = scene([FailingStart(times=1, reason="no such image")])
    path = f"notebooks/{notebook.id}"
    assert ask("POST", f"{path}/start")[1]["status"] == "STARTING"
    failed = ask("GET", path, at=now + 1800)[1]
    assert (failed["status"], failed["fail_reason"]) == ("START_FAILED", "no such image")
    ask("POST", f"{path}/start", at=now + 1800)
    started = ask("GET", path, at=now + 3600)[1]
    assert started["status"] == "RUNNING"
    assert "fail_reason" not in started


def test_a_refused_start_does_not_use_a_fault_up(scene: Scene, plain: Plain, now: float) -> None:
    cloud, ask, notebook = scene([FailingStart(times=1)])
    running = plain(cloud, Status.RUNNING)
    assert ask("POST", f"notebooks/{running.id}/start")[0] == 400
    ask("POST", f"notebooks/{notebook.id}/start")
    cloud.settle(now + 1800)
    assert notebook.status is Status.START_FAILED


def test_sold_out_flavors_can_neither_be_switched_to_nor_started_on(scene: Scene, now: float) -> None:
    _, ask, notebook = scene([SoldOut(flavor="modelarts.vm.cpu.*", until=60)])
    path = f"notebooks/{notebook.id}"
    put = ask("PUT", path, {"flavor": "modelarts.vm.cpu.4u"})[1]
    assert put["error_code"] == "ModelArts.6716"
    assert ask("POST", f"{path}/start")[1]["error_code"] == "ModelArts.6716"
    rows = {row["id"]: row["sold_out"] for row in ask("GET", f"{path}/flavors")[1]["data"]}
    assert rows["modelarts.vm.cpu.4u"]
    assert not rows["modelarts.vm.gpu.t4"]
    assert ask("POST", f"{path}/start", at=now + 60)[0] == 200


def test_slow_answers_add_up_and_are_applied_at_once(now: float) -> None:
    plan = FaultPlan([SlowAnswer(seconds=5), SlowAnswer(seconds=2)], seed=1, started_at=now)
    verdict = plan.verdict(Occasion(Operation.UPDATE_NOTEBOOK, "PUT", None), now)
    assert (verdict.applies, verdict.delay) == (True, 7)


@pytest.mark.parametrize(
    ("match", "hits"),
    [
        (Match(), True),
        (Match(method="PUT"), True),
        (Match(method="GET"), False),
        (Match(operation=Operation.START_NOTEBOOK), False),
        (Match(notebook="*-00*"), True),
        (Match(notebook="nobody"), False),
        (Match(method="PUT", notebook="nobody"), False),
    ],
)
def test_a_fault_hits_what_it_matches(scene: Scene, match: Match, hits: bool) -> None:
    _, ask, notebook = scene([ServerError(match=match)])
    assert (ask("PUT", f"notebooks/{notebook.id}", RENAME)[0] == 500) is hits


def test_a_notebook_can_be_matched_by_id(caller_of: Callable[[Cloud], Ask], now: float) -> None:
    ids = list(make_cloud(notebooks=40, seed=9, now=now, projects=1).world.notebooks)
    wrong = [ServerError(match=Match(notebook=ids[0]))]
    ask = caller_of(make_cloud(notebooks=40, seed=9, now=now, projects=1, faults=wrong))
    assert [ask("GET", f"notebooks/{row_id}")[0] for row_id in ids[:2]] == [500, 200]


def test_times_and_hours_bound_a_fault(scene: Scene, now: float) -> None:
    _, ask, notebook = scene([ServerError(times=2, after=10, until=100)])
    path = f"notebooks/{notebook.id}"
    moments = [0, 9.9, 10, 11, 12]
    assert [ask("GET", path, at=now + at)[0] for at in moments] == [200, 200, 500, 500, 200]
    _, ask, notebook = scene([ServerError(after=10, until=100)])
    assert [ask("GET", path, at=now + at)[0] for at in (99.9, 100)] == [500, 200]


def test_probability_is_seeded(scene: Scene) -> None:
    def strikes() -> list[int]:
        _, ask, notebook = scene([ServerError(probability=0.3)])
        return [ask("GET", f"notebooks/{notebook.id}")[0] for _ in range(200)]

    once = strikes()
    assert 30 < once.count(500) < 90
    assert strikes() == once


DOCUMENTED = "\n".join(re.findall(r"^    (- \{.*)$", faults.__doc__ or "", re.MULTILINE))


def test_every_kind_is_documented_and_the_examples_load() -> None:
    loaded = load_faults(DOCUMENTED)
    assert len(loaded) == DOCUMENTED.count("\n") + 1
    assert {type(fault) for fault in loaded} == set(typing.get_args(Fault))
    assert loaded[2] == ServerError(match=PUTS, status=502, applied=True)
    assert len({fault.kind for fault in loaded}) == len(typing.get_args(Fault))
    assert load_faults("") == ()


LIGHT = [fault for fault in load_faults(DOCUMENTED) if not isinstance(fault, Bomb)]
CALLS = (
    ("GET", "notebooks/all?limit=10"),
    ("GET", "notebooks/all?limit=10&offset=10"),
    ("GET", "notebooks?limit=10&offset=10&status=RUNNING"),
    ("GET", "notebooks/{}"),
    ("PUT", "notebooks/{}"),
    ("POST", "notebooks/{}/start"),
    ("POST", "notebooks/{}/stop"),
    ("DELETE", "notebooks/{}"),
    ("GET", "notebooks/{}/flavors"),
    ("GET", "images/{}"),
    ("GET", "nowhere"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(CALLS), st.integers(0, 4), st.sampled_from([0.0, 1.0, 40.0, 300.0, 4000.0])),
    max_size=25,
)


def history(
    wrong: Sequence[Fault], steps: Sequence[tuple[tuple[str, str], int, float]], seed: int
) -> list[str]:
    """The log of a cloud with these faults and calls, each so many seconds after the one before."""
    at = 1_764_000_000.0
    cloud = make_cloud(notebooks=30, seed=seed, now=at, projects=1, faults=wrong)
    token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, at)
    rows = list(cloud.world.notebooks)
    for (method, path), index, wait in steps:
        at += wait
        address, _, query = f"/v1/{cloud.identity.projects[0].id}/{path}".format(rows[index]).partition("?")
        reply = cloud.handle(Request(method, address, query, {"x-auth-token": token}, b"{}"), at)
        assert isinstance(reply.status, int)
    return [record.to_line() for record in cloud.log]


@settings(max_examples=60)
@given(wrong=st.lists(st.sampled_from(LIGHT), max_size=6), steps=STEPS)
def test_any_faults_at_once_break_nothing_and_are_the_same_every_time(
    wrong: list[Fault], steps: list[tuple[tuple[str, str], int, float]]
) -> None:
    assert history(wrong, steps, seed=4) == history(wrong, steps, seed=4)


def test_another_seed_gives_other_strokes() -> None:
    wrong = load_faults("- {kind: server-error, probability: 0.5}")
    steps = [(CALLS[0], 0, 1.0)] * 40
    codes = {seed: [json.loads(line)["status"] for line in history(wrong, steps, seed)] for seed in (4, 5)}
    assert codes[4] != codes[5]
    assert {200, 500} == set(codes[4])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {kind: throttle, mach: {}}", ["item 1", "unknown key 'mach'", "'match'"]),
        ("- {kind: throttle, match: {metod: PUT}}", ["unknown key 'metod'", "'method'"]),
        ("- {kind: trottle}", ["item 1", "'trottle'", "'throttle'"]),
        ("- {kind: throttle}\n- {times: 3}", ["item 2", "kind"]),
        ("- {kind: server-error, status: 418}", ["item 1", "status", "500"]),
        ("- {kind: slow-start}", ["item 1", "seconds"]),
        ("- {kind: slow-start, seconds: soon}", ["seconds", "number"]),
        ("- {kind: lost-answer, probability: 2}", ["probability", "1"]),
        ("- {kind: lost-answer, times: 0}", ["times"]),
        ("- {kind: lost-answer, match: {operation: Updatenotebook}}", ["operation", "mean 'UpdateNotebook'"]),
        ("- {kind: rest}", ["item 1", "'rest'", "did you mean 'reset'?"]),
        ("- {kind: skewed-clok, seconds: 3}", ["'skewed-clok'", "did you mean 'skewed-clock'?"]),
        ("- {kind: volcano}", ["'volcano'", "known are", "'"]),
        ("- {kind: freeze, secnds: 3}", ["item 1", "unknown key 'secnds'", "did you mean 'seconds'?"]),
        ("- {kind: reset, aplied: true}", ["unknown key 'aplied'", "did you mean 'applied'?"]),
        ("- {kind: reset, chunkd: true}", ["unknown key 'chunkd'"]),
        ("- {kind: tokens-expire, until: 3}", ["unknown key 'until'"]),
        ("- {kind: person, does: [strat]}", ["does", "did you mean 'start'?"]),
        ("- {kind: person, does: []}", ["does", "at least 1"]),
        ("- {kind: person, does: [update]}", ["set", "goes with update"]),
        ("- {kind: person, does: [stop], set: {name: x}}", ["set", "goes with update"]),
        ("- {kind: freeze, match: {operation: StopNotebook}}", ["match.operation goes with call"]),
        ("- {kind: error, match: {calls: writes}}", ["match.calls goes with call"]),
        ("- {kind: error, until: 9}", ["until goes with call"]),
        ("- {kind: person, does: [stop], wait: 9}", ["wait goes with call"]),
        ("- {kind: stuck, status: STOPING}", ["status", "did you mean 'STOPPING'?"]),
        ("- {kind: redirect}", ["item 1", "to"]),
        ('- {kind: redirect, to: "http://x/\\r\\nSet-Cookie: a"}', ["to", "pattern"]),
        ("- {kind: bomb, megabytes: 0}", ["megabytes", "greater than 0"]),
        ("- {kind: odd-answer, body: nul}", ["body", "did you mean 'null'?"]),
        ("kind: throttle", ["list"]),
        ("- {kind: throttle, kind: sold-out}", ["written twice", "line 1"]),
        ("- {kind: [}", ["not valid YAML", "line 1"]),
        ("- !!python/object/apply:os.getcwd []", ["not valid YAML"]),
        ("- {kind: throttle, after: .nan}", ["faults.yaml"]),
    ],
)
def test_a_bad_file_is_one_clear_line(text: str, words: list[str]) -> None:
    with pytest.raises(DocumentError) as caught:
        load_faults(text, "faults.yaml")
    message = str(caught.value)
    assert message.startswith("faults.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_rules_load_and_name_the_nearest_key() -> None:
    assert load_rules("") == Rules()
    assert load_rules("{rules: observed, missing: 404}") == Rules(rules="observed", missing=404)
    with pytest.raises(DocumentError, match=r"^rules: unknown key 'rulse'; did you mean 'rules'"):
        load_rules("rulse: seed")
    with pytest.raises(DocumentError, match=r"^r.yaml: endpoints: .*'replace' or 'merge'"):
        load_rules("endpoints: add", "r.yaml")
    with pytest.raises(DocumentError, match=r"throttle.*limit"):
        load_rules("throttle: [{limit: 0}]")
