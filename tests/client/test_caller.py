"""The road of one call: what is tried again, what never is, what is counted, and when it ends for all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest
from msgspec.structs import replace

from fleet.client.auth import Auth
from fleet.client.caller import Caller
from fleet.client.canary import Canary
from fleet.client.clock import Clock
from fleet.client.gate import LEAD, Gate
from fleet.client.reach import PATIENT, Reach
from fleet.client.transport import Departure
from fleet.client.wire import Kind, Request, Response
from fleet.core.calls import Rank
from fleet.core.errors import TRANSIENT, CallError, Meaning
from fleet.core.events import OutOfReach, Slowed
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import Pace
from tests.virtual import IN_MEMORY

if TYPE_CHECKING:
    Sample = Callable[[str], bytes]

pytestmark = IN_MEMORY

READ = Request("get", Kind.READ, "GET", "/v1/x")
WRITE = Request("put", Kind.WRITE, "PUT", "/v1/x", body=b"{}")

Ending = tuple[int, bytes] | CallError
OK: Ending = (200, b'{"ok":1}')


class Tokens(Auth):
    """Numbered tokens."""

    def __init__(self, renewable: bool = True) -> None:
        self.renewable = renewable
        self.number = 1
        self.failure: CallError | None = None

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return {"x-auth-token": f"t{self.number}"}

    async def renew(self, refused: Mapping[str, str]) -> None:
        if self.failure is not None:
            raise self.failure
        if refused["x-auth-token"] == f"t{self.number}":
            self.number += 1


@dataclass
class Script:
    """A transport that ends call after call as told, and the last way for ever."""

    endings: list[Ending]
    headers: list[dict[str, str]] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)
    takes: float = 0.0
    connects: float = 0.0  # s until there is a connection
    held: Callable[[], object] | None = None  # what happens as the first request is about to leave

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        if isinstance(ending, CallError) and ending.meaning is Meaning.UNREACHABLE:
            raise ending
        await anyio.sleep(self.connects)
        held, self.held = self.held, None
        if held is not None:
            held()
        while not departure.go():
            await departure.wait()
        self.headers.append(dict(headers))
        await anyio.sleep(self.takes)
        if isinstance(ending, CallError):
            raise ending
        return Response(
            ending[0], {"content-type": "application/json", **self.answer_headers}, ending[1], "h"
        )


class Desk:
    """A caller on a script."""

    def __init__(self, clock: Clock, *endings: Ending, auth: Auth | None = None, source: str = "") -> None:
        self.script = Script(list(endings))
        self.told: list[Slowed] = []
        self.calls: Counter[str] = Counter()
        self.reached: list[OutOfReach] = []
        self.now = monotonic = clock.monotonic
        self.ahead = 0.0  # s that the wall clock jumped
        clock = Clock(monotonic, lambda: monotonic() + self.ahead)
        pace = Rate(100, 1.0)
        self.gates = {kind: Gate(kind, Pace(pace), clock, on_slowed=self.told.append) for kind in Kind}
        self.caller = Caller(
            transport=self,
            auth=auth or Tokens(),
            canary=Canary(),
            gates=self.gates,
            clock=clock,
            jitter=lambda: 0.5,
            calls=self.calls,
            reach=Reach("h", clock, self.reached.append),
            source=source,
        )

    def use(self, script: Script) -> None:
        """Takes another transport."""
        self.script = script

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        return await self.script.send(request, headers, within=within, departure=departure)

    @property
    def sends(self) -> int:
        return len(self.script.headers)

    async def write(self) -> int:
        return (await self.caller.call(WRITE, await self.caller.turn())).sends

    async def fail(self, request: Request) -> CallError:
        with pytest.raises(CallError) as caught:
            await (self.write() if request is WRITE else self.caller.call(request))
        return caught.value


Make = Callable[..., Desk]


@pytest.fixture
def make(loop_clock: Clock) -> Make:
    return lambda *endings, **named: Desk(loop_clock, *endings, **named)


async def test_a_read_is_tried_again_until_it_succeeds(make: Make) -> None:
    lost, odd = CallError(Meaning.LOST, ""), (200, b"<html>")
    desk = make(OK, lost, (500, b"{}"), odd, CallError(Meaning.UNREACHABLE, ""), OK)
    await desk.caller.call(READ)
    answer = await desk.caller.call(READ)
    assert (answer.payload, answer.sends) == ({"ok": 1}, 4)
    assert desk.calls == {"get": 5}
    assert desk.now() > 1.0


async def test_a_read_gives_up_with_the_last_error(make: Make) -> None:
    desk = make(OK, (500, b'{"error_msg":"broken"}'))
    await desk.caller.call(READ)
    assert "broken" in str(await desk.fail(READ))
    assert desk.sends == 9


async def test_before_the_first_success_a_read_gives_up_soon(make: Make) -> None:
    desk = make(CallError(Meaning.UNREACHABLE, "connection refused"))
    assert "connection refused" in str(await desk.fail(READ))
    assert desk.sends <= 3
    assert desk.now() < 5.0


@pytest.mark.row(3)
@pytest.mark.parametrize(
    "ending",
    [
        CallError(Meaning.LOST, ""),
        (500, b"{}"),
        (502, b"{}"),
        (504, b""),
        (200, b"<html>"),
        (302, b""),
        (408, b"{}"),
    ],
)
async def test_a_write_in_doubt_is_sent_once(make: Make, ending: Ending) -> None:
    desk = make(ending)
    assert (await desk.fail(WRITE)).in_doubt
    assert desk.sends == 1


@pytest.mark.parametrize("name", ["busy.400", "missing.400", "denied.403"])
async def test_a_refusal_is_final(make: Make, sample: Sample, name: str) -> None:
    desk = make((int(name[-3:]), sample(name)))
    assert not (await desk.fail(WRITE)).in_doubt
    assert desk.sends == 1


@pytest.mark.parametrize("request_", [READ, WRITE])
async def test_a_notebook_that_is_forbidden_casts_no_doubt_on_the_credential(
    make: Make, sample: Sample, request_: Request
) -> None:
    desk = make((403, sample("denied.403")), source="the variable KEY")
    assert "KEY" not in (await desk.fail(request_)).text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (replace(READ, operation="list"), 403),
        (replace(READ, kind=Kind.LOGIN, operation="login"), 403),
        (READ, 401),
        (WRITE, 401),
    ],
)
async def test_where_all_of_a_scope_is_refused_the_credential_is_named(
    make: Make, request_: Request, status: int
) -> None:
    desk = make((status, b"{}"), source="the variable KEY")
    assert "the variable KEY" in (await desk.fail(request_)).text


@pytest.mark.parametrize(
    "ending",
    [
        (429, b'{"error_code":"APIGW.0308"}'),
        (400, b'{"error_code":"ModelArts.6333"}'),
        CallError(Meaning.UNREACHABLE, ""),
    ],
)
async def test_a_write_that_was_not_applied_is_given_back_rather_than_sent_again(
    make: Make, ending: Ending
) -> None:
    desk = make(ending, OK)
    assert not (await desk.fail(WRITE)).in_doubt
    assert desk.sends <= 1


@pytest.mark.row(15)
async def test_a_write_whose_time_is_over_does_not_leave(make: Make) -> None:
    desk = make(OK)
    turn = await desk.caller.turn()
    with pytest.raises(CallError) as caught:
        await desk.caller.call(WRITE, replace(turn, until=desk.now() - 1.0))
    assert (caught.value.meaning, caught.value.sends, desk.sends) == (Meaning.THROTTLED, 0, 0)


@pytest.mark.row(66)
async def test_a_write_that_somebody_holds_back_does_not_leave_however_long_it_waited(make: Make) -> None:
    desk = make(OK)
    paused: list[bool] = []
    desk.script.connects = 2.0
    turn = await desk.caller.turn()
    asyncio.get_running_loop().call_later(1.0, paused.append, True)
    with pytest.raises(CallError) as caught:
        await desk.caller.call(WRITE, replace(turn, held=lambda: bool(paused)))
    assert (caught.value.meaning, caught.value.sends, desk.sends) == (Meaning.THROTTLED, 0, 0)


LATEST = 5.0  # s from the turn that a write may still leave


async def write_in_time(desk: Desk) -> CallError:
    """A write that must leave within `LATEST`, and does not. Where it ends, that time is just over."""
    begun, turn = desk.now(), await desk.caller.turn()
    with pytest.raises(CallError) as caught:
        await desk.caller.call(WRITE, replace(turn, until=turn.at + LATEST))
    assert desk.now() - begun < 2 * LATEST
    assert not caught.value.in_doubt
    return caught.value


@pytest.mark.row(1, 68)
@pytest.mark.parametrize("seconds", [LATEST + 1.0, 20.0, 600.0])
async def test_a_write_that_a_full_window_holds_at_its_departure_does_not_leave(
    make: Make, seconds: float
) -> None:
    """Somebody's refusal comes in between its slot and its bytes, connection in hand."""
    desk = make(OK)
    throttled = CallError(Meaning.THROTTLED, "", status=429, retry_after=seconds)
    desk.script.held = lambda: desk.gates[Kind.WRITE].heard(desk.now(), throttled)
    error = await write_in_time(desk)
    assert (error.meaning, error.sends, desk.sends, desk.calls) == (Meaning.THROTTLED, 0, 0, {})
    assert desk.now() == pytest.approx(LATEST)
    assert (await desk.write(), desk.now() >= seconds) == (1, True)


