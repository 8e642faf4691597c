"""What the engine gets back from calls to the cloud, and the turn it waits for before a write."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fleet.core.notebook import Notebook


@dataclass(frozen=True, slots=True)
class Receipt:
    """An accepted write. `sends` counts the requests it took, refused ones included."""

    status: int
    request_id: str
    sends: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """An answered read of one notebook."""

    notebook: Notebook
    request_id: str
    sends: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """A place in the write queue: the monotonic instants (s) from which and until which the write may leave.

    Later, what was looked at before the write would be old.
    """

    at: float
    until: float = math.inf
