"""Waves, budgets and verdicts; the budgets against an adversary."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.core.admission import Admission
from fleet.core.events import Outcome
from fleet.core.rollout import (
    EVERYTHING,
    FAILURES,
    GROUPS,
    NOT_BACK,
    Rollout,
    Share,
    empty_waves,
    wave_sizes,
    without_empty_waves,
)
from fleet.core.wave_gate import trial_size, verdict


@dataclass(frozen=True)
class Seat:
    """A change as a budget sees it."""

    item: int
    scope: str = "lab-a"
    owner: str = "ada"
    pool: str = ""
    flavor: str = "small"
    away: bool = True


def percent(amount: int) -> Share:
    return Share(amount, percent=True)


ALL = percent(100)


@pytest.mark.parametrize(
    ("total", "waves", "sizes"),
    [
        (100, (Share(1), percent(5), ALL), [1, 4, 95]),
        (10, (Share(1), percent(5), ALL), [1, 9]),
        (3, (Share(10), ALL), [3]),
        (100, (percent(50),), [50, 50]),
        (1, (percent(1), percent(50), ALL), [1]),
        (7, (), [7]),
        (0, (Share(1), ALL), []),
    ],
)
def test_wave_entries_are_running_totals(total: int, waves: tuple[Share, ...], sizes: list[int]) -> None:
    assert wave_sizes(total, waves) == sizes


SHARES = st.builds(Share, st.integers(0, 100), st.booleans())


@given(total=st.integers(0, 500), waves=st.lists(SHARES, max_size=6))
def test_waves_release_everything_once_and_no_wave_is_empty(total: int, waves: list[Share]) -> None:
    sizes = wave_sizes(total, waves)
    assert sum(sizes) == total
    assert all(size > 0 for size in sizes)
    assert len(sizes) <= len(waves) + 1


@pytest.mark.parametrize(
    ("share", "total", "number", "text"),
    [
        (Share(3), 100, 3, "3"),
        (Share(3), 1, 3, "3"),
        (percent(5), 100, 5, "5%"),
        (percent(5), 19, 1, "5%"),
        (percent(50), 3, 1, "50%"),
        (percent(0), 100, 0, "0%"),
        (Share(0), 100, 0, "0"),
    ],
)
def test_a_share_is_rounded_down_but_never_to_nothing(
    share: Share, total: int, number: int, text: str
) -> None:
    assert (share.of(total), str(share)) == (number, text)


# --- admission -------------------------------------------------------------------------------------------


def admission(seats: list[Seat], **settings: object) -> Admission[Seat]:
    found = Admission(Rollout(**settings), seats, away=lambda seat: seat.away)  # type: ignore[arg-type]  # test data
    found.release(seats)
    return found


def names(prefix: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *(f"{prefix}{number}" for number in range(4))])


@st.composite
def fleets(draw: st.DrawFn) -> list[Seat]:
    groups = st.tuples(names("s"), names("o"), names("p"), names("f"))
    rows = draw(st.lists(st.tuples(groups, st.booleans()), max_size=40))
    return [Seat(item, *groups, away=away) for item, (groups, away) in enumerate(rows)]


def examples(test: Callable[..., None]) -> Callable[..., None]:
    """Two notebooks that have one group in common, of which one may be away: for every group."""
    for group in GROUPS:
        seats = []
        for item in range(2):
            scope, owner, pool, flavor = ("same" if one == group else f"{one}{item}" for one in GROUPS[1:])
            seats.append(Seat(item, scope, owner, pool, flavor))
        usual: dict[str, Any] = {"concurrency": 2, "max_failures": None, "failing": 0, "waves": 1, "seed": 0}
        test = example(seats=seats, max_unavailable={group: Share(1)}, **usual)(test)
    return test


@pytest.mark.row(7)
@given(
    seats=fleets(),
    concurrency=st.integers(1, 64),
    max_failures=st.none() | st.integers(0, 20).map(Share),
    max_unavailable=st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 20).map(Share), max_size=3),
    failing=st.integers(0, 100),
    waves=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@examples
def test_no_order_of_ends_breaks_a_budget_or_loses_a_change(
    seats: list[Seat],
    concurrency: int,
    max_failures: Share | None,
    max_unavailable: Mapping[str, Share],
    failing: int,
    waves: int,
    seed: int,
) -> None:
    chance = random.Random(seed)
    rollout = Rollout(concurrency=concurrency, max_failures=max_failures, max_unavailable=max_unavailable)
    budget = Admission(rollout, seats, away=lambda seat: seat.away)
    under_way: list[Seat] = []
    lost: list[Seat] = []
    started: list[Seat] = []
    for wave in range(waves):
        budget.release(seats[wave::waves])
        while True:
            while chance.random() < 0.9 and (seat := budget.next()) is not None:
                under_way.append(seat)
                started.append(seat)
                assert_seats_hold(under_way, lost, max_unavailable)
            assert budget.in_flight == len(under_way) <= concurrency
            if not under_way:
                if (seat := budget.next()) is None:
                    break
                under_way.append(seat)
                started.append(seat)
            ended = under_way.pop(chance.randrange(len(under_way)))
            failed = chance.randrange(100) < failing
            back = not failed or chance.random() < 0.7
            lost += [] if back else [ended]
            budget.ended(ended, failed=failed, back=back)
            if max_failures is not None:
                assert budget.failures <= max_failures.amount
        assert not budget.may_yet_start
    assert len(set(started)) == len(started)
    assert len(started) + budget.pending == len(seats)
    if budget.pending:
        assert budget.exhausted is not None or budget.stuck is not None
    if budget.stuck is not None:
        assert lost


def assert_seats_hold(under_way: list[Seat], lost: list[Seat], limits: Mapping[str, Share]) -> None:
    gone = [seat for seat in under_way + lost if seat.away]
    for group, share in limits.items():
        taken = Counter("all" if group == "fleet" else getattr(seat, group) for seat in gone)
        del taken[""]  # a notebook without an owner or a pool has no such group
        assert max(taken.values(), default=0) <= share.amount, group


@pytest.mark.row(7)
def test_three_failures_allowed_means_never_four_even_if_all_under_way_fail() -> None:
    seats = [Seat(item) for item in range(10)]
    budget = admission(seats, max_failures=Share(3), concurrency=10)
    under_way = [seat for _ in range(10) if (seat := budget.next()) is not None]
    assert len(under_way) == 3
    for seat in under_way:
        budget.ended(seat, failed=True, back=True)
    assert budget.exhausted == "3 failed, max_failures is 3"
    assert budget.next() is None
    assert not budget.may_yet_start


def test_a_proven_change_makes_room_for_the_next_under_the_failure_budget() -> None:
    seats = [Seat(item) for item in range(3)]
    budget = admission(seats, max_failures=Share(1))
    first = budget.next()
    assert first is not None
    assert budget.next() is None
    assert budget.may_yet_start
    budget.ended(first, failed=False, back=True)
    assert budget.next() == seats[1]


def test_a_full_group_does_not_hold_up_the_others() -> None:
    seats = [Seat(0), Seat(1), Seat(2, owner="bob")]
    budget = admission(seats, max_unavailable={"owner": Share(1)})
    assert [budget.next(), budget.next(), budget.next()] == [seats[0], seats[2], None]
    budget.ended(seats[2], failed=False, back=True)
    assert budget.next() is None
    budget.ended(seats[0], failed=False, back=True)
    assert budget.next() == seats[1]


def test_changes_that_leave_their_notebook_in_place_use_no_seat() -> None:
    seats = [Seat(0), Seat(1, away=False), Seat(2, away=False)]
    budget = admission(seats, max_unavailable={"fleet": Share(1)})
    assert [budget.next(), budget.next(), budget.next()] == seats


def test_a_notebook_that_is_not_back_keeps_its_seat_and_may_leave_the_rest_stuck() -> None:
    seats = [Seat(0), Seat(1), Seat(2, owner="bob")]
    budget = admission(seats, max_unavailable={"owner": Share(1)})
    for _ in range(2):
        seat = budget.next()
        assert seat is not None
        assert budget.stuck is None
        budget.ended(seat, failed=False, back=seat.owner != "ada")
    assert budget.next() is None
    assert budget.stuck == "notebooks that are not back fill max_unavailable of owner ada"
    assert budget.pending == 1


def test_a_percentage_counts_within_its_group() -> None:
    seats = [Seat(item, owner="ada" if item < 10 else "bob") for item in range(14)]
    budget = admission(seats, max_unavailable={"owner": percent(30)})
    started = [seat for _ in seats if (seat := budget.next()) is not None]
    assert Counter(seat.owner for seat in started) == {"ada": 3, "bob": 1}


def test_a_seat_that_the_first_in_line_cannot_use_goes_to_the_next() -> None:
    """Everybody waits for the fleet's one seat; when it is free, its first candidate's owner is full."""
    seats = [Seat(0, owner="bob"), Seat(1), Seat(2), Seat(3, owner="eve")]
    budget = admission(seats, max_unavailable={"fleet": Share(2), "owner": Share(1)})
    assert [budget.next(), budget.next(), budget.next()] == [seats[0], seats[1], None]
    budget.ended(seats[0], failed=False, back=True)
    assert budget.next() == seats[3]


@pytest.mark.row(43)
def test_a_change_is_looked_at_a_few_times_however_many_wait_and_their_order_is_kept() -> None:
    seats = [Seat(item, owner=f"o{item % 50}") for item in range(2000)]
    rollout = Rollout(concurrency=50, max_unavailable={"fleet": Share(20), "owner": Share(2)})
    asked, started, under_way = Counter[int](), list[Seat](), list[Seat]()

    def away(seat: Seat) -> bool:
        asked[seat.item] += 1
        return True

    budget = Admission(rollout, seats, away)
    budget.release(seats)
    while len(started) < len(seats):
        while (seat := budget.next()) is not None:
            under_way.append(seat)
            started.append(seat)
        budget.ended(under_way.pop(0), failed=False, back=True)
    assert started == seats
    assert max(asked.values()) < 20


# --- what another process left under way -----------------------------------------------------------------


def test_what_is_overdue_goes_before_what_is_new_but_no_more_at_once_than_allowed() -> None:
    seats = [Seat(item) for item in range(5)]
    budget = admission(seats[3:], concurrency=2)
    budget.release(seats[:3], overdue=True)
    assert [budget.next(), budget.next(), budget.next()] == [seats[0], seats[1], None]
    assert (budget.in_flight, budget.overdue, budget.pending) == (2, True, 3)
    budget.ended(seats[0], failed=False, back=True)
    assert [budget.next(), budget.next()] == [seats[2], None]
    budget.ended(seats[1], failed=False, back=True)
    assert budget.next() == seats[3]


@pytest.mark.row(48)
def test_no_other_budget_keeps_what_is_overdue_from_going_home() -> None:
    seats = [Seat(item) for item in range(3)]
    budget = admission(seats[2:], max_failures=Share(1), max_unavailable={"fleet": Share(1)})
    budget.count_past(seats[2], failed=True, back=False)
    budget.release(seats[:2], overdue=True)
    assert [budget.next(), budget.next(), budget.next()] == [seats[0], seats[1], None]
    assert budget.exhausted == "1 failed, max_failures is 1"


# --- waves that are dropped ------------------------------------------------------------------------------


HALVES = (Share(1), Share(1), Share(50, percent=True), EVERYTHING)


@pytest.mark.parametrize(
    ("total", "approve", "waves", "asked"),
    [
        (10, (1, 2, 3), (HALVES[0], *HALVES[2:]), (1, 2)),
        (10, (3,), (HALVES[0], *HALVES[2:]), (2,)),
        (2, (1, 2, 3), (HALVES[0], EVERYTHING), (1,)),
        (1, (1, 2), HALVES[:1], ()),
        (0, (1, 2), HALVES, (1, 2)),
    ],
)
def test_approvals_keep_their_places_when_waves_are_dropped(
    total: int, approve: tuple[int, ...], waves: tuple[Share, ...], asked: tuple[int, ...]
) -> None:
    walked = without_empty_waves(Rollout(waves=HALVES, approve=approve), total)
    assert (walked.waves, walked.approve) == (waves, asked)


@given(
    waves=st.lists(st.builds(Share, st.integers(1, 100), st.booleans()), min_size=1, max_size=5),
    total=st.integers(1, 300),
)
def test_without_its_empty_waves_a_rollout_releases_the_same(waves: list[Share], total: int) -> None:
    walked = without_empty_waves(Rollout(waves=tuple(waves)), total).waves
    assert wave_sizes(total, walked) == wave_sizes(total, waves)
    assert empty_waves(total, walked) == ()


# --- verdicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "exhausted", "no_go"),
    [
        ([Outcome.CHANGED] * 3, None, None),
        ([], None, None),
        ([Outcome.SKIPPED, Outcome.DRIFTED, Outcome.GONE], None, None),
        ([Outcome.CHANGED, Outcome.FAILED], None, None),
        ([Outcome.FAILED, Outcome.DRIFTED], None, "none of the wave was changed, 1 failed"),
        ([Outcome.CHANGED, Outcome.STRANDED], None, "1 stranded or unknown"),
        ([Outcome.UNKNOWN, Outcome.STRANDED], None, "2 stranded or unknown"),
        ([Outcome.CHANGED], "3 failed, max_failures is 3", "3 failed, max_failures is 3"),
    ],
)
def test_a_wave_gets_its_verdict(outcomes: list[Outcome], exhausted: str | None, no_go: str | None) -> None:
    assert verdict(Counter(outcomes), exhausted) == no_go


@pytest.mark.parametrize(
    ("waves", "size"),
    [
        ([], None),
        ([(1, [Outcome.CHANGED])], None),
        ([(1, [Outcome.UNCHANGED])], None),
        ([(3, [Outcome.DRIFTED, Outcome.SKIPPED, Outcome.GONE])], 3),
        ([(3, [Outcome.DRIFTED, Outcome.CHANGED, Outcome.FAILED])], None),
        ([(1, [])], 1),  # another run holds it
        ([(1, [Outcome.DRIFTED]), (9, [Outcome.SKIPPED])], 1),
        ([(9, [Outcome.DRIFTED]), (2, [Outcome.SKIPPED])], 2),
        ([(1, [Outcome.CHANGED]), (9, [Outcome.SKIPPED])], 9),
        ([(1, [Outcome.DRIFTED]), (9, [Outcome.CHANGED])], None),
    ],
)
def test_no_larger_wave_may_follow_one_that_proved_nothing(
    waves: list[tuple[int, list[Outcome]]], size: int | None
) -> None:
    assert trial_size((planned, Counter(outcomes)) for planned, outcomes in waves) == size


def test_whoever_is_not_back_counts_as_failed() -> None:
    assert NOT_BACK < FAILURES
    assert not FAILURES & {Outcome.CHANGED, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.DRIFTED, Outcome.GONE}


@pytest.mark.parametrize(
    ("rollout", "binding"),
    [
        (Rollout(concurrency=2), ("concurrency 2",)),
        (
            Rollout(concurrency=9, max_failures=Share(2)),
            ("max_failures 2 (0 failed, each under way may fail)",),
        ),
        (
            Rollout(concurrency=9, max_unavailable={"fleet": Share(2)}),
            ("max_unavailable of fleet 2",),
        ),
        (Rollout(concurrency=9, max_unavailable={"owner": Share(2)}), ("max_unavailable of owner ada 2",)),
        (Rollout(concurrency=9), ()),
    ],
)
def test_the_budget_that_keeps_the_next_change_from_starting_is_named(
    rollout: Rollout, binding: tuple[str, ...]
) -> None:
    seats = [Seat(item) for item in range(4)]
    admission = Admission(rollout, seats, away=lambda seat: seat.away)
    admission.release(seats)
    while admission.next() is not None:
        pass
    assert admission.binding == binding


def test_the_budgets_below_concurrency_tell_how_much_they_let_be_under_way() -> None:
    seats = [Seat(item) for item in range(40)]
    rollout = Rollout(max_failures=Share(3), max_unavailable={"fleet": Share(10), "owner": Share(2)})
    admission = Admission(rollout, seats, away=lambda seat: seat.away)
    assert [*admission.ceilings.values()] == [3, 10]
    admission.count_past(seats[0], failed=True, back=True)
    assert admission.ceilings["max_failures 3 (1 failed, each under way may fail)"] == 2
