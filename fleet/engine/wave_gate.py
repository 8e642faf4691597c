"""Asks whether the next wave may go: runs the program that the rollout names, waits for a person.

What is to be found out, and in which order, is decided in `core.wave_gate`. Persons answer by `approvals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio

from fleet.core.duration import duration
from fleet.core.events import Held
from fleet.core.rollout import GateCommand, Rollout
from fleet.core.wave_gate import (
    AskPerson,
    Check,
    Decision,
    Question,
    RunCommand,
    environment,
    next_move,
    no_check,
)
from fleet.engine.control import Control
from fleet.engine.ports import Checker, Clock
from fleet.engine.tape import Tape


class WaveGate:
    """Stands between the waves of one run."""

    def __init__(
        self,
        run: str,
        rollout: Rollout,
        check: Checker | None,
        tape: Tape,
        clock: Clock,
        control: Control,
    ) -> None:
        self._run = run
        self._rollout = rollout
        self._check = check
        self._tape = tape
        self._clock = clock
        self._control = control

    async def decision(self, wave: int, counts: Mapping[str, int]) -> Decision:
        """Whether the run may go on after `wave`; `counts` are its outcomes so far.

        Does not outlast the end of the run.
        """
        decision = Decision(False, "the run was ended before it was decided")
        async with anyio.create_task_group() as group:
            group.start_soon(self._give_up, group.cancel_scope)
            decision = await self._ask_around(wave, counts)
            group.cancel_scope.cancel()
        return decision

    async def _give_up(self, asking: anyio.CancelScope) -> None:
        await self._control.draining.wait()
        asking.cancel()

    async def _ask_around(self, wave: int, counts: Mapping[str, int]) -> Decision:
        question = Question(
            self._rollout.gate,
            wave in self._rollout.approve,
            self._control.approvals.attended(),
            run=self._run,
        )
        while True:
            match next_move(question):
                case RunCommand(command):
                    question = replace(question, check=await self._checked(command, wave, counts))
                case AskPerson(why):
                    await self._approved(wave, why)
                    question = replace(question, approved=True)
                case Decision() as decision:
                    return decision

    async def _checked(self, gate: GateCommand, wave: int, counts: Mapping[str, int]) -> Check:
        if self._check is None:
            return no_check("nobody can run it here")
        self._tell(wave, f"asking the gate's command for at most {duration(gate.timeout)}")
        check = await self._check(gate, environment(self._run, wave, counts))
        self._tell(wave, "")
        return check

    async def _approved(self, wave: int, why: str) -> None:
        command = f"fleet approve {self._run}"
        how = f"type {wave}, or: {command}" if self._control.approvals.attended() else command
        self._tell(wave, "; ".join(part for part in (why, f"waits for approval ({how})") if part))
        await self._control.approvals.approval(wave)
        self._tell(wave, "")

    def _tell(self, wave: int, text: str) -> None:
        self._tape.note(Held(self._clock.wall(), f"wave {wave}", text))
