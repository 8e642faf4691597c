"""Faults: each kind does what it says, to what it matches, as often as it may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fleet.simulator.cloud import Cloud
from fleet.simulator.documents import DocumentError
from fleet.simulator.faults import (
    FailingStart,
    Fault,
    FaultPlan,
    LostAnswer,
    Match,
    ServerError,
    SlowAnswer,
    SlowStart,
    SoldOut,
    Throttled,
    load_faults,
)
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

    def make(faults: Sequence[Fault]) -> tuple[Cloud, Ask, Notebook]:
        cloud = make_cloud(notebooks=40, seed=9, now=now, projects=1, faults=faults)
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
    verdict = plan.verdict(Operation.UPDATE_NOTEBOOK, "PUT", None, now)
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
    faults = [ServerError(match=Match(notebook=ids[0]))]
    ask = caller_of(make_cloud(notebooks=40, seed=9, now=now, projects=1, faults=faults))
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


def test_the_documented_example_loads() -> None:
    faults = load_faults(
        """
        - {kind: throttle, match: {method: PUT}, times: 5, limit: 60, seconds: 60}
        - {kind: server-error, match: {operation: UpdateNotebook}, status: 502, applied: true}
        - {kind: lost-answer, match: {operation: StopNotebook}, probability: 0.1, applied: false}
        - {kind: slow-answer, match: {method: GET}, seconds: 5}
        - {kind: slow-start, match: {notebook: "lab-*"}, seconds: 600}
        - {kind: failing-start, times: 1, reason: "pull image failed"}
        - {kind: sold-out, flavor: "modelarts.vm.gpu.*", after: 60, until: 600}
        """
    )
    assert [fault.kind for fault in faults] == [
        "throttle",
        "server-error",
        "lost-answer",
        "slow-answer",
        "slow-start",
        "failing-start",
        "sold-out",
    ]
    assert faults[1] == ServerError(match=PUTS, status=502, applied=True)
    assert load_faults("") == ()


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
        ("- {kind: lost-answer, match: {operation: Updatenotebook}}", ["operation"]),
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
