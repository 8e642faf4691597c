"""A limit and a rate, as values and in words; `pace` keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.duration import duration

CONFIGURED = "configured"  # the policy of the limit that we set ourselves
PROBED = "probed"  # the policy of what is tried at present because nothing is known

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}  # seconds


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a 429 told us: `count` requests in any `window` seconds, by `policy` (user, api ...)."""

    policy: str
    count: int
    window: float

    def __str__(self) -> str:
        rate = str(Rate(self.count, self.window))
        if self.policy == CONFIGURED:
            return rate
        return f"about {rate}, no limit known" if self.policy == PROBED else f"{rate} by policy {self.policy}"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` requests in any `window` seconds."""

    count: int
    window: float

    @property
    def per_second(self) -> float:
        """Requests a second on average."""
        return self.count / self.window

    def __str__(self) -> str:
        for unit, seconds in reversed(UNITS.items()):
            number = self.window / seconds
            if number == int(number):
                return f"{self.count}/{'' if number == 1 else int(number)}{unit}"
        return f"{self.count}/{self.window}s"


@dataclass(frozen=True, slots=True)
class Shut:
    """Nothing may leave for so many `seconds`, as `limit` is used up; None: a refusal asked for it."""

    seconds: float
    limit: Limit | None

    def __str__(self) -> str:
        return f"nothing may leave for another {duration(self.seconds)}"

    @property
    def why(self) -> str:
        """What led to it, in words."""
        return "the cloud refused more" if self.limit is None else f"{self.limit} is used up"
