"""What those who wait wait for, for people: who is busy, of whom nobody knows, whose countdown ends next."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.core.planning.plan import Change
from fleet.core.scheduling.readiness import Facts, Why, moment, second
from fleet.core.scheduling.timing import Otherwise
from fleet.core.text import clean
from fleet.core.usage import Use

Waiting = Sequence[tuple[Change, Facts]]


_THEN = {Otherwise.SKIP: "skipped", Otherwise.FORCE: "stopped by force"}


def held_words(
    why: Why, waiting: Waiting, until: float | None, now: float, otherwise: Otherwise
) -> tuple[str, str]:
    """How many wait for `why`, of whom how many are busy, the next countdown to end, and what becomes of
    them when the patience is over; and examples.

    The examples alone are no news: their numbers are others with every reading.
    """
    count = len(waiting)
    if why is Why.WINDOW:
        return f"{count} wait for it; opens at {moment(until or 0.0)}", ""
    said, examples = f"{count} wait for {why}", ""
    if why is Why.IDLE:
        kinds, examples = _kinds(waiting)
        said += f": {kinds}"
    if why in (Why.IDLE, Why.STOP):
        ends = [facts.lease_ends for _, facts in waiting if facts.lease_ends is not None]
        if coming := [at for at in ends if at > now]:
            said += f"; the next lease ends at {moment(min(coming))}"
        if until is not None:
            said += f"; the patience is over at {second(until)}, then they are {_THEN[otherwise]}"
    return said, examples


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
