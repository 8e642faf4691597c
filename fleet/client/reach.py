"""Whether one host answers. Calls are tried again in silence; who watches a run must not wait that long."""

from __future__ import annotations

from collections.abc import Callable

from fleet.client.clock import Clock
from fleet.core.errors import CallError, Meaning
from fleet.core.events import OutOfReach

PATIENT = 5.0  # s without any answer before it is told: one lost answer is no news

OnReach = Callable[[OutOfReach], None]

_NO_ANSWER = frozenset({Meaning.UNREACHABLE, Meaning.TLS, Meaning.LOST})


class Reach:
    """Hears how every request to `host` ended; `tell` is told when none was answered for a while, and when
    one is again."""

    def __init__(self, host: str, clock: Clock, tell: OnReach) -> None:
        self._host = host
        self._clock = clock
        self._tell = tell
        self._since: tuple[float, float] | None = None  # monotonic and wall, of the first failure in a row
        self._told = False

    def failed(self, error: CallError) -> None:
        """A request ended in an error, which may have been an answer."""
        if error.meaning not in _NO_ANSWER:
            self.answered()
            return
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now, self._clock.wall()
        began, since = self._since
        if not self._told and now - began >= PATIENT:
            self._told = True
            self._tell(OutOfReach(self._clock.wall(), self._host, error.text, since))

    def answered(self) -> None:
        """A request was answered."""
        if self._since is None:
            return
        self._since = None
        if self._told:
            self._told = False
            self._tell(OutOfReach(self._clock.wall(), self._host, "", self._clock.wall()))
