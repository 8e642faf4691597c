"""What the engine needs from outside, as protocols it owns: a cloud, a recorder, observers, a clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from fleet.core.calls import Rank, Reading, Receipt, SavedImage, Turn
from fleet.core.events import Event
from fleet.core.notebook import Status
from fleet.core.rollout import GateCommand
from fleet.core.scheduling.timing import Notice
from fleet.core.usage import Use
from fleet.core.wave_gate import Check


class Cloud(Protocol):
    """One scope of the cloud. Every method raises CallError when it gives up.

    Reads are tried again inside, within their own time. A write is sent at most once unless the cloud said
    that it did not apply it: what may have happened is for the caller to find out by looking.
    """

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests sent so far, by operation: put, stop, start, lease, save, get, list and whatever else."""
        ...

    async def turn(self, rank: Rank) -> Turn:
        """Waits until shortly before the next write may leave, so that a last look is still fresh."""
        ...

    async def look(self, notebook_id: str, rank: Rank) -> Reading: ...

    async def poll(self, statuses: Collection[Status], rank: Rank = Rank.AWAY) -> Collection[str]:
        """The ids of those in one of the statuses, read page by page; some may be missing or old news.

        Of the highest rank unless told otherwise: notebooks that are away wait for it.
        """
        ...

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt: ...

    async def save(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        """Saves the environment as an image; `body` holds its `name` and `namespace`."""
        ...

    async def saved(self, body: Mapping[str, Any], rank: Rank) -> SavedImage:
        """What has become of the image that such a body names."""
        ...

    async def stop(self, notebook_id: str, turn: Turn) -> Receipt: ...

    async def start(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        """`query` holds `duration` in ms (-1 switches auto stop off) and `type`."""
        ...

    async def renew_lease(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt: ...


class Recorder(Protocol):
    """Where events go to stay."""

    async def commit(self, event: Event) -> None:
        """Returns when the event, and every one noted before it, is on disk.

        Raises RecordingFailed when it cannot get there.
        """
        ...

    def note(self, event: Event) -> None:
        """Hands the event over; it is on disk soon, and before the next commit returns."""
        ...


class Observer(Protocol):
    """Who watches: progress view, log. Must not fail and must not wait."""

    def __call__(self, event: Event) -> None: ...


class Checker(Protocol):
    """Runs the program of a wave's gate."""

    async def __call__(self, gate: GateCommand, environment: Mapping[str, str]) -> Check:
        """What it found; inconclusive when it cannot be run or takes longer than its time."""
        ...


class Activity(Protocol):
    """Knows which notebooks of a scope are in use."""

    async def use(self, ids: Collection[str]) -> Mapping[str, Use]:
        """Whether each has been idle for long enough, and what decided; nothing where nobody can tell.

        Raises CallError when it cannot find out.
        """
        ...


class Herald(Protocol):
    """Speaks with the owners of notebooks."""

    async def tell(self, notice: Notice, message: Mapping[str, Any]) -> str:
        """Sends a notice; returns why it did not arrive, empty when it did."""
        ...

    async def postponed(self, file: str) -> Mapping[str, float]:
        """Until when (wall s) owners have asked to be left alone. Raises OSError or ValueError."""
        ...


class Clock(Protocol):
    """Monotonic seconds decide, wall seconds are only printed, signed and compared with the cloud's times."""

    def monotonic(self) -> float: ...

    def boottime(self) -> float:
        """Monotonic seconds that go on while the machine is suspended; those of a `Turn`."""
        ...

    def wall(self) -> float: ...
