"""How many notebooks a job may change, who must say the number, and what it takes to lift a limit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import Exit, GuardError, UsageError
from fleet.core.planning.guards import (
    SMALL,
    Guards,
    confirmed,
    exceeded,
    lifted,
    parse_overrides,
    unconfirmed,
)
from fleet.core.rollout import EVERYTHING, Share

DEFAULT = Guards()
QUARTER = Guards(max_targets=30, max_share=Share(25, percent=True))


@pytest.mark.parametrize(
    ("guards", "count", "listed", "broken"),
    [
        (DEFAULT, 0, 0, []),
        (DEFAULT, 500, 1000, []),
        (DEFAULT, 501, 100_000, ["max_targets"]),
        (DEFAULT, 21, 42, []),
        (DEFAULT, 22, 43, ["max_share"]),
        (DEFAULT, 20, 20, []),
        (DEFAULT, 21, 21, ["max_share"]),
        (DEFAULT, 900, 1000, ["max_targets", "max_share"]),
        (QUARTER, 25, 100, []),
        (QUARTER, 26, 100, ["max_share"]),
        (Guards(max_targets=5), 6, 6, ["max_targets"]),
        (Guards(max_targets=1000, max_share=EVERYTHING), 1000, 1000, []),
    ],
)
def test_a_job_may_change_so_many_and_no_more(
    guards: Guards, count: int, listed: int, broken: list[str]
) -> None:
    assert [name for name, _ in exceeded(guards, count, listed)] == broken


@given(st.integers(0, SMALL), st.integers(0, SMALL))
def test_a_few_may_be_any_part_of_a_fleet(count: int, listed: int) -> None:
    assert not [*exceeded(Guards(max_share=Share(1, percent=True)), count, listed)]


def test_a_limit_that_is_broken_is_one_line_that_says_how_to_raise_it() -> None:
    with pytest.raises(GuardError) as caught:
        lifted(exceeded(DEFAULT, 600, 10_000), {})
    assert str(caught.value) == (
        "600 notebooks would change, guards.max_targets is 500: narrow the selector, raise the limit in the "
        'job file, or for this plan alone: --override max_targets --reason "WHY"'
    )
    assert caught.value.exit is Exit.STOPPED_BY_GUARD
    with pytest.raises(GuardError, match=r"^60 of all 100 notebooks would change, guards.max_share is 50%: "):
        lifted(exceeded(DEFAULT, 60, 100), {"max_targets": "why"})


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (
            {"max_targets": "agreed with all"},
            {
                "max_targets": "600 notebooks would change, guards.max_targets is 500; overridden: "
                "agreed with all"
            },
        ),
        ({"max_targets": "a", "max_share": "b"}, None),
    ],
)
def test_only_what_was_in_the_way_is_lifted_and_the_reason_stays(
    overrides: Mapping[str, str], kept: Mapping[str, str] | None
) -> None:
    found = lifted(exceeded(DEFAULT, 600, 10_000), overrides)
    assert found.keys() == {"max_targets"}
    assert kept is None or found == kept


@pytest.mark.parametrize(
    ("names", "reason", "problem"),
    [
        (["max_target"], "why", "--override: no limit 'max_target'; did you mean max_targets?"),
        (["protect"], "why", "--override: no limit 'protect'; there are max_targets, max_share, quota"),
        (["max_share"], " \n", '--override max_share: say why, for those who read the plan: --reason "WHY"'),
        (
            [],
            "why",
            "--reason: explains an override; name the limit: --override max_targets or max_share or quota",
        ),
    ],
)
def test_no_limit_is_lifted_without_a_name_and_a_reason(names: list[str], reason: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_overrides(names, reason)
    assert str(caught.value) == problem


def test_a_reason_is_one_harmless_line_for_every_limit_named() -> None:
    told = parse_overrides(["max_share", "max_targets", "max_share"], " agreed\n with  \x1b[2J all ")
    assert told == {"max_share": "agreed with \\x1b[2J all", "max_targets": "agreed with \\x1b[2J all"}
    assert parse_overrides([], "") == {}


@pytest.mark.parametrize(
    ("count", "yes", "said", "free"),
    [
        (0, False, None, True),
        (1, False, None, False),
        (20, True, None, True),
        (21, True, None, False),
        (21, False, 21, True),
        (21, True, 21, True),
        (3, False, 3, True),
    ],
)
def test_a_few_need_a_yes_and_many_their_number(count: int, yes: bool, said: int | None, free: bool) -> None:
    assert confirmed(count, 20, yes=yes, said=said) is free


@pytest.mark.parametrize("count", [0, 20, 22])
def test_another_number_than_the_count_is_no_permission(count: int) -> None:
    with pytest.raises(
        GuardError, match=f"^{count} notebooks would change, --confirm says 21; nothing was sent"
    ):
        confirmed(count, 20, yes=True, said=21)


def test_where_yes_is_not_enough_it_is_said_what_is() -> None:
    told = unconfirmed(61, 20)
    assert told.exit is Exit.STOPPED_BY_GUARD
    assert str(told) == (
        "61 notebooks would change, more than guards.confirm_over (20), so --yes is not enough; "
        "repeat with --confirm 61, or raise the limit in the job file"
    )
