"""Changes that a breaker holds come back in order; those that are barred never start, and nobody waits."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.admission import Admission
from fleet.core.rollout import Rollout, Share


@dataclass(frozen=True)
class Seat:
    """A change as a budget sees it."""

    item: int
    scope: str = "lab-a"
    owner: str = "ada"
    pool: str = ""
    flavor: str = "small"


class Held:
    """An admission with a breaker and a bar that a test works by hand."""

    def __init__(self, seats: list[Seat], rollout: Rollout) -> None:
        self.stormy: set[str] = set()
        self.sold_out: set[str] = set()
        self.admission = Admission(
            rollout,
            seats,
            away=lambda _: True,
            admits=lambda scope: scope not in self.stormy,
            barred=lambda seat: f"{seat.flavor} sold out" if seat.flavor in self.sold_out else None,
        )
        self.admission.release(seats)

    def start_all(self) -> list[int]:
        started = []
        while (seat := self.admission.next()) is not None:
            started.append(seat.item)
        return started


def test_the_storm_of_one_scope_does_not_hold_the_others() -> None:
    seats = [Seat(item, scope="ab"[item % 2]) for item in range(6)]
    held = Held(seats, Rollout())
    held.stormy.add("a")
    assert held.start_all() == [1, 3, 5]
    assert held.admission.may_yet_start
    held.stormy.clear()
    assert held.start_all() == [0, 2, 4]


def test_what_is_held_may_yet_start_although_nothing_is_under_way() -> None:
    held = Held([Seat(0)], Rollout())
    held.stormy.add("lab-a")
    assert held.start_all() == []
    assert held.admission.may_yet_start
    assert held.admission.stuck is None
    assert held.admission.pending == 1


@pytest.mark.row(5)
def test_what_is_overdue_goes_home_through_any_storm() -> None:
    held = Held([], Rollout())
    held.stormy.add("lab-a")
    held.sold_out.add("small")
    held.admission.release([Seat(7)], overdue=True)
    assert held.start_all() == [7]
    assert held.admission.shut_out() == []


@pytest.mark.row(35)
def test_whoever_is_barred_is_handed_out_once_with_the_reason_wherever_it_waited() -> None:
    waits, parked, stormy, other = (
        Seat(0, owner="w"),
        Seat(1),
        Seat(2, scope="lab-b", owner="s"),
        Seat(3, flavor="big", owner="o"),
    )
    first = Seat(4, flavor="big")
    held = Held([first, parked, stormy, other], Rollout(max_unavailable={"owner": Share(1)}, concurrency=2))
    held.stormy.add("lab-b")
    assert held.start_all() == [4, 3]
    held.admission.release([waits])
    held.sold_out.add("small")
    reason = "small sold out"
    assert {(seat.item, why) for seat, why in held.admission.shut_out()} == {(n, reason) for n in (0, 1, 2)}
    assert held.admission.shut_out() == []
    assert held.admission.pending == 0
    assert held.admission.stuck is None


def test_a_seat_that_a_barred_change_was_woken_for_goes_to_the_next() -> None:
    seats = [Seat(0, flavor="big"), Seat(1), Seat(2, flavor="big")]
    held = Held(seats, Rollout(max_unavailable={"fleet": Share(1)}))
    assert held.start_all() == [0]
    held.sold_out.add("small")
    held.admission.ended(seats[0], failed=False, back=True)
    assert held.start_all() == [2]


def test_a_past_failure_that_is_not_back_keeps_its_seat() -> None:
    lost, next_one = Seat(0), Seat(1)
    held = Held([next_one], Rollout(max_unavailable={"owner": Share(1)}))
    held.admission.count_past(lost, failed=True, back=False)
    assert held.start_all() == []
    assert held.admission.stuck == "notebooks that are not back fill max_unavailable of owner ada"


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("fg")), max_size=30
    ),
    concurrency=st.integers(1, 8),
    owners=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_storms_and_bars_in_any_order_lose_no_change_and_start_none_that_they_forbid(
    rows: list[tuple[str, str, str]], concurrency: int, owners: int, seed: int
) -> None:
    chance = random.Random(seed)
    seats = [Seat(item, scope, owner, flavor=flavor) for item, (scope, owner, flavor) in enumerate(rows)]
    rollout = Rollout(concurrency=concurrency, max_unavailable={"owner": Share(owners)})
    held = Held(seats, rollout)
    under_way: list[Seat] = []
    begun: set[int] = set()
    for _ in range(400):
        held.stormy ^= {chance.choice("ab")} if chance.random() < 0.3 else set()
        held.sold_out |= {chance.choice("fg")} if chance.random() < 0.02 else set()
        if chance.random() < 0.5 and (seat := held.admission.next()) is not None:
            assert seat.scope not in held.stormy
            assert seat.flavor not in held.sold_out
            under_way.append(seat)
            begun.add(seat.item)
        elif under_way:
            held.admission.ended(under_way.pop(chance.randrange(len(under_way))), failed=False, back=True)
    held.stormy.clear()
    while (seat := held.admission.next()) is not None or under_way:
        if seat is not None:
            under_way.append(seat)
            begun.add(seat.item)
        else:
            held.admission.ended(under_way.pop(), failed=False, back=True)
    left = {seat.item for seat, _ in held.admission.shut_out()}
    assert begun | left == {seat.item for seat in seats}
    assert not begun & left
    assert held.admission.pending == 0
