"""The road of one call: credential, gate, signature, network, and again when that is safe and can help."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

import anyio
from msgspec.structs import replace

from fleet.client.auth import Auth
from fleet.client.canary import Canary
from fleet.client.clock import Clock
from fleet.client.gate import Gate
from fleet.client.reach import Reach
from fleet.client.transport import Transport
from fleet.client.wire import Answer, Kind, Request, decipher
from fleet.core.calls import Rank, Turn
from fleet.core.errors import NOT_SENT, CallError, Meaning
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.core.pacing.retry import Patience, Tries

WITHIN = 30.0  # s for one attempt, from the connection to the last byte

# From a signature to its refusal (s, by the wall clock): one that is so old may be refused, and signed anew.
STANDSTILL = 180.0

# Before the first success a wrong address or a closed port is more likely than a bad moment: tell soon.
UNPROVEN, PROVEN = Patience(attempts=3), Patience()


class _Course:
    """How far one call has come, and the last word before the bytes of an attempt leave.

    `sent_at` is None as long as the present attempt has not left. When its turn is over nothing leaves: the
    connection was too slow, or a window is full, and what was looked at before is old by now.
    """

    __slots__ = (
        "calls", "canary", "clock", "gate", "headers", "operation", "rank", "renewed", "sends", "sent_at",
        "signed_at", "tries", "turn",
    )  # fmt: skip

    def __init__(
        self,
        operation: str,
        gate: Gate,
        canary: Canary,
        clock: Clock,
        calls: Counter[str],
        turn: Turn | None,
        rank: Rank,
    ) -> None:
        self.operation = operation
        self.gate = gate
        self.canary = canary
        self.clock = clock
        self.calls = calls
        self.turn = turn
        self.rank = rank
        self.tries: Tries | None = None  # from the first failure on
        self.sends = 0
        self.sent_at: float | None = None
        self.renewed = False
        self.signed_at = 0.0  # wall seconds
        self.headers: Mapping[str, str] = {}

    def go(self) -> bool:
        self.canary.check()
        turn = self.turn
        if turn is not None:
            if self.clock.monotonic() >= turn.until:
                raise CallError(Meaning.THROTTLED, "its turn passed before it could leave", sends=0)
            if turn.held():
                raise CallError(Meaning.THROTTLED, "held back before it left", sends=0)
        self.sent_at = sent_at = self.gate.go()
        if sent_at is None:
            return False
        self.sends += 1
        self.calls[self.operation] += 1  # also when nobody waits for the answer any longer
        return True

    async def wait(self) -> None:
        await self.gate.clear(math.inf if self.turn is None else self.turn.until)


class Caller:
    """Calls to one host with one credential, of one `lane` at its gates.

    `calls` is told what was sent, by operation, `reach` how every attempt ended. `source` says in words where
    the credential was found, for refusals.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        auth: Auth,
        canary: Canary,
        gates: Mapping[Kind, Gate],
        clock: Clock,
        jitter: Callable[[], float],
        calls: Counter[str],
        reach: Reach,
        lane: str = "",
        source: str = "",
        within: float = WITHIN,
    ) -> None:
        self._transport = transport
        self._auth = auth
        self._canary = canary
        self._gates = gates
        self._reads = gates[Kind.READ]
        self._clock = clock
        self._jitter = jitter
        self._within = within
        self._calls = calls
        self._reach = reach
        self._lane = lane
        self._source = source

    @property
    def limits(self) -> dict[str, tuple[Limit, ...]]:
        """The limits that are kept, by throttle key and class; logins have their own, which nobody sets."""
        return {self._gates[kind].key: self._gates[kind].limits for kind in (Kind.READ, Kind.WRITE)}

    @property
    def waits(self) -> dict[str, str]:
        """What requests wait for, by throttle key and class, where they wait."""
        gates = (self._gates[Kind.READ], self._gates[Kind.WRITE])
        return {gate.key: gate.waits for gate in gates if gate.waits}

    @property
    def shut(self) -> dict[str, Shut]:
        """Where nothing may leave for a while, by throttle key and class."""
        gates = (self._gates[Kind.READ], self._gates[Kind.WRITE])
        return {gate.key: shut for gate in gates if (shut := gate.shut) is not None}

    def set_rate(self, rate: Rate) -> None:
        """Sets the rate of the throttle key, for reads and for writes."""
        for kind in (Kind.READ, Kind.WRITE):
            self._gates[kind].set_rate(rate)

    async def turn(self, rank: Rank = Rank.NEW) -> Turn:
        """A place in the queue of writes."""
        self._canary.check()
        return await self._gates[Kind.WRITE].turn(self._lane, rank)

    async def call(
        self,
        request: Request,
        turn: Turn | None = None,
        *,
        rank: Rank = Rank.NEW,
        patience: Patience | None = None,
    ) -> Answer:
        """The answer to `request`; a write comes with its turn, which has a rank of its own.

        Raises CallError when it gives up.
        """
        kind = request.kind
        gate = self._reads if kind is Kind.READ else self._gates[kind]
        if turn is not None:
            rank = turn.rank
        canary = self._canary
        course = _Course(request.operation, gate, canary, self._clock, self._calls, turn, rank)
        if patience is None:
            patience = PROVEN if canary.proven else UNPROVEN
        while True:
            try:
                return await self._attempt(request, course)
            except CallError as error:
                if course.tries is None:
                    course.tries = Tries(kind is Kind.WRITE, patience)
                await self._recover(error, course, course.tries)
            course.sent_at = None
            if course.turn is not None:  # the look that the write stands on is no younger for that
                another = await gate.turn(self._lane, course.rank)
                course.turn = replace(course.turn, at=another.at, rank=another.rank)

    async def _recover(self, error: CallError, course: _Course, tries: Tries) -> None:
        """Returns when the call may be sent again, raises `error` when it may not."""
        if error.meaning is Meaning.TOKEN_EXPIRED:
            course.renewed = True
            try:
                await self._auth.renew(course.headers)
            except CallError as failure:
                raise failure.counted(course.sends) from None
            return
        wait = tries.after(error, self._jitter())
        if wait is None:
            raise error.counted(course.sends)
        await anyio.sleep(wait)

    async def _attempt(self, request: Request, course: _Course) -> Answer:
        canary = not self._canary.open and await self._canary.admit()
        try:
            if not self._auth.is_ready:
                await self._auth.ready()
            if not course.gate.passes(course.turn):
                await self._pass(course)
            course.signed_at = signed_at = self._clock.wall()
            try:
                course.headers = headers = self._auth.headers(request, signed_at)
                response = await self._transport.send(request, headers, within=self._within, departure=course)
                answer = decipher(request, response, self._clock.wall(), course.sends)
            except BaseException as error:
                self._failed(course, error)
                raise
        except CallError as error:
            final = _final(error, course, self._clock.wall(), renewable=self._auth.renewable)
            final = self._with_source(final, request)
            self._canary.judge(final)
            raise final from None
        finally:
            if canary:
                self._canary.release()
        self._answered(course)
        return answer

    async def _pass(self, course: _Course) -> None:
        if course.turn is None:
            await course.gate.pass_(self._lane, course.rank)
        else:
            await course.gate.pass_turn(course.turn, self._lane)

    def _with_source(self, error: CallError, request: Request) -> CallError:
        """The same error; where the cloud refused who we are, it says from where we know that.

        A right that lacks for one notebook is no reason to doubt the credential.
        """
        refused = error.meaning is Meaning.UNAUTHENTICATED or (
            error.meaning is Meaning.FORBIDDEN and not request.is_of_one
        )
        if not refused or self._source in error.text:  # of a login, or of another scope with this credential
            return error
        return error.reworded(f"{error.text}; scope {self._lane} uses {self._source}")

    def _answered(self, course: _Course) -> None:
        course.gate.heard(course.sent_at, None)
        self._reach.answered()
        self._canary.judge(None)

    def _failed(self, course: _Course, error: BaseException) -> None:
        """Gives the seat at the gate back, and tells what the end of the attempt shows."""
        if not isinstance(error, CallError):
            course.gate.leave(course.sent_at)
            return
        course.gate.heard(course.sent_at, error)
        if course.sent_at is not None or error.meaning in NOT_SENT:  # else we called it off ourselves
            self._reach.failed(error)


def _final(error: CallError, course: _Course, now: float, *, renewable: bool) -> CallError:
    """The same error, unless it is about a token or a signature that trying again cannot mend."""
    match error.meaning:
        case Meaning.TOKEN_EXPIRED if course.renewed or not renewable:
            advice = (
                "and so was a fresh one; check the user's rights and the region"
                if renewable
                else "fetch a new one"
            )
            text = f"the token was refused, {advice}"
        case Meaning.SIGNATURE_EXPIRED if abs(now - course.signed_at) < STANDSTILL:
            text = error.text
        case _:
            return error
    return CallError(
        Meaning.UNAUTHENTICATED, text, status=error.status, code=error.code, request_id=error.request_id
    )
