"""What earlier processes left of a run that is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.core.changing.life import Life
from fleet.core.scheduling.timing import Memory


@dataclass(frozen=True, slots=True)
class Earlier:
    """Where the changes stand that had begun, by item, and what else a run must not forget.

    `waves_ended` are the wall seconds at which waves ended: soaks and the pauses between stages count from
    then. `memory` is what was known of waits and notices.
    """

    lives: Mapping[int, Life] = field(default_factory=dict)
    waves_ended: Mapping[int, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
