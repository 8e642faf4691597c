"""What a plan leaves out, by kind: reasons that differ only in numbers and addresses count as one.

`plan` has the rows themselves; this is for people, who could not read a line for every number.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fleet.core.planning.plan import Settled

_VARIES = re.compile(
    r"""
    \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b  # an id
    | \b\d{8}-\d{6}-[0-9a-z]{4}\b                    # a run
    | (?<![\w.:-])(?:[0-9a-f]{0,4}:){2,}[0-9a-f.:]*(?:/\d+)?  # an IPv6 address or range, a time
    | (?<![\w.-])(?:\d+(?:\.\d+)?[dhms])+\b           # a duration
    | (?<![\w.-])\d[\d.:/-]*(?:T[\d:.]+Z?)?          # a number, an IPv4 address or range, a date
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LISTED = re.compile(r"#(?:(?:,? and |, | )#)+")  # however many of them


@dataclass(frozen=True, slots=True)
class LeftOut:
    """So many notebooks of one outcome and one kind of reason; `such` is the first of them."""

    count: int
    such: Settled


def by_kind(rows: Iterable[Settled]) -> list[LeftOut]:
    """The kinds of what is left out, the most frequent first."""
    counts, such = Counter[tuple[str, str]](), dict[tuple[str, str], Settled]()
    for row in rows:
        kind = row.outcome.value, _kind(row.reason)
        counts[kind] += 1
        such.setdefault(kind, row)
    return [LeftOut(count, such[kind]) for kind, count in counts.most_common()]


def _kind(reason: str) -> str:
    """The reason without what differs from notebook to notebook; numbers in names stay."""
    return _LISTED.sub("#", _VARIES.sub("#", reason))
