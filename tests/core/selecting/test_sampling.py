"""A sample is the same each time, and a larger one holds the smaller one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Notebook, Status
from fleet.core.rollout import Share
from fleet.core.selecting.sampling import Sample, sampled
from fleet.core.selecting.selection import Selection

_KEYS = st.sets(st.tuples(st.sampled_from(["lab-a", "lab-b"]), st.uuids().map(str)), max_size=60)
_SHARES = st.one_of(
    st.integers(1, 80).map(Share), st.integers(1, 100).map(lambda amount: Share(amount, percent=True))
)
_SEEDS = st.integers(0, 2**40)


@given(_KEYS, _SHARES, _SEEDS, st.randoms())
def test_no_order_of_reading_changes_the_sample(
    keys: set[tuple[str, str]], share: Share, seed: int, chance: random.Random
) -> None:
    shuffled = list(keys)
    chance.shuffle(shuffled)
    chosen = Sample(share, seed).of(shuffled)
    assert chosen == Sample(share, seed).of(sorted(keys))
    assert chosen <= keys
    assert len(chosen) == min(len(keys), share.of(len(keys)))


@given(_KEYS, _SHARES, _SHARES, _SEEDS)
def test_a_larger_sample_holds_the_smaller_one(
    keys: set[tuple[str, str]], one: Share, other: Share, seed: int
) -> None:
    small, large = sorted((one, other), key=lambda share: share.of(len(keys)))
    assert Sample(small, seed).of(keys) <= Sample(large, seed).of(keys)


@given(_KEYS, st.integers(1, 60), _SEEDS, st.tuples(st.just("lab-c"), st.uuids().map(str)))
def test_one_notebook_more_takes_at_most_one_place(
    keys: set[tuple[str, str]], most: int, seed: int, newcomer: tuple[str, str]
) -> None:
    sample = Sample(Share(most), seed)
    assert len(sample.of(keys) - sample.of({*keys, newcomer})) <= 1


def test_another_seed_picks_others_and_every_notebook_has_its_chance() -> None:
    keys = {("lab-a", f"nb-{at}") for at in range(20)}
    picked = {Sample(Share(1), seed).of(keys) for seed in range(400)}
    assert len(picked) == len(keys)


def test_a_sample_stays_the_same_from_release_to_release() -> None:
    keys = [("lab-a", f"nb-{at}") for at in range(9)]
    assert [key[1] for key in Sample(Share(9), 7).ranked(keys)] == [
        "nb-3",
        "nb-4",
        "nb-6",
        "nb-8",
        "nb-5",
        "nb-0",
        "nb-7",
        "nb-2",
        "nb-1",
    ]


@pytest.mark.parametrize("limit", [Share(2), Share(50, percent=True)])
def test_all_scopes_share_one_sample_and_what_did_not_hold_still_counts(limit: Share) -> None:
    def rows(*names: str) -> tuple[Notebook, ...]:
        return tuple(Notebook(name, Status.RUNNING) for name in names)

    found = [
        Selection("lab-a", rows("1", "2"), rows("1", "2")),
        Selection("lab-b", rows("3"), (), rows("3", "4")),
    ]
    chosen = sampled(found, Sample(limit, 1))
    keys = {(one.scope, row.id) for one in chosen for row in (*one.matched, *one.unstable)}
    assert keys == Sample(limit, 1).of([("lab-a", "1"), ("lab-a", "2"), ("lab-b", "3"), ("lab-b", "4")])
    assert [one.rows for one in chosen] == [one.rows for one in found]
    assert sampled(found, None) == found
