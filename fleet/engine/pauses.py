"""Waits between waves: the soaks, and the pauses between stages.

Both count from the end of a wave, also when that was in an earlier process: no crash makes them shorter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import anyio

from fleet.core.events import Held
from fleet.core.planning.plan import Plan
from fleet.core.scheduling.readiness import moment, second
from fleet.engine.control import Control
from fleet.engine.ports import Clock
from fleet.engine.tape import Tape


class Pauses:
    """The waits of one run of `plan`; `ended` says when (wall seconds) waves ended in an earlier process.

    The window with which the run ends `closes` then (wall seconds), infinity if it goes on in others.
    """

    def __init__(
        self,
        plan: Plan,
        tape: Tape,
        clock: Clock,
        control: Control,
        ended: Mapping[int, float],
        closes: float = math.inf,
    ) -> None:
        self._plan = plan
        self._tape = tape
        self._clock = clock
        self._control = control
        self._closes = closes
        now, wall = clock.monotonic(), clock.wall()
        self._ended = {wave: now - max(0.0, wall - at) for wave, at in ended.items()}

    def begun(self, wave: int) -> None:
        """Changes of the wave begin, so it has not ended yet."""
        self._ended.pop(wave, None)

    def ended(self, wave: int) -> None:
        """The wave is over; to judge it once more makes no difference."""
        self._ended.setdefault(wave, self._clock.monotonic())

    async def before(self, wave: int) -> None:
        """Returns when the wave may begin, or the run is told to end."""
        seconds = self._due(wave) - self._clock.monotonic()
        if seconds <= 0:
            return
        where, now = f"wave {wave}", self._clock.wall()
        begins, text = now + seconds, f"begins at {second(now + seconds)}"
        if begins >= self._closes:
            text = f"could not begin before the window closes at {moment(self._closes)}, then it is left"
        self._tape.note(Held(now, where, text, min(begins, self._closes)))
        with anyio.move_on_after(seconds):
            await self._control.draining.wait()
        self._tape.note(Held(self._clock.wall(), where, ""))

    def _due(self, wave: int) -> float:
        """When (monotonic seconds) every wait before this wave is over, be it since an earlier run."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        opens = [now + stage.not_before - wall for stage in self._plan.stages if stage.wave <= wave]
        waits = (
            at + max(self._plan.pause_before(later) for later in range(ended + 1, wave + 1))
            for ended, at in self._ended.items()
            if ended < wave
        )
        return max([now, *opens, *waits])
