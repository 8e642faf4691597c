"""Records what a run sends, by scope: from the clouds' own counts, which know of every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fleet.core.events import Spent
from fleet.engine.ports import Clock, Cloud
from fleet.engine.tape import Tape


class Ledger:
    """The requests of one run that were told, and those that were not yet."""

    def __init__(self, clouds: Mapping[str, Cloud], tape: Tape, clock: Clock) -> None:
        self._clouds = clouds
        self._tape = tape
        self._clock = clock
        self._told = {scope: Counter(cloud.calls) for scope, cloud in clouds.items()}

    def tell(self, scope: str) -> None:
        """Records what `scope` has sent since the last time, if anything."""
        sent = Counter(self._clouds[scope].calls)
        news = sent - self._told[scope]
        self._told[scope] = sent
        if news:
            self._tape.note(Spent(self._clock.wall(), scope, dict(news)))

    def close(self) -> None:
        """Records what is left to tell."""
        for scope in self._clouds:
            self.tell(scope)
