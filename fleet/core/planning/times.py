"""How long stops and starts took in earlier runs: what is measured, what is kept, and what it says of a plan.

Arithmetic and format only; `service.times` keeps the file. Times are kept by the place where they were taken,
and by flavor: a large machine with accelerators comes up later than a small one. A flavor that was never
measured takes as long as those of its category.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from fleet.core.events import Answered, Event, Fate, Held, Intended, OutOfReach, Reopened, Saw, Step
from fleet.core.notebook import Flavor, Status
from fleet.core.planning.plan import Change, Plan, Took

BELIEVED = 30 * 86_400.0  # s
KEPT = 50  # the latest of each step and flavor
MOST = 2000  # in all
ENOUGH = 3  # of each step, before any is believed
LONGEST = 86_400.0  # s; what took longer was no stop or start

_USUAL_PORTS = {"https": ":443", "http": ":80"}
_PASSING = {Step.STOP: Status.STOPPING, Step.START: Status.STARTING}
_ENDS = {Step.STOP: Status.STOPPED, Step.START: Status.RUNNING}


@dataclass(frozen=True, slots=True)
class Timed:
    """One stop or start: where, of which flavor, how many seconds it took, and when it was over (wall s)."""

    endpoint: str
    flavor: str
    step: Literal["stop", "start"]
    seconds: float
    at: float

    def holds(self, now: float) -> bool:
        """Whether it is young enough at `now` to be believed, and makes sense; the future is no age."""
        return 0.0 < self.seconds <= LONGEST and 0.0 <= now - self.at <= BELIEVED


@dataclass(slots=True)
class _Under:
    """A stop or start under way: sent at `since`, last seen not to be over at `open_at` (wall s)."""

    step: Step
    since: float
    open_at: float


class Stopwatch:
    """An observer of a run that times its stops and starts.

    Each is known to have ended between the last look that showed it under way and the first that showed its
    end; the middle of the two is taken, unless they lie further apart than that is long: then it would tell
    more of our looking than of the cloud. Nor is anything learned of what an outage or a breaker fell into.
    """

    def __init__(self, plan: Plan) -> None:
        self._changes = {change.item: change for change in plan.changes if change.may_go_away}
        self._scopes = {scope.name: scope for scope in plan.scopes}
        self._under: dict[int, _Under] = {}
        self._troubled: set[str] = set()  # throttle keys and hosts
        self.timed: list[Timed] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Intended(step=Step.STOP | Step.START):
                if event.item in self._changes and self._troubled.isdisjoint(self._places(event.item)):
                    self._under[event.item] = _Under(event.step, event.at, event.at)
            case Answered(step=Step.STOP | Step.START, fate=Fate.REFUSED) | Reopened():
                self._under.pop(event.item, None)
            case Saw() if event.item in self._under:
                self._saw(event, self._under[event.item])
            case Held():
                self._heard(event.where, event.text)
            case OutOfReach():
                self._heard(event.host, event.text)

    def _saw(self, event: Saw, under: _Under) -> None:
        if event.listed_at is not None:
            under.open_at = max(under.open_at, event.listed_at)
        if event.sight.status is _PASSING[under.step]:
            under.open_at = max(under.open_at, event.at)
            return
        if event.sight.status is not _ENDS[under.step]:
            return
        del self._under[event.item]
        seconds = (under.open_at + event.at) / 2.0 - under.since
        if event.at - under.open_at > seconds:
            return
        change = self._changes[event.item]
        name: Literal["stop", "start"] = "stop" if under.step is Step.STOP else "start"
        where, flavor = self._scopes[change.scope].endpoint, _flavor(change, under.step)
        self.timed.append(Timed(where, flavor, name, round(seconds, 1), event.at))

    def _heard(self, where: str, trouble: str) -> None:
        """Takes in news of a throttle key or a host; of anything else nothing is timed."""
        if not trouble:
            self._troubled.discard(where)
            return
        self._troubled.add(where)
        for item in [item for item in self._under if where in self._places(item)]:
            del self._under[item]

    def _places(self, item: int) -> tuple[str, str]:
        """What may be in trouble with a change: its throttle key and its host, with any odd port."""
        scope = self._scopes[self._changes[item].scope]
        url = urlsplit(scope.endpoint)
        return scope.throttle, url.netloc.lower().removesuffix(_USUAL_PORTS.get(url.scheme, ""))


def _flavor(change: Change, step: Step) -> str:
    """What the notebook is on at that step."""
    return str(change.after.get("flavor", change.flavor)) if step is Step.START else change.flavor


def learned(
    timed: Iterable[Timed],
    changes: Iterable[Change],
    endpoints: Iterable[str],
    flavors: Mapping[str, Flavor],
) -> dict[str, Took]:
    """How long stops and starts take on the flavors of these changes, where enough were timed.

    `flavors` tells the categories.
    """
    here = set(endpoints)
    exact: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    alike: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for one in timed:
        if one.endpoint in here:
            exact[one.flavor, one.step].append(one.seconds)
            if one.flavor in flavors:
                alike[flavors[one.flavor].category, one.step].append(one.seconds)
    wanted = {_flavor(change, step) for change in changes if change.needs_restart for step in _ENDS}
    found = {}
    for name in sorted(wanted):
        category = flavors[name].category if name in flavors else ""
        took = _took(exact, name) or _took(alike, category)
        if took is not None:
            found[name] = took
    return found


def _took(timed: Mapping[tuple[str, str], list[float]], name: str) -> Took | None:
    stops, starts = (sorted(timed.get((name, step), ())) for step in ("stop", "start"))
    if not name or min(len(stops), len(starts)) < ENOUGH:
        return None
    return Took(
        stop=_quantile(stops, 0.5),
        start=_quantile(starts, 0.5),
        slow_stop=_quantile(stops, 0.95),
        slow_start=_quantile(starts, 0.95),
        of=len(stops) + len(starts),
    )


def _quantile(ordered: list[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


# --- the file --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Document:
    timed: tuple[Timed, ...]
    format: Literal[1] = 1


_FORMAT: TypeAdapter[_Document] = TypeAdapter(_Document)


def load(data: bytes, now: float) -> tuple[Timed, ...]:
    """What `dump` wrote, without what is too old. Raises ValueError for anything else."""
    return tuple(one for one in _FORMAT.validate_json(data, strict=True).timed if one.holds(now))


def dump(timed: Iterable[Timed]) -> bytes:
    """The file's content."""
    return _FORMAT.dump_json(_Document(tuple(timed))) + b"\n"


def with_news(timed: Iterable[Timed], news: Iterable[Timed]) -> tuple[Timed, ...]:
    """All of them in the order of time, but of each kind only the latest."""
    kept: list[Timed] = []
    counts: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for one in sorted((*timed, *news), key=lambda one: one.at, reverse=True):
        kind = one.endpoint, one.flavor, one.step
        counts[kind] += 1
        if counts[kind] <= KEPT and len(kept) < MOST:
            kept.append(one)
    return tuple(reversed(kept))
