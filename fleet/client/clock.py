"""The two clocks that the client reads, handed in so that tests can turn them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Both in seconds. Monotonic time decides; wall time is only signed and compared with the cloud's."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
