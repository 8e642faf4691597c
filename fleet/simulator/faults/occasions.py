"""What all faults share: which calls they are about, when they hold, and how far they reach.

``plan`` asks every fault of a cloud at the right moments; the files beside this one say what each
kind does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from fleet.simulator.access import Access
from fleet.simulator.documents import CONFIG
from fleet.simulator.messages import Call, Reply
from fleet.simulator.paging import Page
from fleet.simulator.refusals import Refusal
from fleet.simulator.routing import CallClass, Operation, call_class
from fleet.simulator.world import Notebook, World

Seconds = Annotated[float, Field(ge=0)]
Deed = Callable[["Scene", float], None]
Rewrite = Callable[[Reply], Reply]
Cut = Callable[[Page, Sequence[Notebook]], Sequence[Notebook]]


class Scene(Protocol):
    """The running cloud, as far as a fault can reach into it."""

    world: World
    access: Access

    def act(self, method: str, path: str, body: Mapping[str, Any], now: float) -> None:
        """Somebody at the console calls an operation of the cloud."""

    def later(self, due: float, deed: Deed) -> None:
        """Have something happen at the wall second ``due``."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """A call that a fault may strike."""

    operation: Operation
    method: str
    notebook: Notebook | None
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one call: what comes first, is it carried out, and what becomes of its reply.

    ``cut`` takes the place of the true page of a list. ``rewrites`` are applied in order, until one
    has taken over the wire.
    """

    applies: bool = True
    refusal: Refusal | None = None
    delay: float = 0.0
    first: tuple[Callable[[Scene, Call], None], ...] = ()
    cut: Cut | None = None
    rewrites: tuple[Rewrite, ...] = ()

    def rewritten(self, rewrite: Rewrite, *, applies: bool = True) -> Verdict:
        return replace(self, applies=self.applies and applies, rewrites=(*self.rewrites, rewrite))


CLEAR = Verdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which calls; what is left out matches everything."""

    __pydantic_config__ = CONFIG

    operation: Operation | None = None
    notebook: str | None = None
    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"] | None = None
    calls: CallClass | None = None

    def covers(self, occasion: Occasion) -> bool:
        return (
            self.operation in (None, occasion.operation)
            and self.method in (None, occasion.method)
            and self.calls in (None, call_class(occasion.operation, occasion.method))
            and (self.notebook is None or self.names(occasion.notebook))
        )

    def names(self, notebook: Notebook | None) -> bool:
        """Is it this notebook, by id or by name?"""
        if notebook is None:
            return False
        pattern = "*" if self.notebook is None else self.notebook
        return fnmatchcase(notebook.id, pattern) or fnmatchcase(notebook.name, pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Holds from ``after`` (included) to ``until`` (excluded), in seconds since the cloud was made."""

    __pydantic_config__ = CONFIG

    after: Seconds = 0.0
    until: Seconds | None = None

    def holds(self, age: float) -> bool:
        return age >= self.after and (self.until is None or age < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Striking(Timed):
    """Strikes what it matches, so many ``times`` at most, each time with a ``probability``."""

    match: Match = field(default_factory=Match)
    times: Annotated[int, Field(gt=0)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0

    def concerns(self, occasion: Occasion) -> bool:
        return self.match.covers(occasion)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCalls(Striking, ABC):
    """A fault that bends what happens to a call; ``about``: only to these operations."""

    about: ClassVar[frozenset[Operation]] = frozenset(Operation)

    def concerns(self, occasion: Occasion) -> bool:
        return occasion.operation in self.about and self.match.covers(occasion)

    @abstractmethod
    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        """The verdict with this fault; ``draw`` is the stroke's own."""
