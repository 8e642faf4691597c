"""Gateway throttling: strict sliding windows per user, API or client address.

A window is half-open: a request at t and one at t + seconds are never in the same window. Refused
requests count too, so a client that keeps hammering stays refused (gateway error APIGW.0308).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fleet.simulator.documents import CONFIG
from fleet.simulator.refusals import Refusal
from fleet.simulator.routing import CallClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most ``limit`` requests in any ``seconds``, counted apart for each ``policy`` value.

    ``calls`` picks which requests count: ModelArts reads (GET), ModelArts writes, both (``all``),
    or the calls to IAM (``logins``).
    """

    __pydantic_config__ = CONFIG

    policy: Literal["user", "api", "ip"] = "user"
    limit: Annotated[int, Field(gt=0)]
    seconds: Annotated[int, Field(gt=0)] = 60
    calls: CallClass | Literal["all"] = "all"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request is counted under."""

    user: str
    api: str
    ip: str
    calls: CallClass

    def key(self, limit: Limit) -> str | None:
        """The caller's value under the limit's policy; None when the limit is not about it."""
        about = limit.calls == self.calls or (limit.calls == "all" and self.calls != "logins")
        return str(getattr(self, limit.policy)) if about else None


class Throttle:
    """The limits of a cloud with the instants of the requests that came."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = tuple(enumerate(limits))
        self._sent: dict[tuple[int, str], deque[float]] = {}

    def admit(self, caller: Caller, now: float) -> None:
        """Count a request; raises the 429 refusal of the first limit that it exceeds."""
        exceeded: Limit | None = None
        for index, limit in self._limits:
            key = caller.key(limit)
            if key is None:
                continue
            sent = self._sent.setdefault((index, key), deque())
            while sent and now - sent[0] >= limit.seconds:
                sent.popleft()
            sent.append(now)
            if len(sent) > limit.limit and exceeded is None:
                exceeded = limit
        if exceeded is not None:
            raise throttled(exceeded.policy, exceeded.limit, exceeded.seconds)


def throttled(policy: str, limit: int, seconds: int) -> Refusal:
    """The gateway's 429 with its exact text."""
    span = f"{seconds // 60} minute" if seconds % 60 == 0 else f"{seconds} second"
    return Refusal(
        "APIGW.0308",
        f"The throttling threshold has been reached: policy {policy} over ratelimit,"
        f"limit:{limit},time:{span}",
        429,
    )
