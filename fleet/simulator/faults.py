"""Faults as data: what goes wrong, for which calls, how often, and when.

A faults file is a YAML list. Every item has a ``kind`` and may say when it holds: ``after`` and
``until`` in seconds since the cloud was made. Faults of calls may also say which calls they hit
(``match``: ``operation`` by the vendor's name, ``notebook`` as an id or a pattern of ids or names,
``method``), how many (``times``) and with which ``probability``::

    - {kind: throttle, match: {method: PUT}, times: 5, limit: 60, seconds: 60}
    - {kind: server-error, match: {operation: UpdateNotebook}, status: 502, applied: true}
    - {kind: lost-answer, match: {operation: StopNotebook}, probability: 0.1, applied: false}
    - {kind: slow-answer, match: {method: GET}, seconds: 5}
    - {kind: slow-start, match: {notebook: "lab-*"}, seconds: 600}
    - {kind: failing-start, times: 1, reason: "pull image failed"}
    - {kind: sold-out, flavor: "modelarts.vm.gpu.*", after: 60, until: 600}

To add a kind: a frozen dataclass here with its ``kind`` and a method that says what it does to a
call (``bend``), to a start (``delay_or_fail``) or to the stock (``empties``), and its name in
``Fault``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from fleet.simulator.documents import CONFIG, load_document
from fleet.simulator.refusals import Refusal
from fleet.simulator.routing import Operation
from fleet.simulator.throttle import throttled
from fleet.simulator.world import Notebook, StartOrder

Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one call: is it carried out, and what does the caller get to see?"""

    applies: bool = True
    refusal: Refusal | None = None
    dropped: bool = False
    delay: float = 0.0


CLEAR = Verdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which calls; what is left out matches everything."""

    __pydantic_config__ = CONFIG

    operation: Operation | None = None
    notebook: str | None = None
    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"] | None = None

    def covers(self, operation: Operation, method: str, notebook: Notebook | None) -> bool:
        return (
            self.operation in (None, operation)
            and self.method in (None, method)
            and (self.notebook is None or _names(self.notebook, notebook))
        )


def _names(pattern: str, notebook: Notebook | None) -> bool:
    return notebook is not None and (fnmatchcase(notebook.id, pattern) or fnmatchcase(notebook.name, pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """Holds from ``after`` (included) to ``until`` (excluded)."""

    after: Seconds = 0.0
    until: Seconds | None = None

    def holds(self, age: float) -> bool:
        return age >= self.after and (self.until is None or age < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfCalls(_Timed):
    match: Match = field(default_factory=Match)
    times: Annotated[int, Field(gt=0)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled(_OfCalls):
    """429 with the gateway's text; the call is not carried out."""

    __pydantic_config__ = CONFIG

    kind: Literal["throttle"] = "throttle"
    policy: Literal["user", "api", "ip"] = "user"
    limit: Annotated[int, Field(gt=0)] = 60
    seconds: Annotated[int, Field(gt=0)] = 60

    def bend(self, verdict: Verdict) -> Verdict:
        refusal = throttled(self.policy, self.limit, self.seconds)
        return replace(verdict, applies=False, refusal=refusal)