@pytest.mark.row(68)
async def test_a_write_whose_connection_takes_too_long_does_not_leave(make: Make) -> None:
    desk = make(OK)
    desk.script.connects = LATEST + 1.0
    error = await write_in_time(desk)
    assert (error.meaning, error.sends, desk.sends, desk.calls) == (Meaning.THROTTLED, 0, 0, {})


@pytest.mark.row(15)
async def test_a_write_that_we_call_off_says_nothing_of_the_host(make: Make) -> None:
    desk = make(CallError(Meaning.UNREACHABLE, "refused"), OK)
    await desk.fail(WRITE)
    desk.script.connects = PATIENT + 1.0
    await write_in_time(desk)
    assert desk.reached == []
    desk.script.endings = [CallError(Meaning.UNREACHABLE, "refused")]
    await desk.fail(WRITE)
    assert [told.text for told in desk.reached] == ["refused"]


@pytest.mark.row(17, 68)
async def test_a_write_is_not_replayed_with_a_fresh_token_when_its_time_is_over(
    make: Make, sample: Sample
) -> None:
    desk = make((401, sample("token.401")), OK)
    desk.script.takes = LATEST + 1.0
    error = await write_in_time(desk)
    assert (error.meaning, error.sends, desk.sends) == (Meaning.THROTTLED, 1, 1)


