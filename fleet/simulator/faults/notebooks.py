"""Faults of notebooks: starts that fail, statuses that do not end, and what nobody asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from fleet.simulator import life
from fleet.simulator.faults.occasions import Occasion, Scene, Seconds, Striking, Timed
from fleet.simulator.states import Cause, Status
from fleet.simulator.world import Notebook, Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPassages(Striking, ABC):
    """A fault of the way through a transitional status; the call is the one that led into it."""

    @abstractmethod
    def bend_passage(self, passage: Passage) -> Passage:
        """The way through with this fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfStarts(OfPassages, ABC):
    def concerns(self, occasion: Occasion) -> bool:
        return _is(occasion.notebook, Status.STARTING) and self.match.covers(occasion)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStart(_OfStarts):
    """A start takes ``seconds`` longer (not shortened by the time scale)."""

    kind: Literal["slow-start"] = "slow-start"
    seconds: Seconds

    def bend_passage(self, passage: Passage) -> Passage:
        return replace(passage, seconds=passage.seconds + self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingStart(_OfStarts):
    """A start ends in START_FAILED with ``reason`` as the notebook's fail_reason."""

    kind: Literal["failing-start"] = "failing-start"
    reason: str = "Failed to pull the image."

    def bend_passage(self, passage: Passage) -> Passage:
        return replace(passage, failure=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(OfPassages):
    """A notebook stays in a transitional status for ``seconds``; without it, for ever."""

    kind: Literal["stuck"] = "stuck"
    status: Literal["STARTING", "STOPPING", "SNAPSHOTTING", "CREATING", "DELETING"]
    seconds: Seconds | None = None

    def concerns(self, occasion: Occasion) -> bool:
        return _is(occasion.notebook, Status(self.status)) and self.match.covers(occasion)

    def bend_passage(self, passage: Passage) -> Passage:
        return replace(passage, seconds=inf if self.seconds is None else self.seconds)


def _is(notebook: Notebook | None, status: Status) -> bool:
    return notebook is not None and notebook.status is status


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldOut(Timed):
    """Flavors by pattern are out of stock: no switch to them and no start on them."""

    kind: Literal["sold-out"] = "sold-out"
    flavor: str

    def empties(self, flavor: str) -> bool:
        return fnmatchcase(flavor, self.flavor)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfNotebooks(Striking, ABC):
    """Something that befalls notebooks: ``wait`` seconds after the ``call``-th matching call on one
    that was carried out, or without ``call`` every matching one at the instant ``after``."""

    call: Annotated[int, Field(gt=0)] | None = None
    wait: Seconds = 0.0

    def __post_init__(self) -> None:
        if self.call is not None:
            return
        match = self.match
        for name, given in (
            ("match.operation", match.operation),
            ("match.method", match.method),
            ("match.calls", match.calls),
            ("until", self.until),
            ("wait", self.wait or None),
        ):
            if given is not None:
                raise ValueError(f"{name} goes with call (after which of the calls) only")

    @abstractmethod
    def befall(self, scene: Scene, notebook: Notebook, now: float) -> None:
        """Let it happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(OfNotebooks):
    """The notebook is FROZEN (arrears), and thaws to STOPPED after ``seconds``; without it, never."""

    kind: Literal["freeze"] = "freeze"
    seconds: Seconds | None = None

    def befall(self, scene: Scene, notebook: Notebook, now: float) -> None:
        if life.befall(scene.world, notebook, Cause.FREEZE, now) and self.seconds is not None:
            scene.later(now + self.seconds, partial(_thaw, notebook))


def _thaw(notebook: Notebook, scene: Scene, now: float) -> None:
    life.befall(scene.world, notebook, Cause.THAW, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown(OfNotebooks):
    """The notebook goes to ERROR, with ``reason`` as its fail_reason."""

    kind: Literal["error"] = "error"
    reason: str = "The node is unreachable."

    def befall(self, scene: Scene, notebook: Notebook, now: float) -> None:
        life.befall(scene.world, notebook, Cause.BREAK, now, self.reason)
