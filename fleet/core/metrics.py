"""Where usage is measured, as configured, and the queries that ask for it.

Settings produce these values, `fleet.client.metrics` asks by them. Queries are PromQL from a template; what
may stand in them from outside are notebook ids, which are UUIDs, and the configuration's own words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template

from fleet.core.errors import UsageError
from fleet.core.pacing.limits import Rate
from fleet.core.patch import require_uuid
from fleet.core.usage import Resource

# The highest of all containers and chips of a notebook; a peak of memory matters, one of a processor less.
QUERY = 'max by ($label) ($over($metric{$label=~"$ids"}[$step]))'
LABEL = "service_id"
STEP = 600.0
NAMES: Mapping[Resource, str] = {
    Resource.CPU: "ma_container_cpu_util",
    Resource.MEMORY: "ma_container_memory_util",
    Resource.GPU: "ma_container_gpu_util",
    Resource.GPU_MEMORY: "ma_container_gpu_mem_util",
    Resource.NPU: "ma_container_npu_util",
    Resource.NPU_MEMORY: "ma_container_npu_memory_util",
    Resource.NETWORK_RECEIVE: "ma_container_network_receive_bytes",
}
_MEMORIES = frozenset({Resource.MEMORY, Resource.GPU_MEMORY, Resource.NPU_MEMORY})
PLACES = frozenset({"metric", "label", "ids", "over", "step"})

MOST_SAMPLES = 100_000  # in one answer: about three megabytes
MOST_POINTS = 11_000  # of one series, Prometheus gives no more
MOST_IDS = 40  # in one query, which is part of a URL


@dataclass(frozen=True, slots=True)
class Queries:
    """How to ask a source that speaks PromQL. `step` is the interval between two samples in seconds."""

    template: str = QUERY
    label: str = LABEL
    names: Mapping[Resource, str] = field(default_factory=lambda: NAMES)
    step: float = STEP

    def text(self, resource: Resource, ids: Sequence[str]) -> str:
        """The query for one resource of these notebooks. Raises UsageError for an id that is no UUID."""
        return Template(self.template).substitute(
            metric=self.names[resource],
            label=self.label,
            ids="|".join(require_uuid("notebook id", id) for id in ids),
            over="max_over_time" if resource in _MEMORIES else "avg_over_time",
            step=f"{self.step:.0f}s",
        )

    def batches(self, ids: Collection[str], window: float) -> Iterator[list[str]]:
        """The notebooks in groups whose answers stay small. Raises UsageError for too fine a step."""
        points = int(window / self.step) + 1
        if points > MOST_POINTS:
            raise UsageError(
                f"metrics: a step of {self.step:.0f} s over {window / 86400:.1f} days makes {points} samples "
                f"a series, at most {MOST_POINTS} are given; set a longer step"
            )
        size = max(1, min(MOST_IDS, MOST_SAMPLES // points))
        ordered = sorted(ids)
        for begin in range(0, len(ordered), size):
            yield ordered[begin : begin + size]


def template_problem(template: str) -> str:
    """What is wrong with a query template; empty for a usable one."""
    text = Template(template)
    if not text.is_valid():
        return "holds a $ that begins no place; write $$ for the character itself"
    unknown = sorted(set(text.get_identifiers()) - PLACES)
    if unknown:
        return f"${unknown[0]} is no place; there are ${', $'.join(sorted(PLACES))}"
    if not {"metric", "ids"} <= set(text.get_identifiers()):
        return "must hold $metric and $ids"
    return ""


@dataclass(frozen=True, slots=True)
class AomMetrics:
    """AOM's Prometheus query API of the scope's own project, with its credentials.

    `instance` is the id of a Prometheus instance, empty for the call without one.
    """

    endpoint: str
    instance: str = ""
    queries: Queries = field(default_factory=Queries)
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class PrometheusMetrics:
    """A Prometheus server at `origin` below `path`; the token is sent there and nowhere else.

    `token_source` says in words where the token was found.
    """

    origin: str
    path: str = ""
    token: str = field(default="", repr=False)
    queries: Queries = field(default_factory=Queries)
    rate: Rate | None = None
    ca_file: str | None = None
    token_source: str = ""


@dataclass(frozen=True, slots=True)
class FileMetrics:
    """A file with a sample a line: CSV with a header, or JSON objects."""

    path: str
    step: float = STEP


Metrics = AomMetrics | PrometheusMetrics | FileMetrics
