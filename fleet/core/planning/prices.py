"""What flavors cost, from a file that a person keeps: to the cent, in one currency, never a guess."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from io import StringIO

from fleet.core.errors import UsageError
from fleet.core.planning.plan import Change, Cost
from fleet.core.text import clean

HOURS = Decimal(730)  # a month
_CENT = Decimal("0.01")
_COLUMNS = ("flavor", "price_per_hour", "currency")
_PRICE = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")

BASIS = (
    "a month has 730 hours; of notebooks whose usage was measured only the part that they ran counts, as far "
    "as there are samples (the share in the column why)"
)


@dataclass(frozen=True, slots=True)
class Prices:
    """The price of an hour by flavor, all in one currency."""

    currency: str
    hourly: Mapping[str, Decimal] = field(repr=False)

    def cost(self, before: str, after: str, share: float) -> Cost | None:
        """What a month costs on either flavor when the notebook runs for that share of it, and for all of it.

        None when the price of one is not known.
        """
        if before not in self.hourly or after not in self.hourly:
            return None
        old, new = (self.hourly[flavor] * HOURS for flavor in (before, after))
        ran = Decimal(repr(share))
        return Cost(_cents(old * ran), _cents(new * ran), self.currency, _cents(old), _cents(new))


def read_prices(text: str, where: str) -> Prices:
    """The prices in a CSV text with the columns flavor, price_per_hour and currency.

    Raises UsageError with `where` and the line.
    """
    rows = csv.reader(StringIO(text))
    hourly: dict[str, Decimal] = {}
    currency = ""
    try:
        head = tuple(cell.strip() for cell in next(rows, []))
        if head != _COLUMNS:
            raise UsageError(f"{where}: the first line must be {','.join(_COLUMNS)}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            flavor, price, unit = _price(row, f"{where}:{rows.line_num}")
            if flavor in hourly:
                raise UsageError(f"{where}:{rows.line_num}: {clean(flavor)} has a price already")
            if currency not in ("", unit):
                raise UsageError(
                    f"{where}:{rows.line_num}: {unit} after {currency}; keep one currency in a file"
                )
            hourly[flavor], currency = price, unit
    except csv.Error as error:
        raise UsageError(f"{where}:{rows.line_num}: not CSV: {error}") from None
    if not hourly:
        raise UsageError(f"{where}: holds no price")
    return Prices(currency, hourly)


def _price(row: list[str], where: str) -> tuple[str, Decimal, str]:
    if len(row) != len(_COLUMNS):
        raise UsageError(f"{where}: {len(row)} values; a line has {', '.join(_COLUMNS)}")
    flavor, price, currency = (cell.strip() for cell in row)
    if not flavor:
        raise UsageError(f"{where}: the flavor is missing")
    if not _PRICE.fullmatch(price):
        raise UsageError(f"{where}: {clean(price, 40)!r} is not a price such as 0.42")
    if not _CURRENCY.fullmatch(currency):
        raise UsageError(f"{where}: {clean(currency, 40)!r} is not a currency such as USD")
    return flavor, Decimal(price), currency


def with_costs(
    changes: Iterable[Change], prices: Prices, running: Mapping[tuple[str, str], float]
) -> tuple[Change, ...]:
    """The changes, those of the flavor with what a month costs before and after.

    `running` is the share of the time that a notebook ran, by scope and id; all of it where nothing tells.
    """
    return tuple(
        replace(change, cost=prices.cost(change.flavor, change.after["flavor"], share))
        if "flavor" in change.after
        else change
        for change in changes
        for share in (running.get((change.scope, change.id), 1.0),)
    )


def unpriced(changes: Iterable[Change], prices: Prices) -> tuple[str, ...]:
    """The flavors that changes come from or go to and that have no price."""
    named = {
        flavor
        for change in changes
        if "flavor" in change.after
        for flavor in (change.flavor, change.after["flavor"])
    }
    return tuple(sorted(named - prices.hourly.keys()))


def total(changes: Iterable[Change]) -> Cost | None:
    """What all priced changes cost together; None when none has a price."""
    costs = [change.cost for change in changes if change.cost is not None]
    if not costs:
        return None
    return Cost(
        sum((cost.before for cost in costs), Decimal(0)),
        sum((cost.after for cost in costs), Decimal(0)),
        costs[0].currency,
        _sum(cost.full_before for cost in costs),
        _sum(cost.full_after for cost in costs),
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """All together; None when one is not known."""
    found = list(amounts)
    known = [amount for amount in found if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(found) else None


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


def price_remarks(changes: Iterable[Change], prices: Prices | None) -> Iterator[str]:
    """What a person should know of the costs in a plan: the sum, and what is not in it."""
    if prices is None:
        return
    counted = [change for change in changes if "flavor" in change.after]
    sum_of = total(counted)
    if sum_of is not None:
        partly = (sum_of.before, sum_of.after) != (sum_of.full_before, sum_of.full_after)
        if partly:
            yield _told("as much of it as they ran", sum_of.before, sum_of.after, sum_of.currency)
        if sum_of.full_before is not None and sum_of.full_after is not None:
            yield _told("running 24x7 (730 hours)", sum_of.full_before, sum_of.full_after, sum_of.currency)
        if partly:
            yield BASIS
    missing = unpriced(counted, prices)
    if missing:
        without = sum(change.cost is None for change in counted)
        yield f"no price for {', '.join(missing)}: {without} of the changes not in the sum"


def _told(what: str, before: Decimal, after: Decimal, currency: str) -> str:
    saved = before - after
    news = f"saves {saved}" if saved >= 0 else f"costs {-saved} more"
    return f"cost of a month, {what}: {before} {currency} before, {after} after: {news}"
