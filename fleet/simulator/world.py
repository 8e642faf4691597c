"""The data of the cloud: notebooks, images, flavors, and the agenda of what is due when.

Plain mutable rows; only ``life`` and the operations change them, and ``touch`` every row they
change. ``views`` renders rows into the vendor's JSON.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol

from fleet.simulator.messages import User
from fleet.simulator.refusals import Refusal
from fleet.simulator.rules import Rules
from fleet.simulator.states import Cause, Status

HOUR_MS = 3_600_000

CUSTOM_FLAVOR = "custom.flavor.spec.code"
"""What a notebook with a custom specification shows as its flavor."""


def ms(now: float) -> int:
    """Wall seconds as the vendor's UTC milliseconds."""
    return round(now * 1000)


@dataclass(slots=True)
class Lease:
    """Automatic stop. ``duration`` counts from ``create_at``, it is not the time left."""

    type: str
    enable: bool
    create_at: int
    duration: int
    update_at: int

    def end(self) -> float | None:
        """The wall second at which the notebook is stopped; None when automatic stop is off."""
        return (self.create_at + self.duration) / 1000 if self.enable else None

    def grant(self, duration: int, kind: str, at: int) -> None:
        """Let the notebook run ``duration`` ms from ``at`` (ms); -1 switches automatic stop off."""
        self.enable = duration != -1
        self.type = kind
        self.duration = at - self.create_at + duration if self.enable else -1
        self.update_at = at


@dataclass(slots=True)
class Image:
    id: str
    name: str
    tag: str
    arch: str
    categories: tuple[str, ...]
    dev_services: tuple[str, ...]
    type: str
    status: str
    create_at: int
    update_at: int
    namespace: str = "atelier"
    description: str = ""
    origin: str | None = None
    service_type: str = "COMMON"
    size: int = 0
    visibility: str = "PUBLIC"
    workspace_id: str = "0"
    flavor_type: str | None = None
    status_message: str = ""
    project: str | None = None  # None: visible in every project


@dataclass(frozen=True, slots=True)
class Flavor:
    """A machine specification; ``memory`` in KiB. ``pool_only`` ones are never listed."""

    id: str
    name: str
    arch: str
    category: str
    vcpus: int
    memory: int
    storages: tuple[str, ...]
    gpu: tuple[str, int, int] | None = None  # type, how many, MiB each
    ascend: tuple[str, int, int] | None = None
    flavor_type: str | None = None
    feature: str = "NOTEBOOK"
    sold_out: bool = False
    pool_only: bool = False


class Timer(StrEnum):
    """What a notebook may be waiting for."""

    STATUS = "status"
    LEASE = "lease"
    VOLUME = "volume"


@dataclass(slots=True, eq=False)
class Notebook:
    id: str
    project: str
    name: str
    description: str
    status: Status
    flavor: str
    image: Image
    lease: Lease
    volume: dict[str, Any]
    endpoints: list[dict[str, Any]]
    user: User
    workspace_id: str
    create_at: int
    update_at: int
    feature: str = "NOTEBOOK"
    custom_spec: dict[str, Any] | None = None
    affinity: dict[str, Any] | None = None
    pool: dict[str, str] | None = None
    hooks: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    fail_reason: str | None = None
    ip: str = ""
    url: str = ""
    token: str = field(default="", repr=False)
    running_since: float | None = None
    outcome: Cause = Cause.DONE
    outcome_reason: str = ""
    pulled_image: str = ""
    saving: Image | None = None
    growing_to: int | None = None
    machines: list[tuple[float, str]] = field(default_factory=list)  # until when (wall s) on which flavor
    timers: dict[Timer, int] = field(default_factory=dict)
    transition_end: float = 0.0
    draws: int = 0
    rendered: bytes | None = None

    def touch(self, at: int) -> None:
        """Note a change: ``update_at`` moves, the rendered row is stale."""
        self.update_at = at
        self.rendered = None


@dataclass(frozen=True, slots=True)
class Passage:
    """The way through a transitional status: how many seconds, and why it fails (None: it does not)."""

    seconds: float
    failure: str | None = None


class Weather(Protocol):
    """What may go wrong without being asked for; ``faults`` makes it."""

    def sold_out(self, flavor: str, now: float) -> bool: ...

    def passing(self, notebook: Notebook, passage: Passage, now: float) -> Passage: ...


