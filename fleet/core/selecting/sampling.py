"""A part of a selection that is always the same part, so that a trial can be repeated and then widened.

Notebooks are ranked by a hash of the seed and their key. No order of a listing matters, and a larger limit's
sample holds all of a smaller one's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from fleet.core.rollout import Share
from fleet.core.selecting.selection import Key, Selection


@dataclass(frozen=True, slots=True)
class Sample:
    """At most `limit` notebooks, a number or a percentage of those selected; another seed picks others."""

    limit: Share
    seed: int = 0

    def ranked(self, keys: Collection[Key]) -> list[Key]:
        """The keys, those first that even the smallest sample holds."""
        return sorted(keys, key=lambda key: (_mark(self.seed, key), key))

    def of(self, keys: Collection[Key]) -> frozenset[Key]:
        """The keys that are in the sample."""
        return frozenset(self.ranked(keys)[: self.limit.of(len(keys))])

    def told(self, total: int) -> str:
        """For people: which part of `total` notebooks it is."""
        return f"{self}: all {total}" if self.limit.of(total) >= total else f"{self} of the {total}"

    def __str__(self) -> str:
        return f"a sample of {self.limit} with seed {self.seed}"


def sampled(selections: Sequence[Selection], sample: Sample | None) -> list[Selection]:
    """The selections of all scopes, reduced to the sample of all together."""
    if sample is None:
        return list(selections)
    kept = sample.of(keys_of(selections))
    return [
        replace(
            found,
            matched=tuple(row for row in found.matched if (found.scope, row.id) in kept),
            unstable=tuple(row for row in found.unstable if (found.scope, row.id) in kept),
        )
        for found in selections
    ]


def keys_of(selections: Sequence[Selection]) -> list[Key]:
    """The keys of all that was selected, whether it held still or not."""
    return [(found.scope, row.id) for found in selections for row in (*found.matched, *found.unstable)]


def _mark(seed: int, key: Key) -> bytes:
    scope, notebook_id = key
    return hashlib.sha256(f"{seed} {scope} {notebook_id}".encode()).digest()
