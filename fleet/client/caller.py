"""The road of one call: credential, gate, signature, network, and again when that is safe and can help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import anyio

from fleet.client.auth import Auth
from fleet.client.canary import Canary
from fleet.client.clock import Clock
from fleet.client.gate import Gate
from fleet.client.transport import Transport
from fleet.client.wire import CONTENT_TYPE, Answer, Kind, Request, Response, decipher
from fleet.core.calls import Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.pace import Limit, Rate
from fleet.core.retry import Patience, Tries

WITHIN = 30.0  # s for one attempt, from the connection to the last byte

# Before the first success a wrong address or a closed port is more likely than a bad moment: tell soon.
UNPROVEN = Patience(attempts=3)


@dataclass(slots=True)
class _Course:
    """How far one call has come."""

    tries: Tries
    turn: Turn | None
    sends: int = 0
    sent_at: float = 0.0
    renewed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Caller:
    """Calls to one host with one credential. `calls` is told what was sent, by operation."""

    def __init__(
        self,
        *,
        host: str,
        transport: Transport,
        auth: Auth,
        canary: Canary,
        gates: Mapping[Kind, Gate],
        clock: Clock,
        jitter: Callable[[], float],
        user_agent: str,
        calls: Counter[str],
        within: float = WITHIN,
    ) -> None:
        self._transport = transport
        self._auth = auth
        self._canary = canary
        self._gates = gates
        self._clock = clock
        self._jitter = jitter
        self._within = within
        self._headers = {
            "host": host,
            "content-type": CONTENT_TYPE,
            "accept": CONTENT_TYPE,
            "accept-encoding": "identity",
            "user-agent": user_agent,
            "x-language": "en-us",
        }
        self._calls = calls

    @property
    def limits(self) -> dict[str, tuple[Limit, ...]]:
        """The limits that are kept, by throttle key and class; logins have their own, which nobody sets."""
        return {self._gates[kind].key: self._gates[kind].limits for kind in (Kind.READ, Kind.WRITE)}

    def set_rate(self, rate: Rate) -> None:
        """Sets the rate of the throttle key, for reads and for writes."""
        for kind in (Kind.READ, Kind.WRITE):
            self._gates[kind].set_rate(rate)

    async def turn(self) -> Turn:
        """A place in the queue of writes."""
        self._canary.check()
        return await self._gates[Kind.WRITE].turn()

    async def call(
        self, request: Request, turn: Turn | None = None, *, patience: Patience | None = None
    ) -> Answer:
        """The answer to `request`; a write comes with its turn. Raises CallError when it gives up."""
        write = request.kind is Kind.WRITE
        if patience is None:
            patience = Patience() if self._canary.proven else UNPROVEN
        course = _Course(Tries(write, patience), turn)
        while True:
            try:
                return await self._attempt(request, course)
            except CallError as error:
                await self._recover(error, course)
            if write:
                course.turn = await self._gates[Kind.WRITE].turn()

    async def _recover(self, error: CallError, course: _Course) -> None:
        """Returns when the call may be sent again, raises `error` when it may not."""
        if error.meaning is Meaning.TOKEN_EXPIRED:
            course.renewed = True
            await self._auth.renew(course.headers)
            return
        wait = course.tries.after(error, self._jitter())
        if wait is None:
            raise error.counted(course.sends)
        await anyio.sleep(wait)

    async def _attempt(self, request: Request, course: _Course) -> Answer:
        canary = await self._canary.admit()
        try:
            answer = await self._exchange(request, course)
        except CallError as error:
            final = _final(error, course, renewable=self._auth.renewable)
            self._canary.judge(final)
            raise final from None
        else:
            self._canary.judge(None)
            return answer
        finally:
            if canary:
                self._canary.release()

    async def _exchange(self, request: Request, course: _Course) -> Answer:
        await self._auth.ready()
        gate = self._gates[request.kind]
        if course.turn is None:
            await gate.pass_()
        else:
            await gate.pass_turn(course.turn)
            if self._clock.monotonic() > course.turn.until:
                gate.leave()
                raise CallError(Meaning.THROTTLED, "its turn passed while the cloud held us back", sends=0)
        try:
            response = await self._send(request, course, gate)
        finally:
            gate.leave()
        try:
            return replace(decipher(request, response, self._clock.wall()), sends=course.sends)
        except CallError as error:
            if error.meaning is Meaning.THROTTLED:
                gate.refused(error, course.sent_at)
            raise

    async def _send(self, request: Request, course: _Course, gate: Gate) -> Response:
        course.headers = {**self._headers, **self._auth.headers(request, self._clock.wall())}

        async def leaving() -> None:
            self._canary.check()
            course.sent_at = await gate.leaving()
            course.sends += 1
            self._calls[request.operation] += 1

        return await self._transport.send(request, course.headers, within=self._within, leaving=leaving)


def _final(error: CallError, course: _Course, *, renewable: bool) -> CallError:
    """The same error, unless it is about a token that nothing can be done about."""
    if error.meaning is not Meaning.TOKEN_EXPIRED or (renewable and not course.renewed):
        return error
    advice = (
        "and so was a fresh one; check the user's rights and the region" if renewable else "fetch a new one"
    )
    text = f"the token was refused, {advice}"
    return CallError(
        Meaning.UNAUTHENTICATED, text, status=error.status, code=error.code, request_id=error.request_id
    )
