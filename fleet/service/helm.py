"""What can be asked of a run that goes on, and what it does then. `steering` carries question and answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Protocol

from pydantic import ValidationError

from fleet.core.errors import FleetError, UsageError
from fleet.core.events import RunEnd, Steered
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.core.pacing.pace import parse_rate
from fleet.core.scheduling.readiness import second
from fleet.engine.control import Control
from fleet.engine.ports import Clock
from fleet.engine.tape import Tape
from fleet.service.asking import MOST_UNDER_WAY, Answer, Ask, Verb

MOST_SHUT = 2  # throttle keys that are named, the one that waits longest first


class Throttled(Protocol):
    """A scope whose rate can be set."""

    @property
    def limits(self) -> Mapping[str, tuple[Limit, ...]]: ...

    @property
    def waits(self) -> Mapping[str, str]: ...

    @property
    def shut(self) -> Mapping[str, Shut]: ...

    def set_rate(self, rate: Rate) -> None: ...


class Helm:
    """Does what is asked of one run, and records it. `concurrency` is that of its plan.

    `ceilings` are the configured rates, by scope; one that has none takes any.
    """

    def __init__(
        self,
        control: Control,
        tape: Tape,
        clock: Clock,
        clouds: Mapping[str, Throttled],
        concurrency: int,
        ceilings: Mapping[str, Rate],
    ) -> None:
        self._control = control
        self._tape = tape
        self._clock = clock
        self._clouds = clouds
        self._concurrency = concurrency
        self._ceilings = ceilings

    def answer(self, line: bytes) -> bytes:
        """The answer to one line."""
        done = misused = False
        try:
            done, text = True, self._obey(Ask.model_validate_json(line))
        except ValidationError:
            text = "not understood; both sides must be of one version"
        except FleetError as error:
            text, misused = str(error), isinstance(error, UsageError)
        budgets = self._control.budgets
        limits = {key: value for cloud in self._clouds.values() for key, value in cloud.limits.items()}
        return (
            Answer(
                done=done,
                text=text,
                misused=misused,
                paused=self._control.paused,
                ending=self._control.end[1] if self._control.end else "",
                concurrency=self._control.concurrency or self._concurrency,
                limits={key: tuple(map(str, value)) for key, value in limits.items()},
                waits={key: what for cloud in self._clouds.values() for key, what in cloud.waits.items()},
                binding=budgets.binding if budgets is not None else (),
            )
            .model_dump_json()
            .encode()
        )

    def _obey(self, ask: Ask) -> str:
        control = self._control
        if ask.do is Verb.STATUS:
            return ""
        if control.end is not None:
            raise FleetError(f"is ending already: {control.end[1]}")
        match ask.do:
            case Verb.PAUSE if control.paused:
                return "is paused already"
            case Verb.PAUSE:
                control.pause()
                return self._recorded("paused") + "; what is under way comes home"
            case Verb.RESUME if not control.paused:
                return "goes on and is not paused; nothing to do"
            case Verb.RESUME:
                control.release()
                return self._recorded("resumed")
            case Verb.CANCEL:
                control.drain(RunEnd.INTERRUPTED, "cancelled from another terminal")
                return self._recorded("cancelled") + "; what is under way comes home"
            case Verb.SET:
                return self._set(ask)
            case Verb.APPROVE:
                return self._approve()

    def _approve(self) -> str:
        approvals = self._control.approvals
        wave = approvals.asked
        if wave is None:
            raise FleetError("waits for no approval; nothing to do")
        approvals.approve(wave)
        return self._recorded(f"wave {wave} approved")

    def _set(self, ask: Ask) -> str:
        rate = parse_rate(ask.rate) if ask.rate else None
        unknown = [name for name in ask.scopes if name not in self._clouds]
        if unknown:
            raise UsageError(f"has no scope {', '.join(unknown)}; its scopes are {', '.join(self._clouds)}")
        if rate is None and (ask.scopes or ask.concurrency is None):
            raise UsageError("nothing to set; give a rate or a concurrency, scopes go with a rate")
        scopes = ask.scopes or tuple(self._clouds)
        if rate is not None:
            self._require_below_ceiling(rate, scopes)
        news = []
        if ask.concurrency is not None:
            self._control.allow(ask.concurrency)
            news.append(f"concurrency {ask.concurrency}")
        if rate is not None:
            for name in scopes:
                self._clouds[name].set_rate(rate)
            news.append(f"rate {rate}" + (f" of {', '.join(ask.scopes)}" if ask.scopes else ""))
        what = f"set to {', '.join(news)}"
        shut = self._shut(scopes) if rate is not None else {}
        now = self._clock.wall()
        longest = max((one.seconds for one in shut.values()), default=0.0)
        until = f"; requests wait until {second(now + longest)}" if shut else ""
        self._tape.note(
            Steered(
                now,
                what + until,
                dict.fromkeys(scopes, rate) if rate is not None else {},
                {key: now + one.seconds for key, one in shut.items()},
            )
        )
        return "; ".join((what, *_waits(shut))) + self._bounded(ask.concurrency)

    def _require_below_ceiling(self, rate: Rate, scopes: Iterable[str]) -> None:
        """Raises UsageError for a rate above what is configured: that is what somebody agreed to."""
        ceilings = {name: self._ceilings[name] for name in scopes if name in self._ceilings}
        name = min(ceilings, key=lambda one: ceilings[one].per_second, default="")
        if name and rate.per_second > ceilings[name].per_second:
            raise UsageError(
                f"rate {rate} is above the ceiling {ceilings[name]} of scope {name} in fleet.toml; "
                "set at most that, or raise it there, cancel the run and resume it"
            )

    def _shut(self, scopes: Iterable[str]) -> Mapping[str, Shut]:
        """Where what has left already lets nothing leave for a while: the longest first."""
        found = {key: shut for name in scopes for key, shut in self._clouds[name].shut.items()}
        return dict(sorted(found.items(), key=lambda one: -one[1].seconds))

    def _bounded(self, concurrency: int | None) -> str:
        """What lets fewer changes be under way than were asked for."""
        ceilings = self._control.budgets.ceilings if self._control.budgets is not None else {}
        name, most = min(ceilings.items(), key=lambda one: one[1], default=("", MOST_UNDER_WAY))
        if concurrency is None or concurrency <= most:
            return ""
        return f"; but {name} lets {most} be under way at once"

    def _recorded(self, what: str) -> str:
        self._tape.note(Steered(self._clock.wall(), what))
        return what


def _waits(shut: Mapping[str, Shut]) -> Iterator[str]:
    for key, one in islice(shut.items(), MOST_SHUT):
        yield f"{key}: {one}, as {one.why}"
    if len(shut) > MOST_SHUT:
        yield f"{len(shut) - MOST_SHUT} more"
