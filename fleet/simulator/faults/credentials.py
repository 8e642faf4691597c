"""Faults of credentials: tokens that die, a key that is revoked, a gateway whose clock is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fleet.simulator.documents import CONFIG
from fleet.simulator.faults.occasions import Deed, Scene, Seconds, Striking, Timed


class OfInstants(ABC):
    """A fault that comes over the whole cloud at fixed instants."""

    __slots__ = ()

    @abstractmethod
    def timetable(self) -> Iterable[tuple[float, Deed]]:
        """What happens how many seconds after the cloud was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensExpire(OfInstants):
    """Every token that was issued before ``after`` expires in that instant."""

    __pydantic_config__ = CONFIG

    kind: Literal["tokens-expire"] = "tokens-expire"
    after: Seconds = 0.0

    def timetable(self) -> Iterable[tuple[float, Deed]]:
        yield self.after, lambda scene, now: scene.access.expire_tokens(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Timed, OfInstants):
    """The account's access key is unknown to the gateway from ``after`` to ``until``."""

    kind: Literal["key-revoked"] = "key-revoked"

    def timetable(self) -> Iterable[tuple[float, Deed]]:
        yield self.after, _revoke
        if self.until is not None:
            yield self.until, _restore


def _revoke(scene: Scene, now: float) -> None:
    scene.access.key_revoked = True


def _restore(scene: Scene, now: float) -> None:
    scene.access.key_revoked = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewedClock(Striking):
    """The gateway's clock is ``seconds`` ahead (behind, when negative): it dates its answers and
    checks signatures and tokens by it."""

    kind: Literal["skewed-clock"] = "skewed-clock"
    seconds: float
