"""Events as log lines: one line for a finished change, one for each event of the run, the rest at debug."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Held,
    Intended,
    Late,
    Outcome,
    OutOfReach,
    RunEnded,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Steered,
    WaveEnded,
    WaveStarted,
)
from fleet.core.planning.plan import Plan

_LOUD = frozenset({Outcome.FAILED, Outcome.STRANDED, Outcome.UNKNOWN})


@dataclass(slots=True)
class _Open:
    """A change under way: when it began and which writes it meant to send."""

    began: float
    steps: list[str] = field(default_factory=list)


class LogObserver:
    """Writes what happens in one run of `plan` to the log. Call `configure_logging` first."""

    def __init__(self, plan: Plan) -> None:
        self._keys = {change.item: (change.scope, change.id) for change in plan.changes}
        self._open: dict[int, _Open] = {}
        self._log = structlog.get_logger().bind()

    def __call__(self, event: Event) -> None:
        match event:
            case Saw():
                pass
            case Began():
                self._open[event.item] = _Open(event.at)
            case Intended():
                self._open.setdefault(event.item, _Open(event.at)).steps.append(event.step)
                self._log.debug(
                    "intended",
                    **self._key(event.item),
                    step=event.step,
                    attempt=event.attempt,
                    body=event.body,
                )
            case Answered():
                self._log.debug(
                    "answered",
                    **self._key(event.item),
                    step=event.step,
                    fate=event.fate,
                    status=event.status,
                    code=event.code,
                    text=event.text,
                    request_id=event.request_id,
                    sends=event.sends,
                )
            case Blind():
                self._log.debug("blind", **self._key(event.item), meaning=event.meaning, text=event.text)
            case Late():
                self._log.debug("late", **self._key(event.item))
            case Ended():
                self._ended(event)
            case RunStarted():
                self._log = self._log.bind(run=event.run)
                self._log.info("run started", digest=event.digest)
            case WaveStarted():
                self._log.info("wave started", wave=event.wave, changes=event.changes)
            case WaveEnded():
                self._log.info("wave ended", wave=event.wave, go=event.go, reason=event.reason)
            case Slowed():
                self._log.info("slowed", throttle=event.key, text=event.text)
            case Held():
                self._log.info("held", where=event.where, text=event.text)
            case OutOfReach():
                self._log.info("out of reach", host=event.host, text=event.text, since=event.since)
            case Steered():
                self._log.info("steered", what=event.what)
            case Spent():
                self._log.debug("spent", scope=event.scope, requests=event.requests)
            case RunEnded():
                self._log.info("run ended", end=event.end, reason=event.reason)

    def _ended(self, event: Ended) -> None:
        change = self._open.pop(event.item, None) or _Open(event.at)
        log = self._log.warning if event.outcome in _LOUD else self._log.info
        log(
            "change ended",
            **self._key(event.item),
            outcome=event.outcome,
            reason=event.reason,
            debt=event.debt,
            steps=change.steps,
            seconds=round(event.at - change.began, 3),
        )

    def _key(self, item: int) -> dict[str, object]:
        scope, notebook = self._keys.get(item, ("", ""))
        return {"scope": scope, "id": notebook, "item": item}
