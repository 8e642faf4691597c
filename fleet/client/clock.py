"""The clocks that client and engine read, handed in so that tests can turn them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """All in seconds. Monotonic time decides; wall time is only signed and compared with the cloud's.

    Monotonic time stands still while the machine is suspended, and `boot` time does not: to a deadline of
    ours the one is fair, but what was looked at before is as old as the other says.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    boot: Callable[[], float] | None = None  # monotonic time where there is none

    def boottime(self) -> float:
        return self.monotonic() if self.boot is None else self.boot()


_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def boottime() -> float:
    """Monotonic seconds that go on while the machine is suspended, where the system tells them (Linux)."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)
