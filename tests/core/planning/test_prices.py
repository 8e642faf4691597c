"""Prices: the file, a month to the cent, and what a plan says of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import UsageError
from fleet.core.planning.plan import Change, Cost
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.core.planning.prices import BASIS, price_remarks, read_prices, total, with_costs
from tests.plans import make_change, make_plan

FULL = Cost(Decimal("102.57"), Decimal("51.10"), "USD", Decimal("102.57"), Decimal("51.10"))
THIRD = Cost(Decimal("30.77"), Decimal("15.33"), "USD", Decimal("102.57"), Decimal("51.10"))
TEXT = "flavor,price_per_hour,currency\nsmall,0.07,USD\nlarge,0.1405,USD\n"


def resize(item: int = 0, before: str = "large", after: str = "small", **more: Any) -> Change:
    return make_change(item, flavor=before, before={"flavor": before}, after={"flavor": after}, **more)


def test_a_month_has_730_hours_and_costs_are_rounded_to_the_cent() -> None:
    cost = read_prices(TEXT, "prices.csv").cost("large", "small", 1.0)
    assert cost == FULL  # 102.565 is rounded up
    assert cost is not None
    assert cost.saved == cost.saved_full == Decimal("51.47")


def test_a_notebook_that_runs_a_third_of_the_time_costs_a_third_and_keeps_its_full_price_beside_it() -> None:
    cost = read_prices(TEXT, "prices.csv").cost("large", "small", 0.3)
    assert cost == THIRD
    assert cost is not None
    assert (cost.saved, cost.saved_full) == (Decimal("15.44"), Decimal("51.47"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prices.csv: the first line must be flavor,price_per_hour,currency"),
        ("flavor,price\n", "prices.csv: the first line must be flavor,price_per_hour,currency"),
        ("flavor,price_per_hour,currency\n", "prices.csv: holds no price"),
        (f"{TEXT}x,1\n", "prices.csv:4: 2 values; a line has flavor, price_per_hour, currency"),
        (f"{TEXT},1,USD\n", "prices.csv:4: the flavor is missing"),
        (f"{TEXT}x,-1,USD\n", "prices.csv:4: '-1' is not a price such as 0.42"),
        (f"{TEXT}x,1e3,USD\n", "prices.csv:4: '1e3' is not a price such as 0.42"),
        (f"{TEXT}x,NaN,USD\n", "prices.csv:4: 'NaN' is not a price such as 0.42"),
        (f"{TEXT}x,1,dollars\n", "prices.csv:4: 'dollars' is not a currency such as USD"),
        (f"{TEXT}x,1,EUR\n", "prices.csv:4: EUR after USD; keep one currency in a file"),
        (f"{TEXT}small,1,USD\n", "prices.csv:4: small has a price already"),
    ],
)
def test_a_wrong_price_list_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_prices(text, "prices.csv")
    assert str(caught.value) == message


def test_blank_lines_and_spaces_do_no_harm() -> None:
    assert read_prices("flavor,price_per_hour,currency\n\n a , 1 , USD \n", "p").hourly == {"a": Decimal(1)}


def test_only_changes_of_the_flavor_have_a_cost_and_usage_tells_the_hours() -> None:
    prices = read_prices(TEXT, "prices.csv")
    changes = (resize(0), resize(1), make_change(2, flavor="large"), resize(3, after="unheard-of"))
    full, third, image, unknown = with_costs(changes, prices, {("lab-a", changes[1].id): 0.3})
    assert full.cost == FULL
    assert third.cost == THIRD
    assert image.cost is None
    assert unknown.cost is None


def test_the_remarks_tell_the_sum_and_what_is_not_in_it() -> None:
    prices = read_prices(TEXT, "prices.csv")
    changes = with_costs([resize(0), resize(1, "small", "large"), resize(2, "large", "odd")], prices, {})
    assert list(price_remarks(changes, prices)) == [
        "cost of a month, running 24x7 (730 hours): 153.67 USD before, 153.67 after: saves 0.00",
        "no price for odd: 1 of the changes not in the sum",
    ]
    dearer = with_costs([resize(0, "small", "large")], prices, {})
    assert list(price_remarks(dearer, prices)) == [
        "cost of a month, running 24x7 (730 hours): 51.10 USD before, 102.57 after: costs 51.47 more",
    ]
    assert list(price_remarks(changes, None)) == []


def test_where_usage_tells_the_hours_the_full_price_stands_beside_what_was_run() -> None:
    prices = read_prices(TEXT, "prices.csv")
    changes = [resize(0), resize(1)]
    assert list(price_remarks(with_costs(changes, prices, {("lab-a", changes[0].id): 0.3}), prices)) == [
        "cost of a month, as much of it as they ran: 133.34 USD before, 66.43 after: saves 66.91",
        "cost of a month, running 24x7 (730 hours): 205.14 USD before, 102.20 after: saves 102.94",
        BASIS,
    ]


def test_a_plan_of_an_earlier_version_knows_no_full_price() -> None:
    cost = Cost(Decimal("30.77"), Decimal("15.33"), "USD")
    assert (cost.full_before, cost.saved_full) == (None, None)
    old = replace(resize(0), cost=cost)
    assert load_plan(dump_plan(make_plan(old)), "plan").changes == (old,)
    assert list(price_remarks([old], read_prices(TEXT, "prices.csv"))) == [
        "cost of a month, as much of it as they ran: 30.77 USD before, 15.33 after: saves 15.44",
        BASIS,
    ]


@given(st.lists(st.tuples(st.sampled_from(["small", "large"]), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_sum_is_that_of_the_cents_that_are_shown(moves: list[tuple[str, float]]) -> None:
    prices = read_prices(TEXT, "prices.csv")
    changes = [resize(item, "large", after) for item, (after, _) in enumerate(moves)]
    running = {("lab-a", change.id): share for change, (_, share) in zip(changes, moves, strict=True)}
    priced = with_costs(changes, prices, running)
    whole = total(priced)
    assert whole is not None
    costs = [change.cost for change in priced if change.cost is not None]
    assert whole.saved == sum((cost.saved for cost in costs), Decimal(0))
    assert all(cost.before == cost.before.quantize(Decimal("0.01")) for cost in costs)


def test_why_and_cost_are_sealed_with_the_plan() -> None:
    (change,) = with_costs([resize(why="down: cpu p95 4%")], read_prices(TEXT, "p"), {})
    data = dump_plan(make_plan(change))
    assert load_plan(data, "plan").changes == (change,)
    assert b'"full_before":"102.57","full_after":"51.10"' in data.replace(b" ", b"")
    with pytest.raises(UsageError, match="altered"):
        load_plan(data.replace(b"51.10", b"51.11"), "plan")
    with pytest.raises(UsageError, match="altered"):
        load_plan(data.replace(b"p95 4%", b"p95 5%"), "plan")
