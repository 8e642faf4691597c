"""Performs one change: asks the tables what to do, does it, tells them what came of it.

Nothing is decided here. The order of a write is: a turn at the gate, for the first write the fence look, the
intent on disk, the send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from fleet.core.calls import Receipt, Turn
from fleet.core.change import Await, End, Look, Write, advance, decide
from fleet.core.errors import TRANSIENT, CallError, Meaning, RecordingFailed
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Ended,
    Intended,
    Late,
    Outcome,
    Reopened,
    Saw,
    Step,
    Verdict,
)
from fleet.core.life import Life, Stage, over
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import When
from fleet.core.plan import Change
from fleet.core.sight import GONE, Sight, sight_of
from fleet.engine.brakes import Brakes
from fleet.engine.control import Control
from fleet.engine.ports import Clock, Cloud
from fleet.engine.tape import Tape
from fleet.engine.watch import Watch

LATEST = 5.0  # seconds after its turn and its look that a write may still leave
LOOK_AGAIN = 5.0  # seconds between looks while the cloud does not answer


@dataclass(frozen=True, slots=True)
class Site:
    """What a change needs of its scope and of the run."""

    cloud: Cloud
    watch: Watch
    tape: Tape
    clock: Clock
    deadline: float  # seconds that a change may take, and again that its way home may take
    moved: dict[str, When]  # fields that the cloud wanted in another state; shared by the run
    control: Control
    halt: Callable[[str], None]
    brakes: Brakes


class Performance:
    """One change on its way. `run` returns the life it had; errors of calls become events of that life.

    `life` is where an earlier process left the change; whatever was under way then is looked at first.
    """

    def __init__(self, change: Change, site: Site, life: Life | None = None) -> None:
        self._change = change
        self._site = site
        self._again = life is not None
        self._life = life or Life.begin(change)
        self._turn: Turn | None = None
        self._looked_at = 0.0
        self._time_up = site.clock.monotonic() + site.deadline

    async def run(self) -> Life:
        item, now = self._change.item, self._now()
        self._happened(Reopened(item, now) if self._again else Began(item, now, dict(self._site.moved)))
        while True:
            match decide(self._life):
                case End() as end:
                    await self._end(end)
                    return self._life
                case Write() as write:
                    await self._write(write)
                case Look(wait):
                    self._happened(await self._look(wait))
                case Await(passing):
                    self._happened(await self._arrival(passing))
            self._site.moved.update(self._life.moved)

    async def give_up(self, error: Exception) -> Life:
        """Ends a change that something unforeseen broke, as truthfully as can be."""
        reason = f"stopped by an error of our own: {type(error).__name__}"
        outcome = Outcome.FAILED if not self._life.tries else Outcome.UNKNOWN
        self._life = over(self._life, Outcome.STRANDED if self._life.debt else outcome, reason)
        move = decide(self._life)
        if isinstance(move, End):
            await self._end(move)
        return self._life

    # --- writes ---

    async def _write(self, write: Write) -> None:
        turn = await self._queued()
        if isinstance(turn, Blind):
            self._happened(turn)
            return
        self._turn = None
        if not self._life.tries and not await self._may_begin(turn):
            return
        attempt = self._life.tried(write.step) + 1
        intent = Intended(self._change.item, self._now(), write.step, attempt, write.body)
        if not await self._committed(intent) and not self._pays_debt(write):
            self._happened(Late(self._change.item, self._now(), "the journal cannot be written"))
            return
        self._life = advance(self._life, intent)
        try:
            receipt = await self._send(write, replace(turn, until=max(turn.at, self._looked_at) + LATEST))
        except CallError as error:
            self._happened(self._refusal(write.step, error))
        else:
            self._happened(
                Answered(
                    self._change.item,
                    self._now(),
                    write.step,
                    Verdict.ACCEPTED,
                    status=receipt.status,
                    request_id=receipt.request_id,
                    sends=receipt.sends,
                )
            )

    async def _may_begin(self, turn: Turn) -> bool:
        """Whether the first write may leave, asked when its turn has come.

        Whoever ends or pauses the run means this change too as long as it has sent nothing. After a pause a
        new look must come first.
        """
        control, clock = self._site.control, self._site.clock
        await anyio.sleep(max(0.0, turn.at - clock.monotonic()))
        if (barred := self._site.brakes.barred(self._change)) is not None:
            self._life = over(self._life, Outcome.NOT_STARTED, f"nothing was sent: {barred}")
            return False
        if control.end is None and not control.paused:
            return True
        await control.released()
        if control.end is not None:
            self._life = over(self._life, Outcome.NOT_STARTED, f"nothing was sent: {control.end[1]}")
        else:
            self._happened(Reopened(self._change.item, self._now()))
            self._time_up = clock.monotonic() + self._site.deadline
        return False

    async def _queued(self) -> Turn | Blind:
        """The turn for the next write; Blind when no call can succeed any more."""
        if self._turn is not None:
            return self._turn
        try:
            return await self._site.cloud.turn()
        except CallError as error:
            return Blind(self._change.item, self._now(), error.meaning, error.text, sends=0)

    async def _committed(self, intent: Intended) -> bool:
        try:
            await self._site.tape.commit(intent)
        except RecordingFailed as failure:
            self._site.halt(str(failure))
            return False
        return True

    def _pays_debt(self, write: Write) -> bool:
        """A start without a journal is better than a notebook left stopped."""
        return write.step is Step.START and self._life.debt

    async def _send(self, write: Write, turn: Turn) -> Receipt:
        cloud, key = self._site.cloud, self._change.id
        match write.step:
            case Step.STOP:
                return await cloud.stop(key, turn)
            case Step.START:
                return await cloud.start(key, write.body, turn)
            case Step.LEASE:
                return await cloud.renew_lease(key, write.body, turn)
            case _:
                return await cloud.put(key, write.body, turn)

    def _refusal(self, step: Step, error: CallError) -> Answered:
        return Answered(
            self._change.item,
            self._now(),
            step,
            Verdict.IN_DOUBT if error.in_doubt else Verdict.REFUSED,
            meaning=error.meaning,
            code=error.code,
            text=error.text,
            status=error.status,
            request_id=error.request_id,
            sends=error.sends,
        )

    # --- looks ---

    async def _look(self, wait: float) -> ChangeEvent:
        if self._life.stage is Stage.FENCE:
            turn = await self._queued()
            if isinstance(turn, Blind):
                return turn
            self._turn = turn
        trouble = ""
        with anyio.move_on_after(self._time_left()):
            await anyio.sleep(wait)
            while True:
                event = await self._single_look()
                if not isinstance(event, Blind) or event.meaning not in TRANSIENT:
                    return event
                self._site.brakes(event)
                trouble = f" ({event.text})"
                await anyio.sleep(LOOK_AGAIN)
        return self._late(trouble)

    async def _single_look(self) -> Saw | Blind:
        item = self._change.item
        try:
            look = await self._site.cloud.look(self._change.id)
        except CallError as error:
            if error.meaning is Meaning.GONE:
                return Saw(item, self._now(), GONE, request_id=error.request_id, sends=error.sends)
            return Blind(item, self._now(), error.meaning, error.text, sends=error.sends)
        return Saw(
            item,
            self._now(),
            self._sight(look.notebook),
            request_id=look.request_id,
            sends=look.sends,
        )

    async def _arrival(self, passing: frozenset[Status]) -> ChangeEvent:
        self._turn = None  # it would be long past when the wait is over
        with anyio.move_on_after(self._time_left()):
            try:
                row = await self._site.watch.settled(self._change.id, passing)
            except CallError as error:
                return Blind(self._change.item, self._now(), error.meaning, error.text, sends=0)
            if row is not None:
                return Saw(self._change.item, self._now(), self._sight(row), polled=True, sends=0)
            return await self._look(0.0)
        return self._late("")

    def _sight(self, notebook: Notebook) -> Sight:
        return sight_of(notebook, self._change.after, int(self._now() * 1000))

    def _time_left(self) -> float:
        return max(0.0, self._time_up - self._site.clock.monotonic())

    def _late(self, trouble: str) -> Late:
        self._time_up = self._site.clock.monotonic() + self._site.deadline
        return Late(self._change.item, self._now(), f"its time was up{trouble}")

    # --- what all share ---

    def _happened(self, event: ChangeEvent) -> None:
        if isinstance(event, Saw):
            self._looked_at = self._site.clock.monotonic()
        self._site.tape.note(event)
        self._life = advance(self._life, event)

    async def _end(self, end: End) -> None:
        ended = Ended(self._change.item, self._now(), end.outcome, end.reason, end.debt, end.fix)
        try:
            await self._site.tape.commit(ended)
        except RecordingFailed as failure:
            self._site.halt(str(failure))

    def _now(self) -> float:
        return self._site.clock.wall()