@pytest.mark.row(1)
async def test_being_throttled_slows_the_gate_down_and_is_told(make: Make, sample: Sample) -> None:
    desk = make((429, sample("throttled.429")), OK)
    await desk.caller.call(READ)
    begun = desk.now()
    for _ in range(5):
        await desk.caller.call(READ)
    assert desk.now() - begun > 5 * 1.0
    assert "keeping to 60/min by policy user" in desk.told[0].text


@pytest.mark.row(1)
async def test_throttling_alone_never_uses_up_the_attempts(make: Make) -> None:
    desk = make(*[(429, b"{}")] * 20, OK)
    assert (await desk.caller.call(READ)).sends == 21


@pytest.mark.row(17)
async def test_an_expired_token_is_renewed_once_and_the_call_replayed_once(
    make: Make, sample: Sample
) -> None:
    desk = make((401, sample("token.401")), OK)
    assert await desk.write() == 2
    assert [headers["x-auth-token"] for headers in desk.script.headers] == ["t1", "t2"]


@pytest.mark.parametrize("request_", [READ, WRITE], ids=lambda request: request.kind)
async def test_a_call_that_is_replayed_keeps_its_rank(make: Make, sample: Sample, request_: Request) -> None:
    desk = make(OK, (401, sample("token.401")), OK)
    await desk.caller.call(READ)
    desk.script.takes = 0.05
    served: list[Rank] = []

    async def call(rank: Rank) -> None:
        if request_ is WRITE:
            await desk.caller.call(WRITE, await desk.caller.turn(rank))
        else:
            await desk.caller.call(READ, rank=rank)
        served.append(rank)

    async with anyio.create_task_group() as group:
        group.start_soon(call, Rank.AWAY)
        await anyio.sleep(0.01)
        for _ in range(1000):
            group.start_soon(call, Rank.NEW)
    assert served.index(Rank.AWAY) < 100 * (LEAD + 1.0)


