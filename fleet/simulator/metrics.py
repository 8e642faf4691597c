"""Usage as AOM keeps it: seeded series by notebook, behind Prometheus's range query.

What a notebook does with its machine follows a shape: so much of the machine that it began on, more by day
than by night, with noise, bursts and growth. On a larger machine the same work is a smaller share, from the
moment of the change on. A stopped notebook has no samples since, and the last minutes are not there yet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from fleet.simulator.catalog import machine
from fleet.simulator.messages import Answer, Call, answer, to_json
from fleet.simulator.states import Status
from fleet.simulator.world import Flavor, Notebook, World

LATE = 300.0  # s until a sample can be seen
MOST_POINTS = 11_000
DAY = 86_400.0
NOON = 5 * 3600.0  # the busiest moment, in seconds of the UTC day
LABEL = "service_id"

_SELECTOR = re.compile(r'(?P<name>[A-Za-z_:][\w:]*)\{(?P<label>\w+)=~?"(?P<ids>[^"]*)"')


@dataclass(frozen=True, slots=True)
class Shape:
    """Shares of the first machine: at night, how much more by day, noise, bursts, and growth a day.

    In one interval of `burst_every` there is a burst; memory follows the processor at `memory` of its level.
    """

    night: float
    day: float = 0.0
    noise: float = 0.02
    burst: float = 0.0
    burst_every: int = 40
    growth: float = 0.0
    memory: float = 1.0


SHAPES: Mapping[str, Shape] = {
    "busy": Shape(0.65, 0.25, noise=0.05),
    "idle": Shape(0.01, 0.02, noise=0.01, memory=3.0),
    "modest": Shape(0.08, 0.25),
    "spiky": Shape(0.05, 0.10, burst=0.75, burst_every=15),
    "growing": Shape(0.20, 0.10, growth=0.03),
}
_COMMON = {"modest": 35, "idle": 30, "busy": 15, "spiky": 10, "growing": 10}


def query_range(world: World, call: Call) -> Answer:
    """GET or POST query_range, of which only the selector of the metric means something here."""
    try:
        start, end, step = (float(call.query[name]) for name in ("start", "end", "step"))
        found = _SELECTOR.search(call.query["query"])
    except (KeyError, ValueError):
        return _bad("invalid parameter")
    if found is None:
        return _bad("invalid parameter query: parse error")
    if not (step > 0 and start <= end):
        return _bad("invalid parameter: the end is before the start, or there is no step")
    if (end - start) / step > MOST_POINTS:
        return _bad("exceeded maximum resolution of 11,000 points per timeseries")
    result = [
        {"metric": {LABEL: row.id}, "values": values}
        for row in _selected(world, call.project, found)
        if (values := list(_samples(world, row, found["name"], call.now, start, end, step)))
    ]
    return answer({"status": "success", "data": {"resultType": "matrix", "result": result}})


def _bad(text: str) -> Answer:
    return Answer(to_json({"status": "error", "errorType": "bad_data", "error": text}), status=400)


def _selected(world: World, project: str, found: re.Match[str]) -> Iterator[Notebook]:
    if found["label"] == LABEL:
        for notebook_id in found["ids"].split("|"):
            row = world.notebooks.get(notebook_id)
            if row is not None and row.project == project:
                yield row


@dataclass(frozen=True, slots=True)
class _Moment:
    """A notebook at one instant: the machine that it began on, the one that it was on, its work.

    `work` is the share of the first machine that it needed.
    """

    shape: Shape
    born: Flavor
    on: Flavor
    work: float


def _samples(
    world: World, row: Notebook, metric: str, now: float, start: float, end: float, step: float
) -> Iterator[list[Any]]:
    """Instants and values; each tells of the step that ends there."""
    measured, born = _METRICS.get(metric), _machine_at(world, row, 0.0)
    if measured is None or born is None:
        return
    last = now - LATE if row.status is Status.RUNNING else row.update_at / 1000
    phase = Random(f"{world.seed}/phase/{row.id}").random()
    shape = SHAPES[shape_of(world, row)]
    at = start + max(0, math.ceil((row.create_at / 1000 - start) / step)) * step
    while at <= min(end, last):
        on = _machine_at(world, row, at - step)
        value = None if on is None else measured(_Moment(shape, born, on, _work(shape, now - at, at, phase)))
        if value is None:
            return
        yield [at, "NaN" if _dice(at, phase, 7) < 0.002 else f"{value:.3f}"]
        at += step


def shape_of(world: World, row: Notebook) -> str:
    """The name of the notebook's shape: the one set in `world.shapes`, else a seeded one."""
    drawn = Random(f"{world.seed}/shape/{row.id}").choices(list(_COMMON), list(_COMMON.values()))[0]
    return world.shapes.get(row.id, drawn)


def _machine_at(world: World, row: Notebook, at: float) -> Flavor | None:
    """What the notebook ran on at that wall second."""
    flavor = next((flavor for until, flavor in row.machines if at < until), row.flavor)
    return machine(world, flavor, row.custom_spec)


def _work(shape: Shape, age: float, at: float, phase: float) -> float:
    """How much of its first machine a notebook needs at an instant that is `age` seconds ago."""
    sun = max(0.0, math.cos((at - NOON) / DAY * 2 * math.pi))
    work = shape.night + shape.day * sun + shape.noise * _dice(at, phase, 1)
    if shape.burst and _dice(at, phase, 2) * shape.burst_every < 1:
        work += shape.burst
    return work * max(0.1, 1.0 - shape.growth * age / DAY)


def _dice(at: float, phase: float, salt: int) -> float:
    """From 0 to 1, the same for the same instant and notebook."""
    return math.modf(abs(math.sin(at * 0.0137 + phase * 977.0 + salt * 71.3) * 43758.5453))[0]


def _share(work: float, had: float, has: float) -> float:
    return min(100.0, 100.0 * work * had / has)


def _cpu(moment: _Moment) -> float | None:
    return _share(moment.work, moment.born.vcpus, moment.on.vcpus)


def _memory(moment: _Moment) -> float | None:
    work = min(0.9, moment.shape.memory * moment.work)
    return _share(work, moment.born.memory, moment.on.memory)


def _gpu(moment: _Moment) -> float | None:
    had, has = moment.born.gpu, moment.on.gpu
    return None if had is None or has is None else _share(moment.work, had[1], has[1])


def _npu(moment: _Moment) -> float | None:
    had, has = moment.born.ascend, moment.on.ascend
    return None if had is None or has is None else _share(moment.work, had[1], has[1])


def _network(moment: _Moment) -> float | None:
    """Bytes a second: who computes also loads data, who does not is not at the keyboard either."""
    return max(0.0, moment.work - 0.04) * 1_000_000


_METRICS: Mapping[str, Callable[[_Moment], float | None]] = {
    "ma_container_cpu_util": _cpu,
    "ma_container_memory_util": _memory,
    "ma_container_gpu_util": _gpu,
    "ma_container_gpu_mem_util": _gpu,
    "ma_container_npu_util": _npu,
    "ma_container_npu_memory_util": _npu,
    "ma_container_network_receive_bytes": _network,
}
