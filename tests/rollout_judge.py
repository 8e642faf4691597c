"""Judges how a run released its changes, from the plan and the events as they lie in its file.

It is to agree with the program by understanding, not by descent: it reads plain JSON, and shares no code with
the program nor words beyond those that the file holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LOST = frozenset({"stranded", "unknown"})
BAD = LOST | {"failed"}
BROKEN = ("START_FAILED", "CREATE_FAILED", "DELETE_FAILED", "ERROR")
TAKEN_OVER = ("drifted", "gone")

Told = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What the file proves: broken budgets and waves in words, and how far each budget was used."""

    broken: list[str]
    failures: int
    most_away: int
    most_under_way: int


def judge(plan: Told, events: Sequence[Told]) -> Verdict:
    """Follows the events one by one, through deaths and resumes."""
    changes = {change["item"]: change for change in plan["changes"]}
    limit, broken = limits(plan), list[str]()
    absence, waves = _Absence(changes), _Waves(changes)
    under_way: set[int] = set()
    most_away = most_under_way = most_failures = 0
    for event in events:
        item = event.get("item", -1)  # of no change
        match event["kind"]:
            case "run-resumed":
                under_way.clear()
            case "began" | "reopened":
                under_way.add(item)
            case "ended":
                under_way.discard(item)
        absence(event, item)
        broken += waves(event, item)
        taken = Counter(group for one in absence.away for group in groups(changes[one]))
        broken += [f"{key}: {taken[key]} of {most}" for key, most in limit.items() if taken[key] > most]
        most_away = max(most_away, len(absence.away))
        most_under_way = max(most_under_way, len(under_way))
        most_failures = max(most_failures, waves.failures)
    allowed = plan["rollout"]["max_failures"]
    if allowed is not None and most_failures > number(allowed, len(changes)):
        broken.append(f"{most_failures} failures of {allowed}")
    if most_under_way > plan["rollout"]["concurrency"]:
        broken.append(f"{most_under_way} under way of {plan['rollout']['concurrency']}")
    return Verdict(list(dict.fromkeys(broken)), waves.failures, most_away, most_under_way)


def number(share: Told, of: int) -> int:
    """What a number or a percentage means."""
    if not share["percent"]:
        return int(share["amount"])
    return max(1, of * int(share["amount"]) // 100) if share["amount"] else 0


def groups(change: Told) -> list[tuple[str, str]]:
    """Whose budgets a notebook that is away uses."""
    named = [(group, change[group]) for group in ("scope", "owner", "pool", "flavor") if change[group]]
    return [("fleet", ""), *named]


def limits(plan: Told) -> dict[tuple[str, str], int]:
    """The limit of each group; a percentage counts the group's notebooks that a change can take away."""
    running = [change for change in plan["changes"] if change["run_state"] == "RUNNING"]
    able = [change for change in running if change["may_restart"]]
    sizes = Counter(group for change in able for group in groups(change))
    shares = plan["rollout"]["max_unavailable"]
    return {key: max(1, number(shares[key[0]], size)) for key, size in sizes.items() if key[0] in shares}


class _Absence:
    """Away is who was told to stop and has not been seen running since, and whoever was last seen in a state
    that is none of his. Whom somebody else took over or deleted is theirs, and so is a stop while all of ours
    were refused."""

    def __init__(self, changes: Mapping[int, Told]) -> None:
        self._changes = changes
        self._stops: Counter[int] = Counter()  # by item those that were not refused
        self._before: dict[int, bool] = {}  # by item whether it was away before its last stop
        self.away: set[int] = set()

    def __call__(self, event: Told, item: int) -> None:
        if item not in self._changes or self._changes[item]["run_state"] != "RUNNING":
            return
        match event["kind"], event.get("step"):
            case "intended", "stop":
                self._before[item] = item in self.away
                self._stops[item] += 1
                self.away.add(item)
            case "answered", "stop" if event["fate"] == "refused":
                self._stops[item] -= 1
                if not self._before[item]:
                    self.away.discard(item)
            case "saw", _:
                self._see(event["sight"]["status"], item)
            case "ended", _ if event["outcome"] in TAKEN_OVER:
                self.away.discard(item)

    def _see(self, status: str, item: int) -> None:
        if status == "RUNNING":
            self.away.discard(item)
        elif self._stops[item] > 0 or status in BROKEN:
            self.away.add(item)


class _Waves:
    """No change begins before all those of the waves before it have ended, and ended well enough."""

    def __init__(self, changes: Mapping[int, Told]) -> None:
        self._wave = {item: change["wave"] for item, change in changes.items()}
        self._ends: dict[int, str] = {}
        self._open: set[int] = set()
        self._sent: set[int] = set()

    @property
    def failures(self) -> int:
        """How many changes ended badly, those included that are taken up again and have not ended anew."""
        return sum(end in BAD for end in self._ends.values())

    def __call__(self, event: Told, item: int) -> Iterator[str]:
        match event["kind"]:
            case "began" | "reopened":
                self._open.add(item)
                if item not in self._sent:
                    yield from self._held_back(item)
            case "intended":
                self._sent.add(item)
            case "ended":
                self._open.discard(item)
                self._ends[item] = event["outcome"]

    def _held_back(self, item: int) -> Iterator[str]:
        """Why the change must not begin now."""
        for wave in sorted({wave for wave in self._wave.values() if wave < self._wave[item]}):
            members = [one for one, where in self._wave.items() if where == wave]
            ends = [self._ends[one] for one in members if one in self._ends and one not in self._open]
            if len(ends) < len(members):
                yield f"item {item} begins, of wave {wave} {len(members) - len(ends)} have not ended"
            elif LOST & set(ends):
                yield f"item {item} begins after wave {wave} ended with some stranded or unknown"
            elif "failed" in ends and "changed" not in ends:
                yield f"item {item} begins after wave {wave} ended with none changed, some failed"