@pytest.mark.row(18)
async def test_a_fresh_token_that_is_refused_too_ends_it_for_all(make: Make, sample: Sample) -> None:
    desk = make((401, sample("token.401")))
    assert (await desk.fail(READ)).meaning is Meaning.UNAUTHENTICATED
    assert desk.sends == 2
    assert (await desk.fail(WRITE)).meaning is Meaning.UNAUTHENTICATED
    assert desk.sends == 2


async def test_an_expired_token_that_nobody_can_renew_ends_it_for_all(make: Make, sample: Sample) -> None:
    desk = make((401, sample("token.401")), auth=Tokens(renewable=False))
    error = await desk.fail(READ)
    assert error.meaning is Meaning.UNAUTHENTICATED
    assert "fetch a new one" in error.text
    assert desk.sends == 1


async def test_a_renewal_that_fails_is_the_calls_error(make: Make, sample: Sample) -> None:
    tokens = Tokens()
    tokens.failure = CallError(Meaning.SERVER, "IAM is down")
    desk = make((401, sample("token.401")), OK, auth=tokens)
    assert (await desk.fail(READ)).text == "IAM is down"


async def test_fifty_workers_send_one_wrong_signature(make: Make, sample: Sample) -> None:
    desk = make((401, sample("signature.401")))
    errors: list[CallError] = []

    async def worker() -> None:
        try:
            await desk.caller.call(READ)
        except CallError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(worker)
    assert desk.sends == 1
    assert {(error.meaning, error.code) for error in errors} == {(Meaning.UNAUTHENTICATED, "APIGW.0301")}
    assert len(errors) == 50
    with pytest.raises(CallError):
        await desk.caller.turn()


async def test_a_refusal_stops_requests_that_are_already_waiting_for_their_slot(
    make: Make, sample: Sample
) -> None:
    desk = make(OK, (401, sample("signature.401")))
    await desk.caller.call(READ)
    results: Counter[str] = Counter()

    async def worker() -> None:
        try:
            await desk.caller.call(READ)
        except CallError as error:
            results[error.meaning] += 1

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(worker)
    assert results == {Meaning.UNAUTHENTICATED: 50}
    assert desk.sends < 10


async def test_a_cancelled_call_leaves_its_seat(make: Make) -> None:
    desk = make(OK)
    desk.script.takes = 100.0
    for _ in range(40):
        with anyio.move_on_after(1.0):
            await desk.caller.call(READ)
    desk.script.takes = 0.0
    with anyio.fail_after(10.0):
        await desk.caller.call(READ)


class Fickle(Script):
    """A transport that gets its leave as often as told before it ends the call."""

    def __init__(self, leaves: int, ending: Ending | None) -> None:
        super().__init__([OK])
        self.leaves = leaves
        self.ending = ending

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        for _ in range(self.leaves):
            assert departure.go()
        if self.ending is None:
            await anyio.sleep_forever()
            raise AssertionError
        if isinstance(self.ending, CallError):
            raise self.ending
        return Response(self.ending[0], {}, self.ending[1], "h")


@pytest.mark.parametrize(
    ("leaves", "ending", "sends"),
    [
        (0, CallError(Meaning.UNREACHABLE, ""), 0),
        (0, CallError(Meaning.LOST, ""), 0),
        (1, CallError(Meaning.LOST, ""), 1),
        (1, (400, b"{}"), 1),
    ],
)
async def test_only_what_left_is_counted(make: Make, leaves: int, ending: Ending, sends: int) -> None:
    desk = make(OK)
    desk.use(Fickle(leaves, ending))
    assert (await desk.fail(WRITE)).sends == sends
    assert desk.calls.total() == sends


async def test_a_call_that_is_cancelled_after_it_left_is_counted(make: Make) -> None:
    desk = make(OK)
    desk.use(Fickle(1, None))
    with anyio.move_on_after(1.0):
        await desk.write()
    assert desk.calls == {"put": 1}


async def test_a_turn_that_is_refused_tells_of_no_request(make: Make, sample: Sample) -> None:
    desk = make((401, sample("signature.401")))
    await desk.fail(READ)
    with pytest.raises(CallError) as caught:
        await desk.caller.turn()
    assert caught.value.sends == 0


async def test_a_renewal_that_fails_tells_of_the_requests_of_the_call_itself(
    make: Make, sample: Sample
) -> None:
    tokens = Tokens()
    tokens.failure = CallError(Meaning.SERVER, "IAM is down", sends=7)
    desk = make((401, sample("token.401")), OK, auth=tokens)
    assert (await desk.fail(READ)).sends == 1


