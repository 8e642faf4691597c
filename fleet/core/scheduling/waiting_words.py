"""What those who wait wait for, for people: who is busy, of whom nobody knows, whose countdown ends next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fleet.core.planning.plan import Change
from fleet.core.scheduling.readiness import Facts, Why, moment, second
from fleet.core.scheduling.timing import Otherwise
from fleet.core.text import clean
from fleet.core.usage import Use

Waiting = Sequence[tuple[Change, Facts]]


_THEN = {Otherwise.SKIP: "skipped", Otherwise.FORCE: "stopped by force"}


def held_words(
    why: Why, waiting: Waiting, untils: Sequence[float], closes: float, now: float, otherwise: Otherwise
) -> tuple[str, str]:
    """How many wait for `why`, of whom how many are busy, the next countdown to end, and what becomes of
    them when the patience is over or the window closes, with which the run ends; and examples.

    `untils` say when each may start, infinity for those of whom only news can tell; `closes` is infinite for
    a run that goes on. The examples alone are no news: their numbers are others with every reading.
    """
    count, soonest = len(waiting), min(untils)
    if why is Why.WINDOW:
        return "; ".join(_window(untils, closes)), ""
    said, examples = f"{count} wait for {why}", ""
    if why is Why.IDLE:
        kinds, examples = _kinds(waiting)
        said += f": {kinds}"
    if why in (Why.IDLE, Why.STOP):
        ends = [facts.lease_ends for _, facts in waiting if facts.lease_ends is not None]
        if coming := [at for at in ends if at > now]:
            said += f"; the next lease ends at {moment(min(coming))}"
        if soonest < closes:
            said += f"; the patience is over at {second(soonest)}, then they are {_THEN[otherwise]}"
    if closes <= soonest < math.inf:
        said += f"; the window closes at {moment(closes)}, then they are left"
    return said, examples


def _window(untils: Sequence[float], closes: float) -> Iterator[str]:
    """When those start who find room before the run ends with its window, and what becomes of the others."""
    if inside := [until for until in untils if until < closes]:
        yield f"{len(inside)} wait for it; opens at {moment(min(inside))}"
    if left := len(untils) - len(inside):
        who = "has no room in it and is" if left == 1 else "have no room in it and are"
        yield f"{left} {who} left when it closes at {moment(closes)} (rollout.carry_over is false)"


def _kinds(waiting: Waiting) -> tuple[str, str]:
    """How many are busy, how many have no data, and one of each with what decided."""
    groups: Sequence[tuple[str, list[tuple[Change, Use]]]] = [
        (word, [(change, facts.use) for change, facts in waiting if facts.use and facts.use.idle is idle])
        for word, idle in (("busy", False), ("without data", None), ("idle", True))
    ]
    known = sum(len(group) for _, group in groups)
    kinds = [f"{len(group)} {word}" for word, group in groups if group]
    if unknown := len(waiting) - known:
        kinds.append(f"{unknown} not asked about yet")
    examples = [(group[0], word) for word, group in groups if group and word != "idle"]
    return ", ".join(kinds), "; ".join(
        f"{clean(change.name or change.id)} {word}: {use.why}" for (change, use), word in examples
    )
