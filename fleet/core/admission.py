"""Hard budgets: who may go next, decided without awaiting.

A budget is hard: a change is admitted only while the failures so far plus the changes whose end is still
unproven stay below the limit. `max_failures: 3` means that there are never four.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from fleet.core.rollout import GROUPS, Rollout, Share


class Seat(Protocol):
    """What a budget needs to know of a change."""

    @property
    def item(self) -> int: ...
    @property
    def scope(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def flavor(self) -> str: ...


def budgets_of(change: Seat) -> list[tuple[str, str]]:
    """The groups whose budgets a change may need, each with the name of its part of it."""
    keys = [("fleet", "")]
    return keys + [(group, getattr(change, group)) for group in GROUPS[1:] if getattr(change, group)]


SeatT = TypeVar("SeatT", bound=Seat)


class Admission(Generic[SeatT]):
    """Decides which change may start next. Holds counts, never awaits.

    `away` says for a change whether it takes its notebook away from its owner while it runs; only those use
    the `max_unavailable` budgets. A notebook that could not be brought back keeps its seat for good.
    `admits` says for a scope whether a change may start in it now; its changes are held until then.
    `barred` says why a change may never start, or None.
    """

    def __init__(
        self,
        rollout: Rollout,
        changes: Sequence[SeatT],
        away: Callable[[SeatT], bool],
        admits: Callable[[str], bool] = lambda _: True,
        barred: Callable[[SeatT], str | None] = lambda _: None,
    ) -> None:
        self._away = away
        self._admits = admits
        self._barred = barred
        self.concurrency = rollout.concurrency
        self._most_failures = rollout.max_failures.of(len(changes)) if rollout.max_failures else None
        self._limits = group_limits(rollout.max_unavailable, [c for c in changes if away(c)])
        self._taken: Counter[tuple[str, str]] = Counter()
        self._waiting: deque[SeatT] = deque()
        self._overdue: deque[SeatT] = deque()
        self._parked: dict[tuple[str, str], deque[SeatT]] = {}
        self._held: dict[str, deque[SeatT]] = {}
        self._shut_out: list[tuple[SeatT, str]] = []
        self.in_flight = 0
        self.failures = 0

    def release(self, changes: Iterable[SeatT], *, overdue: bool = False) -> None:
        """Adds changes to those that may start.

        `overdue` ones are under way already, left so by an earlier process: no budget keeps them from going
        home.
        """
        (self._overdue if overdue else self._waiting).extend(changes)

    def shut_out(self) -> list[tuple[SeatT, str]]:
        """The released changes that are barred, each with the reason; each is handed out once."""
        for line in (self._waiting, *self._parked.values(), *self._held.values()):
            for _ in range(len(line)):
                change = line.popleft()
                if not self._is_shut_out(change):
                    line.append(change)
        self._parked = {key: line for key, line in self._parked.items() if line}
        self._held = {scope: line for scope, line in self._held.items() if line}
        found, self._shut_out = self._shut_out, []
        return found

    def count_past(self, change: SeatT, *, failed: bool, back: bool) -> None:
        """Books a change that ended before this process began."""
        self.failures += failed
        if not back:
            self._take(change, +1)

    @property
    def overdue(self) -> bool:
        """Whether a change waits that no budget may hold back."""
        return bool(self._overdue)

    @property
    def has_room(self) -> bool:
        """Whether fewer changes are under way than may be at once."""
        return self.in_flight < self.concurrency

    @property
    def pending(self) -> int:
        """How many released changes have not started."""
        lines = (self._overdue, self._waiting, *self._parked.values(), *self._held.values())
        return sum(len(line) for line in lines)

    @property
    def may_yet_start(self) -> bool:
        """Whether a pending change can start once one that is under way has ended, or its scope admits it."""
        return self.pending > 0 and (self.in_flight > 0 or bool(self._held)) and self.exhausted is None

    @property
    def exhausted(self) -> str | None:
        """Why nothing may start any more, or None."""
        if self._most_failures is not None and self.failures >= self._most_failures:
            return f"{self.failures} failed, max_failures is {self._most_failures}"
        return None

    @property
    def binding(self) -> tuple[str, ...]:
        """The budgets that keep a pending change from starting at this moment."""
        if not self.pending:
            return ()
        found = []
        if not self.has_room:
            found.append(f"concurrency {self.concurrency}")
        if not self._failure_room():
            found.append(f"max_failures {self._most_failures} ({self._failure_words})")
        full = [key for key in self._parked if self._taken[key] >= self._limits[key]]
        if full:
            named = ", ".join(sorted(f"{group} {name} {self._limits[group, name]}" for group, name in full))
            found.append(f"max_unavailable of {' '.join(named.split())}")
        return tuple(found)

    @property
    def ceilings(self) -> Mapping[str, int]:
        """How many changes at once each budget but concurrency lets be under way, by its name."""
        found = {}
        if self._most_failures is not None:
            words = f"max_failures {self._most_failures} ({self._failure_words})"
            found[words] = max(0, self._most_failures - self.failures)
        if ("fleet", "") in self._limits:
            found["max_unavailable of fleet"] = self._limits["fleet", ""]
        return found

    @property
    def _failure_words(self) -> str:
        return f"{self.failures} failed, each under way may fail"

    @property
    def stuck(self) -> str | None:
        """Why the pending changes can never start although nothing is under way, or None."""
        if self.in_flight == 0 and self._parked and not self._waiting and not self._held:
            full = ", ".join(sorted({f"{group} {name}".strip() for group, name in self._parked}))
            return f"notebooks that are not back fill max_unavailable of {full}"
        return None

    def next(self) -> SeatT | None:
        """Takes the next change that every budget admits; None when none may start at this moment."""
        if self._overdue and self.in_flight < self.concurrency:
            return self._taken_up(self._overdue.popleft())
        if self.exhausted or self.in_flight >= self.concurrency or not self._failure_room():
            return None
        while (change := self._candidate()) is not None:
            full = self._full_group(change)
            if full is None:
                return self._taken_up(change)
            self._parked.setdefault(full, deque()).append(change)
            self._offer_seats_of(change)
        return None

    def ended(self, change: SeatT, *, failed: bool, back: bool) -> None:
        """Books the end of a change: whether it failed, and whether its notebook is available again."""
        self.in_flight -= 1
        self.failures += failed
        if back:
            self._take(change, -1)
            self._offer_seats_of(change)

    def _candidate(self) -> SeatT | None:
        """The next change that its scope admits and nothing bars, those held longest first."""
        while (change := self._admitted()) is not None:
            if not self._is_shut_out(change):
                return change
            self._offer_seats_of(change)
        return None

    def _admitted(self) -> SeatT | None:
        for scope, held in self._held.items():
            if self._admits(scope):
                change = held.popleft()
                if not held:
                    del self._held[scope]
                return change
        while self._waiting:
            change = self._waiting.popleft()
            if self._admits(change.scope):
                return change
            self._held.setdefault(change.scope, deque()).append(change)
            self._offer_seats_of(change)
        return None

    def _is_shut_out(self, change: SeatT) -> bool:
        reason = self._barred(change)
        if reason is not None:
            self._shut_out.append((change, reason))
        return reason is not None

    def _failure_room(self) -> bool:
        return self._most_failures is None or self.failures + self.in_flight < self._most_failures

    def _seats(self, change: SeatT) -> list[tuple[str, str]]:
        if not self._limits or not self._away(change):
            return []
        return [key for key in budgets_of(change) if key in self._limits]

    def _full_group(self, change: SeatT) -> tuple[str, str] | None:
        for key in self._seats(change):
            if self._taken[key] >= self._limits[key]:
                return key
        return None

    def _taken_up(self, change: SeatT) -> SeatT:
        self._take(change, +1)
        self.in_flight += 1
        return change

    def _take(self, change: SeatT, by: int) -> None:
        for key in self._seats(change):
            self._taken[key] += by

    def _offer_seats_of(self, change: SeatT) -> None:
        """Wakes one parked change for each seat that `change` gave back, or was woken for and cannot use.

        One, not all: most of them would only be parked again, at every end anew.
        """
        for key in self._seats(change):
            parked = self._parked.get(key)
            if parked and self._taken[key] < self._limits[key]:
                self._waiting.appendleft(parked.popleft())
                if not parked:
                    del self._parked[key]


def group_limits(shares: Mapping[str, Share], changes: Sequence[Seat]) -> dict[tuple[str, str], int]:
    """The limit of every group that has one; a percentage counts within the group."""
    limits: dict[tuple[str, str], int] = {}
    for group, share in shares.items():
        sizes = Counter("" if group == "fleet" else getattr(change, group) for change in changes)
        for name, size in sizes.items():
            if name or group == "fleet":
                limits[group, name] = max(1, share.of(size))
    return limits
