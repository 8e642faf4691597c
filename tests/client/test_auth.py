"""Credentials: one login for all who wait, early refresh, and no secret anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from fleet.client.auth import AkSk, Password, Token, check_credential
from fleet.client.wire import Answer, Kind, Request
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.pacing.retry import Patience
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, TokenGiven

if TYPE_CHECKING:
    from tests.client.conftest import HandClock

PROJECT = "0" * 32
CALL = Request("get", Kind.READ, "GET", "/v1/x")
LOGIN = PasswordLogin("ana", "lab", "canary-password")
DAY = ("2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z")


class Iam:
    """Answers logins with numbered tokens, or fails as told."""

    def __init__(self) -> None:
        self.logins: list[Patience] = []
        self.life: Any = {"issued_at": DAY[0], "expires_at": DAY[1]}
        self.token: Callable[[int], str] = "canary-token-{}".format
        self.failure: CallError | None = None

    async def __call__(self, request: Request, *, patience: Patience) -> Answer:
        self.logins.append(patience)
        await anyio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        return Answer({"token": self.life}, 201, "r", {"x-subject-token": self.token(len(self.logins))})


@pytest.fixture
def iam() -> Iam:
    return Iam()


@pytest.fixture
def password(iam: Iam, hand: HandClock) -> Password:
    return Password(LOGIN, PROJECT, iam, hand.clock)


def token_of(password: Password) -> str:
    return password.headers(CALL, 0.0)["x-auth-token"]


async def crowd(password: Password, size: int = 200) -> list[BaseException]:
    errors: list[BaseException] = []

    async def one() -> None:
        try:
            await password.ready()
        except CallError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(size):
            group.start_soon(one)
    return errors


@pytest.mark.row(17)
async def test_two_hundred_waiters_log_in_once(password: Password, iam: Iam) -> None:
    assert await crowd(password) == []
    assert len(iam.logins) == 1
    assert token_of(password) == "canary-token-1"


@pytest.mark.row(17)
async def test_a_token_is_kept_for_four_fifths_of_its_life(
    password: Password, iam: Iam, hand: HandClock
) -> None:
    assert not password.is_ready
    await password.ready()
    hand.at = 0.79 * 86400
    assert password.is_ready
    await password.ready()
    assert len(iam.logins) == 1
    hand.at = 0.81 * 86400
    assert not password.is_ready
    await crowd(password)
    assert len(iam.logins) == 2
    assert token_of(password) == "canary-token-2"


@pytest.mark.row(20)
async def test_while_a_token_is_valid_a_failed_refresh_is_no_harm_and_not_repeated_at_once(
    password: Password, iam: Iam, hand: HandClock
) -> None:
    await password.ready()
    iam.failure = CallError(Meaning.SERVER, "down")
    hand.at = 0.9 * 86400
    assert await crowd(password) == []
    assert len(iam.logins) == 2
    assert iam.logins[1].attempts == 1
    hand.at += 31
    assert await crowd(password) == []
    assert len(iam.logins) == 3
    assert token_of(password) == "canary-token-1"


async def test_a_refused_refresh_is_raised(password: Password, iam: Iam, hand: HandClock) -> None:
    await password.ready()
    iam.failure = CallError(Meaning.UNAUTHENTICATED, "password changed")
    hand.at = 0.9 * 86400
    with pytest.raises(CallError, match="password changed"):
        await password.ready()


@pytest.mark.row(20)
async def test_a_login_that_fails_fails_for_all_who_waited_and_is_tried_again_later(
    password: Password, iam: Iam, hand: HandClock
) -> None:
    iam.failure = CallError(Meaning.SERVER, "down")
    errors = await crowd(password)
    assert (len(errors), len(iam.logins)) == (200, 1)
    iam.failure = None
    hand.at += 1
    assert await crowd(password) == []
    assert len(iam.logins) == 2


@pytest.mark.row(17)
async def test_two_hundred_refused_calls_log_in_once(password: Password, iam: Iam) -> None:
    await password.ready()
    refused = password.headers(CALL, 0.0)
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(password.renew, refused)
    assert len(iam.logins) == 2
    assert token_of(password) == "canary-token-2"


async def test_a_refusal_of_a_token_that_is_replaced_already_needs_no_login(
    password: Password, iam: Iam
) -> None:
    await password.ready()
    await password.renew({"x-auth-token": "canary-token-0"})
    assert len(iam.logins) == 1


@pytest.mark.parametrize(
    ("life", "refreshed_after"),
    [
        ({"issued_at": DAY[0], "expires_at": "2026-01-01T01:00:00Z"}, 0.8 * 3600),
        ({"issued_at": DAY[1], "expires_at": DAY[0]}, 0.8 * 60),
        ({"issued_at": DAY[0], "expires_at": "2099-01-01T00:00:00Z"}, 0.8 * 86400),
        ({"issued_at": 1, "expires_at": 2}, 0.8 * 60),
        ({"issued_at": DAY[0], "expires_at": "2026-01-02T00:00:00"}, 0.8 * 60),
        ({}, 0.8 * 60),
        (None, 0.8 * 60),
    ],
)
async def test_a_tokens_life_is_what_the_server_says_within_reason(
    password: Password, iam: Iam, hand: HandClock, life: Any, refreshed_after: float
) -> None:
    iam.life = life
    await password.ready()
    hand.at = refreshed_after - 1
    await password.ready()
    assert len(iam.logins) == 1
    hand.at = refreshed_after + 1
    await password.ready()
    assert len(iam.logins) == 2


@pytest.mark.parametrize("text", ["", "a b", "a\r\nX-Evil: 1", "ü", "x" * 40_000])
async def test_a_token_that_no_header_can_carry_is_odd(password: Password, iam: Iam, text: str) -> None:
    iam.token = lambda _: text
    with pytest.raises(CallError, match="no usable token") as caught:
        await password.ready()
    assert caught.value.meaning is Meaning.ODD


@pytest.mark.security("secrets")
@pytest.mark.parametrize(
    "credential",
    [
        AkSkKeys("", "s"),
        AkSkKeys("a", ""),
        AkSkKeys("a", "canary\n"),
        AkSkKeys("a", "s", "canary\r\nX: 1"),
        AkSkKeys("a b", "canary"),
        TokenGiven(""),
        TokenGiven("canary\x00"),
    ],
)
def test_a_credential_that_cannot_be_sent_is_refused_without_showing_it(credential: Credential) -> None:
    with pytest.raises(UsageError, match="scope lab-a: ") as caught:
        check_credential("scope lab-a", credential)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("credential", [AkSkKeys("a", "s"), AkSkKeys("a", "s", "t"), TokenGiven("t"), LOGIN])
def test_a_usable_credential_passes(credential: Credential) -> None:
    check_credential("scope lab-a", credential)


@pytest.mark.row(20)
@pytest.mark.security("secrets")
async def test_no_secret_is_shown(password: Password) -> None:
    await password.ready()
    given = TokenGiven("canary-token")
    shown = [
        LOGIN,
        given,
        given.identity,
        password,
        vars(password),
        Token(given),
        AkSk(AkSkKeys("a", "canary"), "h"),
    ]
    assert "canary" not in f"{shown!r}"


async def test_strategies_without_login_are_always_ready_and_cannot_renew() -> None:
    for auth in (AkSk(AkSkKeys("a", "s"), "h"), Token(TokenGiven("t"))):
        await auth.ready()
        await auth.renew({})
        assert not auth.renewable
    assert Token(TokenGiven("t")).headers(CALL, 0.0) == {"x-auth-token": "t"}
