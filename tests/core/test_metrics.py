"""Queries for usage: what stands in them, how many notebooks share one, and which templates are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.metrics import MOST_IDS, MOST_SAMPLES, NAMES, QUERY, Queries, template_problem
from fleet.core.usage import Resource

DAY = 86_400.0


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def test_a_query_names_metric_label_ids_and_step() -> None:
    assert Queries().text(Resource.CPU, [uuid(1), uuid(2)]) == (
        "max by (service_id) "
        f'(avg_over_time(ma_container_cpu_util{{service_id=~"{uuid(1)}|{uuid(2)}"}}[600s]))'
    )


def test_of_memory_the_peaks_count() -> None:
    for resource in (Resource.MEMORY, Resource.GPU_MEMORY, Resource.NPU_MEMORY):
        assert "max_over_time" in Queries().text(resource, [uuid(1)])


def test_a_template_of_ones_own() -> None:
    queries = Queries('$metric{pod=~"nb-($ids)"} * 100', names={**NAMES, Resource.CPU: "cpu:rate"}, step=60.0)
    assert queries.text(Resource.CPU, [uuid(1)]) == f'cpu:rate{{pod=~"nb-({uuid(1)})"}} * 100'


def test_what_is_no_uuid_never_gets_into_a_query() -> None:
    with pytest.raises(UsageError, match="not a UUID"):
        Queries().text(Resource.CPU, ['x"} or vector(1)'])


@given(st.integers(0, 300), st.sampled_from([60.0, 600.0, 3600.0]), st.floats(0.01, 7))
def test_every_notebook_is_in_one_group_and_no_answer_grows_large(
    count: int, step: float, days: float
) -> None:
    ids = {uuid(number) for number in range(count)}
    groups = list(Queries(step=step).batches(ids, days * DAY))
    assert sorted(id for group in groups for id in group) == sorted(ids)
    points = int(days * DAY / step) + 1
    assert all(len(group) <= MOST_IDS for group in groups)
    assert all(len(group) * points <= MOST_SAMPLES or len(group) == 1 for group in groups)


def test_too_fine_a_step_is_told_before_anything_is_asked() -> None:
    with pytest.raises(UsageError, match=r"a step of 60 s over 14.0 days makes 20161 samples"):
        list(Queries(step=60.0).batches([uuid(1)], 14 * DAY))


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (QUERY, ""),
        ("$metric{x=~'$ids'}", ""),
        ("$$metric $metric $ids", ""),
        ("up", "must hold $metric and $ids"),
        ("$metric", "must hold $metric and $ids"),
        ("$metric{$wrong=~'$ids'}", "$wrong is no place"),
        ("$metric $ids $", "begins no place"),
    ],
)
def test_templates(template: str, problem: str) -> None:
    found = template_problem(template)
    assert problem in found
    assert bool(problem) is bool(found)
