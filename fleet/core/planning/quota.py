"""How many instances an account may have in a scope, and whether one that was stopped can come back.

The cloud tells both numbers (ListFeatures API). It does not say whether a stopped instance keeps its place,
nor whether those of dedicated pools count; so only what is over its quota already is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleet.core.notebook import Status
from fleet.core.planning.plan import Change
from fleet.core.rollout import Rollout
from fleet.core.text import clean

SHOWN = 10  # scopes that one line names
SOURCE = "(by ListFeatures, which does not say whether stopped instances or those of pools count)"


@dataclass(frozen=True, slots=True)
class Quota:
    """The instances that an account may have, 0 or less for no limit, and those that count towards it."""

    limit: int
    used: int

    def __str__(self) -> str:
        """For people: 7 of 10."""
        return f"{self.used} of {self.limit}"


def restarts(changes: Sequence[Change], rollout: Rollout) -> Counter[str]:
    """By scope, the changes that take a start. Those in dedicated pools only name their scope."""
    found: Counter[str] = Counter()
    for change in changes:
        if change.needs_restart and not (rollout.stops_nobody and change.run_state is Status.RUNNING):
            found[change.scope] += not change.pool
    return found


def over_quota(quotas: Mapping[str, Quota], restarts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """The scopes in which a stopped notebook could not be started again, as guards tell of limits."""
    over = [
        f"{scope} ({quota})"
        for scope, quota in quotas.items()
        if restarts.get(scope) and 0 < quota.limit < quota.used
    ]
    if over:
        yield (
            "quota",
            f"more instances than their quota allows in {_listed(over)}, so that a start may be refused",
        )


def quota_remarks(
    quotas: Mapping[str, Quota], restarts: Mapping[str, int], untold: Mapping[str, str]
) -> Iterator[str]:
    """Quota and use of the scopes in which something restarts; `untold` has why one could not be asked."""
    limited = {scope: quota for scope, quota in quotas.items() if quota.limit > 0}
    if limited:
        uses = _listed([f"{scope} uses {quota}" for scope, quota in limited.items()])
        yield f"quota of instances: {uses} {SOURCE}"
    full = [scope for scope, quota in limited.items() if quota.used == quota.limit and restarts.get(scope)]
    if full:
        yield (
            f"no instance is left of the quota of {_listed(full)}: should a stopped notebook give up its "
            "place, whoever starts another one takes it"
        )
    if untold:
        first = clean(next(iter(untold.values())))
        yield f"the quota of instances is not known for {_listed(list(untold))} ({first})"


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"{', '.join(words[:SHOWN])}{more}"
