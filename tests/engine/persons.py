"""Persons for the engine's tests: who works, who is idle, who is told, and a run among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import anyio

from fleet.core.earlier import Earlier
from fleet.core.events import Began, Held, Leave, RunEnd
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from fleet.core.scheduling.timing import Moment, Notice, Otherwise
from fleet.core.usage import Use
from fleet.engine.readiness_attendants import People
from fleet.engine.run import run_plan
from tests.virtual import run_while

Making = Callable[..., Any]
HOUR, DAY = 3600.0, 86_400.0
PATIENCE = 6 * HOUR  # longer than any lease of a bench
NEXT_STOP = {"when": Moment.NEXT_STOP, "patience": PATIENCE}
FORCE = Otherwise.FORCE


class Somebody:
    """Persons and what they are at: who is idle, who got a notice, who asked for a later time."""

    def __init__(self) -> None:
        self.idles: dict[str, bool | None] = {}
        self.whys: dict[str, str] = {}
        self.told: list[tuple[float, Mapping[str, Any]]] = []
        self.deaf: dict[str, str] = {}
        self.wishes: dict[str, float] = {}
        self.asked = 0
        self.readable = True

    async def use(self, ids: Collection[str]) -> Mapping[str, Use]:
        self.asked += 1
        return {key: Use(self.idles.get(key), self.whys.get(key, "")) for key in ids}

    async def tell(self, notice: Notice, message: Mapping[str, Any]) -> str:
        await anyio.sleep(1.0)
        self.told.append((anyio.current_time(), message))
        return self.deaf.get(message["owner"], "")

    async def postponed(self, file: str) -> Mapping[str, float]:
        if not self.readable:
            raise OSError("gone")
        return dict(self.wishes)


def rename(change: Change) -> Change:
    """The change as one that needs no restart by the plan."""
    phases = (Phase(When.ANY, {"name": "b"}),)
    return replace(change, phases=phases, before={"name": ""}, after={"name": "b"})


async def go(made: Any, some: Somebody | None = None, *after: Any, earlier: Earlier | None = None) -> RunEnd:
    """The run of a bench, with persons."""
    some = some or Somebody()
    run = run_plan(
        made.plan,
        "run",
        {"lab-a": made.cloud},
        made.tape,
        made.clock,
        made.control,
        {"lab-a": 20.0},
        earlier,
        people=People(some, {"lab-a": some}),
    )
    return await run_while(run, *after)


def person(made: Any, number: int, status: Status) -> Callable[[], None]:
    """Somebody stops or starts a notebook."""
    key = f"nb-{number}"
    passing = Status.STOPPING if status is Status.STOPPED else Status.STARTING
    return lambda: made.cloud.move(key, passing, 30.0, status)


def stops(made: Any) -> list[str]:
    return [word.split()[2] for word in made.log.words("send") if word.startswith("send stop")]


def leaves(made: Any) -> dict[int, Leave | None]:
    return {event.item: event.leave for event in made.recorder.events if isinstance(event, Began)}


def held(made: Any) -> list[str]:
    return [event.text for event in made.recorder.events if isinstance(event, Held) and event.text]


def draining(made: Any) -> Callable[[], None]:
    """Somebody ends the run early."""
    return lambda: made.control.drain(RunEnd.INTERRUPTED, "asked to")
