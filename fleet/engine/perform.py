"""Performs one change: asks the tables what to do, does it, tells them what came of it.

Nothing is decided here. The order of a write is: a turn at the gate, for the first write the fence look and
for a later one another look if the last is old by then, the intent on disk, the send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import anyio

from fleet.core.calls import Rank, Receipt, SavedImage, Turn
from fleet.core.changing.change import Await, End, Look, Write, advance, decide
from fleet.core.changing.life import Life, Stage, over
from fleet.core.changing.saving import asks_for_image, status_of, unseen
from fleet.core.changing.sight import GONE, sight_of
from fleet.core.errors import TRANSIENT, CallError, Meaning, RecordingFailed
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Ended,
    Fate,
    Intended,
    Late,
    Leave,
    Outcome,
    Reopened,
    Saw,
    Step,
)
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.estimate import Times, wait_of
from fleet.core.planning.plan import Change
from fleet.core.text import brief
from fleet.engine.brakes import Brakes
from fleet.engine.control import Control
from fleet.engine.ports import Clock, Cloud
from fleet.engine.tape import Tape
from fleet.engine.watch import Watch

LATEST = 5.0  # seconds after its turn and its look that a write may still leave
# These could undo what somebody did since the look. A start could not, and a debt waits for none.
_OVERTURNING = frozenset({Step.SAVE, Step.STOP, Step.PUT, Step.LEASE})
LOOK_AGAIN = 5.0  # seconds between looks while the cloud does not answer, at first: each pause doubles
LOOK_AGAIN_MOST = 60.0
_NOT_ASKED = SavedImage()


@dataclass(frozen=True, slots=True)
class Surroundings:
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
    times: Times


class Performance:
    """One change on its way. `run` returns the life it had; errors of calls become events of that life.

    `life` is where an earlier process left the change: whatever was under way then is looked at first.
    `leave` is what it may do to a notebook that runs; `still` says whether the moment of one that has sent
    nothing has not passed, and is told whether a pause lies between.
    """

    def __init__(
        self,
        change: Change,
        here: Surroundings,
        life: Life | None = None,
        leave: Leave | None = None,
        still: Callable[[Change, bool], bool] = lambda _, paused: True,
    ) -> None:
        self._change = change
        self._here = here
        self._now = here.clock.wall
        self._leave = leave
        self._still = still
        self.sent_at: float | None = None  # when the first write left, if not from an earlier process
        self._life = life or Life.begin(change)
        self._turn: Turn | None = None
        self._looked_at = 0.0
        self._time_up = here.clock.monotonic() + here.deadline
        self._waits_for: Status | None = None
        self._since = 0.0
        self._seen_waiting = -inf  # when a look last showed that it waits on
        self._listed_at: float | None = None

    async def run(self) -> Life:
        item, now = self._change.item, self._now()
        if self._life.begun:
            self._happened(Reopened(item, now, self._leave))
        else:
            self._happened(Began(item, now, dict(self._here.moved), self._leave))
        while True:
            match decide(self._life):
                case End() as end:
                    self._end(end)
                    return self._life
                case Write() as write:
                    await self._write(write)
                case Look(wait):
                    self._happened(await self._look(wait))
                case Await(status):
                    self._happened(await self._arrival(status))
            if self._life.moved:
                self._here.moved.update(self._life.moved)

    def give_up(self, error: Exception) -> Life:
        """Ends a change that something unforeseen broke, as truthfully as can be."""
        reason = f"stopped by an error of our own: {type(error).__name__}"
        outcome = Outcome.FAILED if not self._life.tries else Outcome.UNKNOWN
        self._life = over(self._life, Outcome.STRANDED if self._life.debt else outcome, reason)
        move = decide(self._life)
        if isinstance(move, End):
            self._end(move)
        return self._life

    # --- writes ---

    async def _write(self, write: Write) -> None:
        turn = await self._queued()
        if isinstance(turn, Blind):
            self._happened(turn)
            return
        self._turn = None
        if write.step in _OVERTURNING and turn.at - self._looked_at > LATEST:
            event = await self._look(0.0)
            self._turn = turn
            self._happened(event)
            return
        first = not self._life.tries
        if first and not await self._may_begin(turn):
            return
        if not self._life.tries:
            self.sent_at = self._here.clock.monotonic()
        attempt = self._life.tried(write.step) + 1
        intent = Intended(self._change.item, self._now(), write.step, attempt, write.body)
        if not await self._committed(intent) and not self._pays_debt(write):
            self._unrecorded("the journal cannot be written")
            return
        self._life = advance(self._life, intent)
        try:
            receipt = await self._send(write, self._in_time(turn, first=first))
        except CallError as error:
            self._happened(self._refusal(write.step, error))
        else:
            self._happened(
                Answered(
                    self._change.item,
                    self._now(),
                    write.step,
                    Fate.ACCEPTED,
                    status=receipt.status,
                    request_id=receipt.request_id,
                    sends=receipt.sends,
                )
            )

    def _unrecorded(self, reason: str) -> None:
        """No write may leave without its intent on disk: a change that has sent none has not started."""
        if self._life.tries:
            self._happened(Late(self._change.item, self._now(), reason, unrecorded=True))
        else:
            self._life = over(self._life, Outcome.NOT_STARTED, f"nothing was sent: {reason}")

    async def _may_begin(self, turn: Turn) -> bool:
        """Whether the first write may leave, asked when its turn has come.

        Whoever ends or pauses the run means this change too as long as it has sent nothing. After a pause its
        moment may be over, and a new look must come first.
        """
        control, clock = self._here.control, self._here.clock
        if (early := turn.at - clock.boottime()) > 0:
            await anyio.sleep(early)
        if (barred := self._here.brakes.barred(self._change)) is not None:
            self._life = over(self._life, Outcome.NOT_STARTED, f"nothing was sent: {barred}")
            return False
        if control.end is None and not control.paused:
            return self._may_still(paused=False)
        self._here.watch.under_way -= 1  # who is held back waits for no call
        try:
            await control.released()
        finally:
            self._here.watch.under_way += 1
        if control.end is not None:
            self._life = over(self._life, Outcome.NOT_STARTED, f"nothing was sent: {brief(control.end[1])}")
        elif self._may_still(paused=True):
            self._happened(Reopened(self._change.item, self._now()))
            self._time_up = clock.monotonic() + self._here.deadline
        return False

    def _may_still(self, *, paused: bool) -> bool:
        """Whether the moment of the change has not passed; if it has, the change waits for the next."""
        may = self._still(self._change, paused)
        if not may:
            self._life = self._life._replace(stage=Stage.PUT_OFF)
        return may

    async def _queued(self) -> Turn | Blind:
        """The turn for the next write; Blind when no call can succeed any more."""
        if self._turn is not None:
            return self._turn
        try:
            return await self._here.cloud.turn(self._rank)
        except CallError as error:
            return Blind(self._change.item, self._now(), error.meaning, error.text, sends=0)

    def _held(self) -> bool:
        return self._here.control.paused or self._here.control.end is not None

    def _in_time(self, turn: Turn, *, first: bool) -> Turn:
        """The turn, which ends when what was looked at before it is old."""
        until = max(turn.at, self._looked_at) + LATEST
        if first:  # a pause means it until its bytes leave
            return Turn(turn.at, until, turn.rank, self._held)
        return Turn(turn.at, until, turn.rank)

    async def _committed(self, intent: Intended) -> bool:
        try:
            await self._here.tape.commit(intent)
        except RecordingFailed as failure:
            self._here.halt(str(failure))
            return False
        return True

    def _pays_debt(self, write: Write) -> bool:
        """A start without a journal is better than a notebook left stopped."""
        return write.step is Step.START and self._life.debt

    async def _send(self, write: Write, turn: Turn) -> Receipt:
        cloud, key = self._here.cloud, self._change.id
        match write.step:
            case Step.STOP:
                return await cloud.stop(key, turn)
            case Step.SAVE:
                return await cloud.save(key, write.body, turn)
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
            Fate.IN_DOUBT if error.in_doubt else Fate.REFUSED,
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
        else:
            self._turn = None  # it would be past when it is used
        # Most looks are answered at once: watching the time would cost more than the look itself.
        event = None if wait else await self._single_look()
        if event is not None and not _to_repeat(event):
            return event
        pause = wait or LOOK_AGAIN
        with anyio.move_on_after(self._time_left()):
            while True:
                if event is not None:
                    self._here.brakes(event)
                await anyio.sleep(pause)
                pause = LOOK_AGAIN if event is None else min(2 * pause, LOOK_AGAIN_MOST)
                event = await self._single_look()
                if not _to_repeat(event):
                    return event
        return self._late(event.text if isinstance(event, Blind) else "")

    async def _single_look(self) -> Saw | Blind:
        item, sends = self._change.item, 0
        try:
            look = await self._here.cloud.look(self._change.id, self._rank)
            sends = look.sends
            # From here on it grows old, also while the image is asked for.
            at, self._looked_at = self._now(), self._here.clock.boottime()
            saved, image = _NOT_ASKED, ""
            if asks_for_image(self._life, look.notebook.status):
                saved = await self._saved()
                image = status_of(self._life, saved)
        except CallError as error:
            if error.meaning is Meaning.GONE:
                return Saw(item, self._now(), GONE, error.request_id, error.sends, _repeats(error.sends))
            return Blind(item, self._now(), error.meaning, error.text, sends=sends + error.sends)
        return Saw(
            item,
            at,
            sight_of(look.notebook, self._change.after, int(at * 1000), image),
            request_id=look.request_id,
            sends=sends + saved.sends,
            repeats=_repeats(sends) + _repeats(saved.sends),
            listed_at=self._listed_at,
        )

    async def _saved(self) -> SavedImage:
        """The image that is being made of the environment."""
        try:
            return await self._here.cloud.saved(self._change.save_body, self._rank)
        except CallError as error:
            return unseen(error)

    async def _arrival(self, status: Status) -> ChangeEvent:
        """A look when the notebook may have left `status`, in which it has been since its wait began."""
        clock, watch = self._here.clock, self._here.watch
        if self._waits_for is not status:
            self._waits_for, self._since = status, clock.monotonic()
        if self._seen_waiting >= self._time_up:  # nothing but a look may say that it is late
            return self._late(watch.failing)
        usual, listed = wait_of(self._change, status, self._here.times), None
        with anyio.move_on_after(self._time_left()):
            try:
                listed = await watch.worth_a_look(self._change.id, status, self._since, usual)
            except CallError as error:
                return Blind(self._change.item, self._now(), error.meaning, error.text, sends=0)
        if listed is not None:
            self._listed_at = self._now() - (clock.monotonic() - listed)
        event = await self._look(0.0)
        self._listed_at = None
        if isinstance(event, Saw) and event.sight.status.heading is None:
            if event.sight.status is status.heading:
                watch.took(status, clock.monotonic() - self._since, usual)
            self._waits_for = None
        else:
            self._seen_waiting = clock.monotonic()
        return event

    def _time_left(self) -> float:
        return max(0.0, self._time_up - self._here.clock.monotonic())

    def _late(self, trouble: str) -> Late:
        self._time_up = self._here.clock.monotonic() + self._here.deadline
        why = f" ({trouble})" if trouble else ""
        return Late(self._change.item, self._now(), f"its time was up{why}")

    # --- what all share ---

    @property
    def _rank(self) -> Rank:
        """How soon the next request must leave."""
        life = self._life
        if life.debt and life.stage is not Stage.STARTING:
            return Rank.AWAY
        return Rank.UNDER_WAY if life.tries else Rank.NEW

    def _happened(self, event: ChangeEvent) -> None:
        self._here.tape.note(event)
        self._life = advance(self._life, event)

    def _end(self, end: End) -> None:
        """Tells of the end. No need to wait for the disk: the next intent takes it along, or is not sent."""
        self._here.tape.note(
            Ended(self._change.item, self._now(), end.outcome, end.reason, end.debt, end.fix)
        )


def _repeats(sends: int) -> int:
    """How many requests of a call were sent because one before had failed."""
    return max(0, sends - 1)


def _to_repeat(event: Saw | Blind) -> bool:
    """Whether a look failed in passing."""
    return isinstance(event, Blind) and event.meaning in TRANSIENT