class Suspended(Script):
    """A machine that stands still so many seconds between signing and sending, once for each."""

    def __init__(self, desk: Desk, stills: list[float], *endings: Ending) -> None:
        super().__init__(list(endings))
        self.desk = desk
        self.stills = stills

    async def send(
        self, request: Request, headers: Mapping[str, str], *, within: float, departure: Departure
    ) -> Response:
        self.desk.ahead += self.stills.pop(0) if self.stills else 0.0
        return await super().send(request, headers, within=within, departure=departure)


EXPIRED: Ending = (
    401,
    b'{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: signature expired"}',
)


@pytest.mark.parametrize("still", [3600.0, -3600.0])
async def test_a_signature_that_grew_old_while_the_machine_stood_still_is_made_anew(
    make: Make, still: float
) -> None:
    desk = make(OK)
    desk.use(Suspended(desk, [still], EXPIRED, OK))
    assert (await desk.caller.call(READ)).sends == 2
    assert (await desk.caller.call(READ)).sends == 1


async def test_a_write_whose_signature_grew_old_is_given_back_for_a_fresh_look(make: Make) -> None:
    desk = make(OK)
    desk.use(Suspended(desk, [3600.0], EXPIRED, OK))
    error = await desk.fail(WRITE)
    assert (error.meaning, error.in_doubt, error.sends) == (Meaning.SIGNATURE_EXPIRED, False, 1)
    assert error.meaning in TRANSIENT
    assert await desk.write() == 1


@pytest.mark.parametrize(("still", "sends"), [(0.0, 1), (60.0, 1), (3600.0, 2)])
async def test_a_fresh_signature_that_is_refused_as_expired_ends_it_for_all(
    make: Make, still: float, sends: int
) -> None:
    desk = make(OK)
    desk.use(Suspended(desk, [still], EXPIRED))
    error = await desk.fail(READ)
    assert error.meaning is Meaning.UNAUTHENTICATED
    assert "set this machine's clock" in error.text
    assert error.sends == sends
    assert (await desk.fail(READ)).sends == 0


async def test_a_host_that_answers_nothing_for_a_while_is_told_once_and_so_is_its_return(make: Make) -> None:
    gone = CallError(Meaning.UNREACHABLE, "cannot connect to h")
    desk = make(OK, *[gone] * 6, OK)
    await desk.caller.call(READ)
    began = desk.now()
    await desk.caller.call(READ)
    away, back = desk.reached
    assert (away.host, away.text) == ("h", "cannot connect to h")
    assert away.since == pytest.approx(began, abs=0.1)
    assert away.at - away.since >= PATIENT
    assert (back.text, back.at) == ("", desk.now())


@pytest.mark.parametrize("between", [OK, (500, b"{}")])
async def test_lost_answers_among_others_are_no_news(make: Make, between: Ending) -> None:
    lost = CallError(Meaning.LOST, "lost")
    desk = make(OK, *[lost, lost, between, lost, lost, OK] * 4, OK)
    while len(desk.script.endings) > 1:
        await desk.caller.call(READ)
    assert desk.now() > PATIENT
    assert desk.reached == []


async def test_nothing_leaves_before_the_credential_is_ready(make: Make) -> None:
    class Late(Tokens):
        @property
        def is_ready(self) -> bool:
            return self.number > 0

        async def ready(self) -> None:
            await anyio.sleep(5.0)
            self.number = 7

        def __init__(self) -> None:
            super().__init__()
            self.number = 0

    desk = make(OK, auth=Late())
    await desk.caller.call(READ)
    assert desk.script.headers == [{"x-auth-token": "t7"}]


async def test_until_a_credential_is_proven_one_call_is_under_way(make: Make) -> None:
    desk = make(OK)
    desk.script.takes = 10.0
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(desk.caller.call, READ)
        await anyio.sleep(5.0)
        assert desk.sends == 1
        await anyio.sleep(6.0)
        assert desk.sends == 5


async def test_how_long_nothing_may_leave_is_told_by_class(make: Make) -> None:
    desk = make(OK)
    for _ in range(5):
        await desk.caller.call(READ)
    assert desk.caller.shut == {}
    desk.caller.set_rate(Rate(2, 60.0))
    assert {key: shut.why for key, shut in desk.caller.shut.items()} == {Kind.READ: "2/min is used up"}
