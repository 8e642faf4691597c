"""From selected notebooks to changes in waves: who goes first, and what a first wave tries.

What happens to one notebook is decided in `one_notebook`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain, count, pairwise, repeat, zip_longest
from typing import NamedTuple, TypeVar

from fleet.core.job import JobSpec
from fleet.core.notebook import Status
from fleet.core.planning.estimate import NOTHING_LEARNED, Times, length_of
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.rollout import ReleaseOrder, Rollout, empty_waves, wave_sizes
from fleet.core.scheduling.timing import Moment
from fleet.core.scheduling.timing_words import restart_words

T = TypeVar("T")


class Kind(NamedTuple):
    """What changes have in common that go the same way. Sorts by what a first wave should try first."""

    gentle: bool
    run_state: Status

    @classmethod
    def of(cls, change: Change) -> Kind:
        """The kind of one change."""
        return cls(not change.needs_restart, change.run_state)

    def words(self, rollout: Rollout) -> str:
        """For people: RUNNING with a restart."""
        if self.gentle or self.run_state is not Status.RUNNING or rollout.when is Moment.NOW:
            return f"{self.run_state} {'without' if self.gentle else 'with'} a restart"
        return f"{self.run_state}, {restart_words(rollout)}"


def plan_changes(
    targets: Iterable[Target],
    job: JobSpec,
    rollout: Rollout,
    learn: Callable[[Sequence[Change]], Times] = lambda _: NOTHING_LEARNED,
) -> tuple[tuple[Change, ...], tuple[Settled, ...]]:
    """Changes in the order of their release, and the rows that need or get no work.

    The first change of each kind leads, those with a restart before all, so that the first wave proves as
    much as its size allows. All others follow in the rollout's order. Where the job proposes in stages, the
    waves of the first are followed by those of the second, which are cut by the same shares. `learn` tells
    what is known of how long such changes take.
    """
    stages: defaultdict[int, defaultdict[str, list[Change]]] = defaultdict(lambda: defaultdict(list))
    settled: list[Settled] = []
    for target in _drained(sorted(targets, key=lambda target: (target.context.scope, target.notebook.id))):
        row = plan_one(target, job, rollout)
        if isinstance(row, Settled):
            settled.append(row)
            continue
        for change in row if isinstance(row, tuple) else (row,):
            stages[change.stage][change.scope].append(change)
    in_turn = [_in_turn(stages[number]) for number in sorted(stages)]
    stages.clear()
    times = learn([*chain.from_iterable(in_turn)])
    numbered = tuple(_numbered(in_turn, rollout, times))
    kept = tuple(replace(row, item=len(numbered) + item) for item, row in enumerate(settled))
    return numbered, kept


def _in_turn(changes: Mapping[str, Sequence[Change]]) -> list[Change]:
    """One of each scope, then the next of each."""
    return [one for one in chain.from_iterable(zip_longest(*changes.values())) if one is not None]


def _numbered(stages: list[list[Change]], rollout: Rollout, times: Times) -> Iterator[Change]:
    """The changes of all stages with their items and waves, each tied to its notebook's stage before it.

    Takes them out of `stages`: a large plan should not lie in memory twice.
    """
    earlier: dict[tuple[str, str], int] = {}
    items, released_before = count(), 0
    while stages:
        sizes = wave_sizes(len(stages[0]), rollout.waves)
        changes = _drained(_released(stages.pop(0), sizes, rollout, times))
        waves = chain.from_iterable(
            repeat(wave, size) for wave, size in enumerate(sizes, start=released_before + 1)
        )
        for wave, one in zip(waves, changes, strict=True):
            key, item = (one.scope, one.id), next(items)
            yield replace(one, item=item, wave=wave, follows=earlier.get(key))
            if stages:
                earlier[key] = item
        released_before += len(sizes)


def _released(changes: list[Change], sizes: Sequence[int], rollout: Rollout, times: Times) -> list[Change]:
    """The changes in the order of their release, in waves of these sizes.

    Unless another order is asked for they go by scope in turn and by id, and within its wave what is expected
    to take longer goes first, or the slots would stand empty at the end for a restart that began last.
    """
    rank = _RANKS.get(rollout.order)
    if rank is not None:
        changes = sorted(changes, key=rank)
    first: dict[Kind, int] = {}
    for at, change in enumerate(changes):
        first.setdefault(Kind.of(change), at)
    canaries = [first[kind] for kind in sorted(first)]
    others = (at for at in range(len(changes)) if at not in canaries)
    released = [changes[at] for at in chain(canaries, others)]
    if rank is None:
        for begin, end in pairwise(accumulate(sizes, initial=0)):
            wave = slice(max(begin, len(canaries)), end)
            released[wave] = sorted(released[wave], key=lambda one: -length_of(one, times))
    return released


def _drained(rows: list[T]) -> Iterator[T]:
    """What is in the list, each of which it holds no longer."""
    rows.reverse()
    while rows:
        yield rows.pop()


_RANKS: Mapping[ReleaseOrder, Callable[[Change], tuple[str, ...]]] = {
    ReleaseOrder.BY_OWNER: lambda change: (change.owner, change.scope, change.id),
    ReleaseOrder.BY_POOL: lambda change: (change.pool, change.scope, change.id),
    ReleaseOrder.BY_ID: lambda change: (change.id, change.scope),
}


def wave_remarks(changes: Sequence[Change], rollout: Rollout) -> Iterator[str]:
    """What a person should know of the waves: which were dropped, and which kinds the first one proves.

    `rollout` is the job's own, before its empty waves were dropped.
    """
    if not changes:
        return
    empty = empty_waves(len(changes), rollout.waves)
    if empty:
        waves = f"wave{'s' * (len(empty) > 1)} {', '.join(map(str, empty))}"
        yield (
            f"{waves} of [{', '.join(map(str, rollout.waves))}] would release no further change and "
            f"{'are' if len(empty) > 1 else 'is'} dropped; waves and approvals are counted without"
        )
    kinds = Counter(Kind.of(change) for change in changes)
    proven = Counter(Kind.of(change) for change in changes if change.wave == 1)
    if len(kinds) > 1 and changes[-1].wave > 1:
        rest = [
            f"none of {kinds[kind]} {kind.words(rollout)}" for kind in sorted(kinds.keys() - proven.keys())
        ]
        tried = [f"{proven[kind]} {kind.words(rollout)}" for kind in sorted(proven)]
        yield f"wave 1 tries {', '.join(tried + rest)}"
