"""Reasons of one kind are one line, whatever their numbers; reasons of two kinds are never one."""

from __future__ import annotations

import pytest

from fleet.core.events import Outcome
from fleet.core.planning.left_out import by_kind
from fleet.core.planning.plan import Settled


def settled(*reasons: str, outcome: Outcome = Outcome.SKIPPED) -> list[Settled]:
    return [
        Settled(item, "lab-a", f"id-{item}", f"nb-{item}", "ann", outcome, reason)
        for item, reason in enumerate(reasons)
    ]


@pytest.mark.parametrize(
    "reasons",
    [
        (
            "too little data: cpu 3% of 14d, 20% are needed",
            "too little data: cpu 17.5% of 14d, 20% are needed",
        ),
        (
            "its flavor was changed 0s ago",
            "its flavor was changed 2.5d ago",
            "its flavor was changed 1h30m ago",
        ),
        (
            "would still let 203.0.113.9 in",
            "would still let 198.51.100.0/24 in",
            "would still let 2001:db8::7/64 in",
        ),
        ("6 addresses: 10.0.0.1, 10.0.0.2 and 10.0.0.3", "5 addresses: 10.0.0.1"),
        ("run 20261123-101500-ab12 may have", "run 20261001-000000-0z9f may have"),
        (
            "no image 278e88d1-5b71-4766-8502-b3ba72e824d9",
            "no image f88e88d1-5b71-4766-8502-b3ba72e824d9",
        ),
        ("left alone until 2026-12-01 22:00 UTC", "left alone until 2026-12-02T21:30:00Z UTC"),
    ],
)
def test_reasons_that_differ_in_numbers_and_addresses_are_of_one_kind(reasons: tuple[str, ...]) -> None:
    (kind,) = by_kind(settled(*reasons))
    assert (kind.count, kind.such.name, kind.such.reason) == (len(reasons), "nb-0", reasons[0])


@pytest.mark.parametrize(
    "reasons",
    [
        ("modelarts.vm.cpu.2u is sold out", "modelarts.vm.cpu.4u is sold out"),
        ("pytorch1.8-cuda is INIT", "pytorch2.6-cuda is INIT"),
        ("status CREATE_FAILED", "status FROZEN"),
        ("is a bee", "is a fee"),
    ],
)
def test_names_with_numbers_in_them_keep_reasons_apart(reasons: tuple[str, ...]) -> None:
    assert [kind.count for kind in by_kind(settled(*reasons))] == [1] * len(reasons)


def test_the_same_words_for_two_outcomes_are_two_kinds_the_most_frequent_first() -> None:
    rows = [*settled("so"), *settled("so", "so", outcome=Outcome.UNCHANGED)]
    assert [(kind.count, kind.such.outcome) for kind in by_kind(rows)] == [
        (2, Outcome.UNCHANGED),
        (1, Outcome.SKIPPED),
    ]