_SERVER_ERRORS = {
    500: ("ModelArts.0010", "Internal error."),
    502: ("APIGW.0201", "Backend unavailable"),
    503: ("APIGW.0613", "The IAM service is unavailable"),
    504: ("APIGW.0201", "Backend timeout"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError(_OfCalls):
    """A 5xx answer, to a call that was carried out all the same when ``applied``."""

    __pydantic_config__ = CONFIG

    kind: Literal["server-error"] = "server-error"
    status: Literal[500, 502, 503, 504] = 500
    applied: bool = False

    def bend(self, verdict: Verdict) -> Verdict:
        refusal = Refusal(*_SERVER_ERRORS[self.status], self.status)
        return replace(verdict, applies=self.applied and verdict.applies, refusal=refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswer(_OfCalls):
    """The connection is closed without an answer, after carrying the call out when ``applied``."""

    __pydantic_config__ = CONFIG

    kind: Literal["lost-answer"] = "lost-answer"
    applied: bool = True

    def bend(self, verdict: Verdict) -> Verdict:
        return replace(verdict, applies=self.applied and verdict.applies, dropped=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowAnswer(_OfCalls):
    """The call is carried out at once and answered ``seconds`` later."""

    __pydantic_config__ = CONFIG

    kind: Literal["slow-answer"] = "slow-answer"
    seconds: Seconds

    def bend(self, verdict: Verdict) -> Verdict:
        return replace(verdict, delay=verdict.delay + self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStart(_OfCalls):
    """A start takes ``seconds`` longer (not shortened by the time scale)."""

    __pydantic_config__ = CONFIG

    kind: Literal["slow-start"] = "slow-start"
    seconds: Seconds

    def delay_or_fail(self, order: StartOrder) -> StartOrder:
        return replace(order, seconds=order.seconds + self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingStart(_OfCalls):
    """A start ends in START_FAILED with ``reason`` as the notebook's fail_reason."""

    __pydantic_config__ = CONFIG

    kind: Literal["failing-start"] = "failing-start"
    reason: str = "Failed to pull the image."

    def delay_or_fail(self, order: StartOrder) -> StartOrder:
        return replace(order, failure=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldOut(_Timed):
    """Flavors by pattern are out of stock: no switch to them and no start on them."""

    __pydantic_config__ = CONFIG

    kind: Literal["sold-out"] = "sold-out"
    flavor: str

    def empties(self, flavor: str) -> bool:
        return fnmatchcase(flavor, self.flavor)


Fault = Throttled | ServerError | LostAnswer | SlowAnswer | SlowStart | FailingStart | SoldOut

_OF_CALLS = (Throttled, ServerError, LostAnswer, SlowAnswer)
_OF_STARTS = (SlowStart, FailingStart)


def load_faults(text: str, where: str = "faults") -> tuple[Fault, ...]:
    """Faults from YAML; raises DocumentError with one clear line."""
    shape = tuple[Annotated[Fault, Field(discriminator="kind")], ...]
    return load_document(shape, text, where, empty=[])


class FaultPlan:
    """The faults of a cloud, with how often each has struck. Seeded, so a run can be repeated."""

    def __init__(self, faults: Sequence[Fault], seed: int, started_at: float) -> None:
        self._faults = tuple(enumerate(faults))
        self._seed = seed
        self._started_at = started_at
        self._struck: Counter[int] = Counter()
        self._tried: Counter[int] = Counter()

    def verdict(self, operation: Operation, method: str, notebook: Notebook | None, now: float) -> Verdict:
        """What happens to a call."""
        verdict = CLEAR
        for index, fault in self._faults:
            if isinstance(fault, _OF_CALLS) and self._strikes(index, fault, operation, method, notebook, now):
                verdict = fault.bend(verdict)
        return verdict

    def starting(self, notebook: Notebook, order: StartOrder, now: float) -> StartOrder:
        """What happens to a start that was accepted."""
        for index, fault in self._faults:
            if isinstance(fault, _OF_STARTS) and self._strikes(
                index, fault, Operation.START_NOTEBOOK, "POST", notebook, now
            ):
                order = fault.delay_or_fail(order)
        return order

    def sold_out(self, flavor: str, now: float) -> bool:
        age = now - self._started_at
        return any(
            isinstance(fault, SoldOut) and fault.holds(age) and fault.empties(flavor)
            for _, fault in self._faults
        )

    def _strikes(
        self,
        index: int,
        fault: _OfCalls,
        operation: Operation,
        method: str,
        notebook: Notebook | None,
        now: float,
    ) -> bool:
        if not fault.holds(now - self._started_at):
            return False
        if not fault.match.covers(operation, method, notebook):
            return False
        if fault.times is not None and self._struck[index] >= fault.times:
            return False
        self._tried[index] += 1
        draw = Random(f"{self._seed}/fault/{index}/{self._tried[index]}").random()
        if draw >= fault.probability:
            return False
        self._struck[index] += 1
        return True
