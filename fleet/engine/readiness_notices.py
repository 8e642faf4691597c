"""Tells owners before their notebooks are stopped, and minds who asked for a later time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio

from fleet.core.errors import RecordingFailed
from fleet.core.events import Held, Noticed
from fleet.core.planning.plan import Change, Plan
from fleet.core.scheduling.notices import earliest, message
from fleet.core.scheduling.readiness import wants_notice
from fleet.core.scheduling.timing import Memory, Notice
from fleet.engine.ports import Clock, Herald
from fleet.engine.readiness import WaitingRoom
from fleet.engine.tape import Tape

REREAD = 5.0  # s between two readings of who asked for a later time
AT_ONCE = 8  # notices on their way


class Notices:
    """The notices of one run, one an owner and wave. `trouble` is told of errors of our own."""

    def __init__(
        self,
        run: str,
        plan: Plan,
        notice: Notice,
        memory: Memory,
        room: WaitingRoom,
        herald: Herald,
        tape: Tape,
        clock: Clock,
        trouble: Callable[[Exception], None],
    ) -> None:
        self._run = run
        self._plan = plan
        self._notice = notice
        self._memory = memory
        self._room = room
        self._herald = herald
        self._tape = tape
        self._clock = clock
        self._trouble = trouble
        self._due: dict[tuple[int, str], None] = {}
        self._came = anyio.Event()
        self._unreadable = ""

    def came(self, change: Change) -> None:
        """The owner of this change is to be told, unless he was."""
        key = (change.wave, change.owner)
        if wants_notice(self._plan.rollout) and key not in self._memory.noticed:
            self._due[key] = None
            self._came.set()

    def left(self, change: Change) -> None:
        """Nothing: what was told was told."""

    async def run(self) -> None:
        """Tells owners and minds their wishes, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._tell_all)
            if self._notice.postponed:
                group.start_soon(self._mind, self._notice.postponed)
            else:
                self._room.postponed = {}

    async def _tell_all(self) -> None:
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            due, self._due = list(self._due), {}
            few = anyio.CapacityLimiter(AT_ONCE)
            async with anyio.create_task_group() as group:
                for wave, owner in due:
                    group.start_soon(self._tell, wave, owner, few)

    async def _tell(self, wave: int, owner: str, few: anyio.CapacityLimiter) -> None:
        async with few:
            try:
                trouble = await self._herald.tell(self._notice, self._message(wave, owner))
                if not trouble:
                    event = Noticed(self._clock.wall(), wave, owner)
                    await self._tape.commit(event)
                    self._memory.see(event)
            except RecordingFailed as failure:
                trouble = str(failure)
            except Exception as error:  # whatever it is, nobody is stopped who was not told
                trouble = f"an error of our own: {type(error).__name__}"
                self._trouble(error)
        for change in self._room.present.values():
            if (change.wave, change.owner) == (wave, owner):
                facts = self._room.facts[change.item]
                facts.noticed, facts.unnoticed = self._memory.noticed.get((wave, owner)), trouble
        self._room.news()

    def _message(self, wave: int, owner: str) -> dict[str, Any]:
        theirs = [
            change
            for change in self._plan.changes
            if (change.wave, change.owner) == (wave, owner) and change.may_go_away
        ]
        now = self._clock.wall()
        begins = self._memory.began.get(wave, now)
        return message(self._run, self._plan, owner, theirs, earliest(self._plan.rollout, begins, now))

    async def _mind(self, file: str) -> None:
        while True:
            wishes: Mapping[str, float] | None = None
            try:
                wishes = await self._herald.postponed(file)
                self._say("")
            except (OSError, ValueError) as error:
                self._say(f"{file} cannot be read, so nobody is stopped: {error}")
            except Exception as error:
                self._trouble(error)
            if wishes != self._room.postponed:
                self._room.postponed = wishes
                self._room.news()
            await anyio.sleep(REREAD)

    def _say(self, text: str) -> None:
        if text != self._unreadable:
            self._unreadable = text
            self._tape.note(Held(self._clock.wall(), "postponed owners", text))
