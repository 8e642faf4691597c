"""AOM's range query: who may ask, what comes back, and how usage follows shape, machine and run state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from fleet.simulator.cloud import Cloud
from fleet.simulator.messages import Request
from fleet.simulator.metrics import LATE
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook, ms

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]

PATH = "aom/api/v1/query_range"
DAY = 86_400.0
STEP = 600.0


def query(metric: str, *ids: str, now: float, days: float = 7.0, step: float = STEP) -> str:
    text = quote(f'max by (service_id) (avg_over_time({metric}{{service_id=~"{"|".join(ids)}"}}[600s]))')
    return f"query={text}&start={now - days * DAY}&end={now}&step={step}"


def values(answer: Any) -> list[float]:
    """The numbers of the only series."""
    (series,) = answer["data"]["result"]
    return [float(value) for _, value in series["values"] if value != "NaN"]


@pytest.fixture
def shaped(cloud: Cloud, plain: Plain, now: float) -> Callable[[str, Status], Notebook]:
    """Gives a well-known notebook that is a year old a shape."""

    def make(shape: str, status: Status = Status.RUNNING) -> Notebook:
        row = plain(cloud, status)
        row.create_at = ms(now - 365 * DAY)
        cloud.world.shapes[row.id] = shape
        return row

    return make


Shaped = Callable[..., Notebook]


def test_the_answer_is_prometheus_matrix_with_text_values(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("busy")
    status, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now))
    assert (status, answer["status"], answer["data"]["resultType"]) == (200, "success", "matrix")
    (series,) = answer["data"]["result"]
    assert series["metric"] == {"service_id": row.id}
    assert {type(at) for at, _ in series["values"]} <= {int, float}
    assert {type(value) for _, value in series["values"]} == {str}


@pytest.mark.parametrize(
    ("shape", "least", "most"), [("busy", 60, 100), ("idle", 0, 8), ("modest", 5, 40), ("spiky", 70, 100)]
)
def test_a_shape_bounds_the_highest_use(
    shaped: Shaped, ask: Ask, now: float, shape: str, least: float, most: float
) -> None:
    row = shaped(shape)
    _, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now))
    assert least <= max(values(answer)) <= most


def test_days_differ_from_nights_and_growth_shows(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("growing")
    _, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now, days=20))
    found = values(answer)
    first, last = found[: len(found) // 4], found[-len(found) // 4 :]
    assert sum(last) > 1.5 * sum(first)
    assert max(last) > 1.2 * min(last)


def test_the_same_question_gets_the_same_answer(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("modest")
    asked = query("ma_container_memory_util", row.id, now=now)
    assert ask("GET", PATH, query=asked) == ask("GET", PATH, query=asked)


def test_on_a_larger_machine_the_same_work_is_a_smaller_share_from_then_on(
    cloud: Cloud, shaped: Shaped, ask: Ask, now: float
) -> None:
    row = shaped("busy", Status.STOPPED)
    row.update_at = ms(now)
    before = values(ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now))[1])
    assert ask("PUT", f"notebooks/{row.id}", {"flavor": "modelarts.vm.cpu.8u"})[0] == 200
    later = now + 0.9 * DAY
    row.update_at = ms(later)
    history = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now), at=later)[1]
    after = query("ma_container_cpu_util", row.id, now=later, days=0.8)
    assert values(history) == before
    assert max(values(ask("GET", PATH, query=after, at=later)[1])) < max(before) / 3


def test_a_stopped_notebook_has_no_samples_since(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("modest", Status.STOPPED)
    row.update_at = ms(now - DAY)
    _, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now))
    (series,) = answer["data"]["result"]
    assert series["values"][-1][0] <= now - DAY


def test_the_last_minutes_are_not_there_yet(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("modest")
    _, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now, days=0.1, step=60))
    (series,) = answer["data"]["result"]
    assert series["values"][-1][0] <= now - LATE


def test_a_processor_alone_has_no_gpu_series(shaped: Shaped, ask: Ask, now: float) -> None:
    row = shaped("busy")
    _, answer = ask("GET", PATH, query=query("ma_container_gpu_util", row.id, now=now))
    assert answer["data"]["result"] == []


@pytest.mark.parametrize("path", [PATH, f"0/{PATH}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_both_methods_and_the_form_with_an_instance_are_reads(
    cloud: Cloud, shaped: Shaped, ask: Ask, now: float, method: str, path: str
) -> None:
    row = shaped("busy")
    status, answer = ask(method, path, query=query("ma_container_cpu_util", row.id, now=now))
    assert (status, len(answer["data"]["result"])) == (200, 1)
    assert not cloud.log[-1].applied


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("query=up&start=1&end=2&step=1", "parse error"),
        ("query=x{a=~%22b%22}&start=1&end=2&step=x", "invalid parameter"),
        ("query=x{a=~%22b%22}&start=1&end=2", "invalid parameter"),
        ("query=x{a=~%22b%22}&start=2&end=1&step=1", "before the start"),
        ("query=x{a=~%22b%22}&start=0&end=1000000&step=1", "11,000 points"),
    ],
)
def test_a_bad_question_is_refused_as_prometheus_does(ask: Ask, wrong: str, told: str) -> None:
    status, answer = ask("GET", PATH, query=wrong)
    assert (status, answer["status"], answer["errorType"]) == (400, "error", "bad_data")
    assert told in answer["error"]


def test_another_projects_notebooks_are_not_shown(cloud: Cloud, ask: Ask, now: float) -> None:
    other = cloud.identity.projects[1].id
    row = next(row for row in cloud.world.notebooks.values() if row.project == other)
    _, answer = ask("GET", PATH, query=query("ma_container_cpu_util", row.id, now=now))
    assert answer["data"]["result"] == []


def test_nobody_asks_without_credentials(cloud: Cloud, now: float) -> None:
    project = cloud.identity.projects[0].id
    asked = Request("GET", f"/v1/{project}/{PATH}", query("ma_container_cpu_util", "x", now=now))
    assert cloud.handle(asked, now).status == 401
