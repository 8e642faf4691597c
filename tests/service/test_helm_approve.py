"""What another terminal approves is the wave that the run asks about, and nothing when it asks nothing."""

from __future__ import annotations

import json
from typing import Any

import anyio

from fleet.core.events import Event, Steered
from fleet.engine.control import Control
from fleet.engine.tape import Tape
from fleet.service.helm import Helm


class Recorder:
    """A journal in a list."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def commit(self, event: Event) -> None:
        self.events.append(event)

    def note(self, event: Event) -> None:
        self.events.append(event)


class Clock:
    def monotonic(self) -> float:
        return 0.0

    def boottime(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0


async def test_the_open_question_is_approved_once_and_recorded() -> None:
    recorder, control = Recorder(), Control()
    helm = Helm(control, Tape(recorder, []), Clock(), {}, 1, {})

    def approve() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(helm.answer(b'{"do": "approve"}'))
        return {key: answer[key] for key in ("done", "text")}

    nothing = {"done": False, "text": "waits for no approval; nothing to do"}
    assert approve() == nothing
    async with anyio.create_task_group() as group:
        group.start_soon(control.approvals.approval, 2)
        assert await control.approvals.question() == 2
        assert not control.approvals.approve(1)
        assert approve() == {"done": True, "text": "wave 2 approved"}
    assert approve() == nothing
    assert recorder.events == [Steered(0.0, "wave 2 approved")]
