"""Where the run asks a person whether it may go on after a wave, and where the answer comes in.

The answer may come from the run's own terminal or from another one; `wave_gate` asks.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio


def nobody() -> bool:
    """Nobody sits at the terminal."""
    return False


class Approvals:
    """The one question that may be open. `attended` says whether somebody sits at the run's terminal."""

    def __init__(self) -> None:
        self.attended: Callable[[], bool] = nobody
        self.asked: int | None = None
        self._stirred = anyio.Event()

    def approve(self, wave: int) -> bool:
        """Lets the run go on after `wave`; False when that is not the question."""
        if wave != self.asked:
            return False
        self._ask(None)
        return True

    async def approval(self, wave: int) -> None:
        """Asks about `wave`; returns when somebody approved."""
        self._ask(wave)
        try:
            while self.asked == wave:
                await self._stirred.wait()
        finally:
            self._ask(None)

    async def question(self) -> int:
        """The wave that is asked about, as soon as there is one."""
        while self.asked is None:
            await self._stirred.wait()
        return self.asked

    def _ask(self, wave: int | None) -> None:
        self.asked = wave
        self._stirred.set()
        self._stirred = anyio.Event()
