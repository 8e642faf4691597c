"""How many requests fell into any window, from the instants at which a server saw them.

Plain counting, independent of every limiter that it judges.
"""

from __future__ import annotations

from collections.abc import Sequence


def fullest(instants: Sequence[float], window: float) -> int:
    """The most instants in any half-open window of so many seconds; `instants` are in order."""
    most = first = 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def steady_rate(instants: Sequence[float]) -> float:
    """Instants a second, from the first to the last."""
    if len(instants) < 2:
        return 0.0
    return (len(instants) - 1) / (instants[-1] - instants[0])
