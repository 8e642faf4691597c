"""When persons are left alone: the words of a job file for it, and what a run must remember of it.

What follows for a single change at a given moment is decided in `readiness`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fleet.core.events import Event, Noticed, RunEnded, RunResumed, RunStarted, WaveStarted


class Moment(StrEnum):
    """When a running notebook may be stopped for its change."""

    NOW = "now"
    IDLE = "idle"
    NEXT_STOP = "next-stop"


class Otherwise(StrEnum):
    """What becomes of a change whose moment has not come when the patience is over."""

    SKIP = "skip"
    FORCE = "force"


@dataclass(frozen=True, slots=True)
class Idleness:
    """When a notebook counts as idle: nothing of it above these for `lasting` seconds.

    As published for the lease type IDLE; percent, and kbit/s for the network. GPU and NPU count where the
    flavor has them.
    """

    lasting: float = 1800.0
    cpu: float = 5.0
    gpu: float = 1.0
    npu: float = 1.0
    network_receive: float = 1.6


@dataclass(frozen=True, slots=True)
class Notice:
    """Who tells owners before a notebook of theirs is stopped, and how long before (s).

    Either a `command` gets the notice on its standard input, or a `webhook` as the body of a POST.
    `postponed` is a file with a line `owner,until` for each who asked for a later time; `ask` tells owners
    how to.
    """

    command: tuple[str, ...] = ()
    webhook: str = ""
    lead: float = 0.0
    postponed: str = ""
    ask: str = ""

    @property
    def way(self) -> str:
        """For people: by what means the notice goes out. The path of a webhook is as good as a password."""
        return "/".join(self.webhook.split("/")[:3]) if self.webhook else self.command[0]


@dataclass(slots=True)
class Memory:
    """What a run that is taken up again must not forget: when waves began first, and who was told when.

    Wall seconds, by wave, and by wave and owner. `stand_ins` says by item for which wave a change stands in,
    or stood, and since when. `set_out` is when the run began, or was taken up after it had ended: the time
    between is nobody's, that of a process that was killed is the run's own.
    """

    began: dict[int, float] = field(default_factory=dict)
    noticed: dict[tuple[int, str], float] = field(default_factory=dict)
    stand_ins: dict[int, tuple[int, float]] = field(default_factory=dict)
    set_out: float | None = None

    def see(self, event: Event) -> None:
        """Takes in the next event of the run."""
        match event:
            case WaveStarted():
                self.began.setdefault(event.wave, event.at)
                for item in event.stand_ins:
                    _, since = self.stand_ins.get(item, (event.wave, event.at))
                    self.stand_ins[item] = event.wave, since
            case Noticed():
                self.noticed.setdefault((event.wave, event.owner), event.at)
            case RunStarted() | RunResumed():
                self.set_out = event.at if self.set_out is None else self.set_out
            case RunEnded():
                self.set_out = None

    def counts_for(self, item: int, wave: int) -> int:
        """The wave for which a change of `wave` that has begun counts: the one it stood in, if it did."""
        return self.stand_ins[item][0] if item in self.stand_ins else wave

    def waits_since(self, item: int, wave: int) -> float | None:
        """Since when a change of `wave` may wait: its wave has begun, or it stands in for an earlier one."""
        if wave in self.began or item not in self.stand_ins:
            return self.began.get(wave)
        return self.stand_ins[item][1]
