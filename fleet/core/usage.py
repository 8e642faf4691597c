"""How much of its machine a notebook used: from samples to the few numbers that a decision needs.

Samples come in any order from any source (`fleet.client.metrics` reads them), so nothing about them is
trusted: what is no number, negative or outside of the window is dropped, a share above 100 % counts as
100 %. Of all samples of one interval the highest stays.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from fleet.core.duration import duration

COARSEST = 3600.0  # s; samples that are further apart than this leave a gap


class Resource(StrEnum):
    """What is measured: shares of what the flavor has in percent, and what comes in in bytes a second."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"
    GPU_MEMORY = "gpu_memory"
    NPU = "npu"
    NPU_MEMORY = "npu_memory"
    NETWORK_RECEIVE = "network_receive"


@dataclass(frozen=True, slots=True)
class UsageWanted:
    """Which usage a job must know: `window` seconds back from now, and at which percentile.

    `file` is a path relative to the job file, to be read instead of what the scope is configured to ask.
    """

    window: float
    percentile: float
    resources: tuple[Resource, ...]
    file: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """How much of one resource was used: at the percentile asked for, and at most.

    `share` is the part of the window that has data, from 0 to 1; `first` and `last` are the wall seconds of
    the oldest and the newest, and `hole` the longest time (s) between them that has none.
    """

    usual: float
    peak: float
    share: float
    first: float
    last: float
    hole: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What one notebook used; a resource without any data is missing."""

    window: float
    percentile: float
    levels: Mapping[Resource, Level]

    def share(self, resource: Resource) -> float:
        """The part of the window that has data."""
        level = self.levels.get(resource)
        return 0.0 if level is None else level.share


class Book:
    """Samples of some notebooks, an interval of `step` seconds each.

    `since` says for every notebook from which wall second on samples count: what it used on an earlier
    flavor says nothing about this one. Nothing before `until` - `window` counts, nor after `until`.
    """

    def __init__(self, since: Mapping[str, float], *, window: float, until: float, step: float) -> None:
        self.window = window
        self.until = until
        self.step = step
        self.begin = until - window
        self._since = {id: max(at, self.begin) for id, at in since.items()}
        self._slots = max(1, math.ceil(window / step))
        self._highest: dict[tuple[str, Resource], array[float]] = {}

    @property
    def notebooks(self) -> Collection[str]:
        """The notebooks that samples are kept of."""
        return self._since.keys()

    def take(self, notebook: str, resource: Resource, at: float, value: float) -> None:
        """Keeps one sample, unless it is of no use. `at` is in wall seconds."""
        since = self._since.get(notebook)
        if since is None or not since <= at <= self.until or not 0.0 <= value < math.inf:
            return
        if resource is not Resource.NETWORK_RECEIVE:
            value = min(value, 100.0)
        series = self._highest.get((notebook, resource))
        if series is None:
            series = self._highest[notebook, resource] = array("d", [-1.0]) * self._slots
        slot = min(int((at - self.begin) / self.step), self._slots - 1)
        series[slot] = max(series[slot], value)

    def usages(self, percentile: float) -> Iterator[tuple[str, Usage]]:
        """The usage of every notebook, with no levels where there was no data."""
        return self._usages(self.window, percentile)

    def latest(self, lasting: float) -> Iterator[tuple[str, Usage]]:
        """The usage of every notebook in `lasting` seconds, back from the newest data of each resource.

        The window must be longer, as data appear late. The last sample before those seconds counts for what
        has data, not for what was used.
        """
        return self._usages(lasting, 100.0)

    def _usages(self, lasting: float, percentile: float) -> Iterator[tuple[str, Usage]]:
        for notebook in self._since:
            levels = {
                resource: self._level(self._highest[notebook, resource], lasting, percentile)
                for resource in Resource
                if (notebook, resource) in self._highest
            }
            yield notebook, Usage(lasting, percentile, levels)

    def _end_of(self, slot: int) -> float:
        return min(self.until, self.begin + (slot + 1) * self.step)

    def _level(self, series: array[float], lasting: float, percentile: float) -> Level:
        filled = [slot for slot, value in enumerate(series) if value >= 0.0]
        # The newest sample may lie at the very beginning of its interval.
        newest = self.begin + filled[-1] * self.step
        earlier = bisect_right(filled, newest - lasting, key=self._end_of)
        values = sorted(series[slot] for slot in filled[earlier:])
        filled = filled[max(0, earlier - 1) :]
        # What is measured less often than we ask still covers the time between two samples.
        gaps = sorted(after - before for before, after in pairwise(filled)) or [1]
        usual_gap = gaps[len(gaps) // 2]
        covers = max(1.0, min(usual_gap, COARSEST / self.step))
        return Level(
            usual=values[max(0, math.ceil(percentile / 100.0 * len(values)) - 1)],
            peak=values[-1],
            share=min(1.0, len(filled) * covers / self._slots),
            first=self._end_of(filled[0]),
            last=self._end_of(filled[-1]),
            hole=(gaps[-1] - 1) * self.step,
        )


# The published thresholds under which a notebook counts as idle (lease type IDLE).
IDLE_BELOW: Mapping[Resource, float] = {
    Resource.CPU: 5.0,
    Resource.GPU: 1.0,
    Resource.NPU: 1.0,
    Resource.NETWORK_RECEIVE: 200.0,  # 1.6 kbit/s
}

_CHIPS = {"CPU": (), "GPU": (Resource.GPU,), "ASCEND": (Resource.NPU,)}


def proves_idle(category: str, below: Mapping[Resource, float] = IDLE_BELOW) -> frozenset[Resource]:
    """What must be measured before a notebook on a flavor of this category may count as idle.

    For a category that is not known everything in `below` is asked for.
    """
    chips = _CHIPS.get(category.upper())
    if chips is None:
        return frozenset(below)
    return frozenset((Resource.CPU, Resource.NETWORK_RECEIVE, *chips)) & below.keys()


UNSEEN = 0.2  # of the time that a notebook must be idle: what may pass between two samples


# Of several that are busy, the one that tells a person most.
_TELLING = sorted(Resource, key=[Resource.GPU, Resource.NPU, Resource.CPU, *Resource].index)


@dataclass(frozen=True, slots=True)
class Use:
    """Whether a notebook is idle, None when the data cannot tell; `why` says for people what decided.

    `since` is the wall second of the newest data where it cannot tell, None where there is none at all.
    """

    idle: bool | None
    why: str
    since: float | None = None


def use_of(
    usage: Usage,
    needs: Collection[Resource],
    lasting: float,
    fresh_since: float,
    below: Mapping[Resource, float] = IDLE_BELOW,
) -> Use:
    """Idle is a notebook of which nothing was busy in the whole window.

    What is measured and over its threshold is busy, however little else is known. Each of `needs` must have
    data of the last `lasting` seconds without a hole, the newest from `fresh_since` (wall s) or later.
    """
    peaks = {name: level.peak for name, level in usage.levels.items() if name in below}
    if busy := [name for name, peak in peaks.items() if peak > below[name]]:
        most = min(busy, key=_TELLING.index)
        amount = _amount(most, peaks[most], below[most])
        return Use(False, f"{amount} in the last {duration(usage.window)} of data")
    dark = [name for name in Resource if name in needs and not _knows(usage, name, lasting, fresh_since)]
    if needs and not dark:
        return Use(True, f"idle for {duration(lasting)}")
    seen = [usage.levels[name].last for name in dark if name in usage.levels]
    what = ", ".join(_WORDS[name] for name in dark) or "anything"
    return Use(None, f"no data of {what}", min(seen, default=None) if len(seen) == len(dark) else None)


_WORDS: Mapping[Resource, str] = {
    Resource.CPU: "CPU",
    Resource.MEMORY: "memory",
    Resource.GPU: "GPU",
    Resource.GPU_MEMORY: "GPU memory",
    Resource.NPU: "NPU",
    Resource.NPU_MEMORY: "NPU memory",
    Resource.NETWORK_RECEIVE: "network",
}


def _amount(name: Resource, peak: float, below: float) -> str:
    """For people: GPU 43 % > 1 %."""
    if name is Resource.NETWORK_RECEIVE:
        return f"{_WORDS[name]} {_round(peak / 125.0)} > {_round(below / 125.0)} kbit/s"
    return f"{_WORDS[name]} {_round(peak)} % > {_round(below)} %"


def _round(value: float) -> str:
    return f"{round(value, 1):g}"


def _knows(usage: Usage, name: Resource, lasting: float, fresh_since: float) -> bool:
    return name in usage.levels and _tells(usage.levels[name], lasting, fresh_since)


def _tells(level: Level, lasting: float, fresh_since: float) -> bool:
    whole = level.last - level.first >= lasting and level.hole <= UNSEEN * lasting
    return whole and level.last >= fresh_since