class Agenda:
    """Due times, earliest first. An entry counts only while its notebook still waits for it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, Notebook]] = []
        self._serial = 0

    def schedule(self, due: float, timer: Timer, notebook: Notebook) -> None:
        """Wait for this, and no longer for what was scheduled under the same timer."""
        self._serial += 1
        notebook.timers[timer] = self._serial
        heapq.heappush(self._heap, (due, self._serial, timer, notebook))

    def pop(self, now: float) -> tuple[float, Timer, Notebook] | None:
        """The earliest entry that is due by ``now``, if any."""
        while self._heap and self._heap[0][0] <= now:
            due, serial, timer, notebook = heapq.heappop(self._heap)
            if notebook.timers.get(timer) == serial:
                del notebook.timers[timer]
                return due, timer, notebook
        return None


# Median seconds and spread (sigma of the logarithm) of what takes time.
DURATIONS = {
    "init": (20.0, 0.4),
    "create": (150.0, 0.4),
    "start": (70.0, 0.5),
    "pull": (45.0, 0.6),
    "stop": (20.0, 0.5),
    "snapshot": (240.0, 0.5),
    "delete": (15.0, 0.5),
    "resize": (30.0, 0.4),
}


@dataclass(slots=True)
class World:
    """Everything that there is. ``time_scale`` shortens durations, never leases."""

    rules: Rules
    seed: int
    time_scale: float
    weather: Weather
    region: str
    domain: tuple[str, str]
    key_pairs: frozenset[str]
    workspaces: tuple[dict[str, Any], ...]
    flavors: dict[str, Flavor]
    images: dict[str, Image]
    notebooks: dict[str, Notebook] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)  # of the usage of a notebook, by its id
    agenda: Agenda = field(default_factory=Agenda)
    _newest_first: dict[str, list[Notebook]] = field(default_factory=dict)
    _slices: dict[tuple[str, ...], list[Notebook]] = field(default_factory=dict)
    _serial: int = 0

    def seconds(self, notebook: Notebook, what: str) -> float:
        """How long something takes this time: the same for the same notebook and occasion,
        whatever the others do meanwhile."""
        notebook.draws += 1
        median, sigma = DURATIONS[what]
        draw = Random(f"{self.seed}/{notebook.id}/{notebook.draws}")
        return median * draw.lognormvariate(0.0, sigma) / self.time_scale

    def fresh_uuid(self) -> str:
        """An id for something that is made while the cloud runs."""
        self._serial += 1
        bits = Random(f"{self.seed}/uuid/{self._serial}").getrandbits(128)
        return to_uuid(bits)

    def add(self, notebooks: Iterable[Notebook]) -> None:
        for notebook in notebooks:
            self.notebooks[notebook.id] = notebook
            self._newest_first.setdefault(notebook.project, []).append(notebook)
        for rows in self._newest_first.values():
            rows.sort(key=lambda row: (-row.create_at, row.id))
        self._slices.clear()

    def remove(self, notebook: Notebook) -> None:
        del self.notebooks[notebook.id]
        self._newest_first[notebook.project].remove(notebook)
        self._slices.clear()

    def rows(self, project: str, feature: str, workspace: str, owner: str) -> Sequence[Notebook]:
        """The project's notebooks, newest first, by what never changes in a notebook ("": any)."""
        key = (project, feature, workspace, owner)
        found = self._slices.get(key)
        if found is None:
            found = self._slices[key] = [
                row
                for row in self._newest_first.get(project, ())
                if feature in ("", row.feature)
                and workspace in ("", row.workspace_id)
                and owner in ("", row.user.id)
            ]
        return found

    def find(self, project: str, notebook_id: str) -> Notebook:
        """The notebook; raises the refusal for one that does not exist in this project."""
        notebook = self.notebooks.get(notebook_id)
        if notebook is None or notebook.project != project:
            raise self.missing()
        return notebook

    def find_changeable(self, project: str, notebook_id: str) -> Notebook:
        """Like ``find``, for calls that change a notebook: a deleted row counts as missing."""
        notebook = self.find(project, notebook_id)
        if notebook.status is Status.DELETED:
            raise self.missing()
        return notebook

    def missing(self) -> Refusal:
        rules = self.rules
        return Refusal(rules.missing_code, "The instance does not exist.", rules.missing)

    def is_sold_out(self, flavor_id: str, now: float) -> bool:
        flavor = self.flavors.get(flavor_id)
        return (flavor is not None and flavor.sold_out) or self.weather.sold_out(flavor_id, now)


def to_uuid(bits: int) -> str:
    """128 random bits as the text of a version 4 UUID."""
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
