"""How a call proves who it comes from: a signature, a password exchanged for a token, or a token."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import anyio

from fleet.client import operations
from fleet.client.canary import fresh_copy
from fleet.client.clock import Clock
from fleet.client.signing import Signer
from fleet.client.wire import Answer, Request
from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.pacing.retry import Patience
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, TokenGiven

TOKEN_HEADER = "x-auth-token"
REFRESH_AT = 0.8  # of a token's life
REFRESH_PAUSE = 30.0  # s between two tries to refresh a token that is still valid
SHORTEST_LIFE = 60.0  # s, when a login tells no life or a senseless one
LONGEST_LIFE = 86400.0  # s (IAM: a token lives 24 hours)

ONCE = Patience(attempts=1, longest=0.0)

_HEADER_VALUE = re.compile(r"[\x21-\x7e]{1,32768}")


class Login(Protocol):
    """Sends a login, itself without credentials."""

    async def __call__(self, request: Request, *, patience: Patience) -> Answer: ...


class Auth(ABC):
    """A strategy. A call first waits until it is `ready`, later takes the `headers` without waiting."""

    renewable = False  # whether `renew` can help after a token expired before its time

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing to wait for in `ready`."""
        return True

    async def ready(self) -> None:  # noqa: B027 - most have nothing to fetch
        """Fetches what is needed. Raises CallError when that fails."""

    @abstractmethod
    def headers(self, request: Request, now: float) -> dict[str, str]:
        """The headers, in lower case, that authenticate `request` at wall time `now` (s)."""

    async def renew(self, refused: Mapping[str, str]) -> None:  # noqa: B027 - only for renewable ones
        """Gets something better than the headers `refused`. Raises CallError when that fails."""


class Nobody(Auth):
    """For the login itself."""

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return {}


class AkSk(Auth):
    """Signs every request (access key and secret key, permanent or temporary)."""

    def __init__(self, keys: AkSkKeys, host: str, project_id: str = "") -> None:
        self._signer = Signer(keys, host, project_id)

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return self._signer.headers(request, now)


class Token(Auth):
    """Uses a token that somebody else fetched."""

    def __init__(self, given: TokenGiven) -> None:
        self._headers = {TOKEN_HEADER: given.token}

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return self._headers


class Bearer(Auth):
    """A token for somebody else than the cloud, such as a Prometheus server."""

    def __init__(self, token: str) -> None:
        self._headers = {"authorization": f"Bearer {token}"}

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return self._headers


@dataclass(frozen=True, slots=True)
class _Issued:
    """A token of ours; instants are monotonic seconds."""

    text: str = field(repr=False)
    stale_at: float
    ends_at: float


_NO_TOKEN = _Issued("", -1.0, -1.0)


class Password(Auth):
    """Logs in as an IAM user for a project-scoped token, and again before it ends: once for all who wait."""

    renewable = True

    def __init__(self, credential: PasswordLogin, project_id: str, login: Login, clock: Clock) -> None:
        self._request = operations.login(credential, project_id)
        self._login = login
        self._clock = clock
        self._alone = anyio.Lock(fast_acquire=True)
        self._token = _NO_TOKEN
        self._next_refresh = -1.0
        self._failed_at = -1.0
        self._failure: CallError | None = None

    @property
    def is_ready(self) -> bool:
        return self._clock.monotonic() < self._token.stale_at

    async def ready(self) -> None:
        now = self._clock.monotonic()
        if now < self._token.stale_at:
            return
        if now < self._token.ends_at:
            await self._refresh(now)
        else:
            await self._replace(self._token)

    def headers(self, request: Request, now: float) -> dict[str, str]:
        return {TOKEN_HEADER: self._token.text}

    async def renew(self, refused: Mapping[str, str]) -> None:
        if refused.get(TOKEN_HEADER) == self._token.text:
            await self._replace(self._token)

    async def _replace(self, old: _Issued) -> None:
        """Waits for a token other than `old`. A login that fails fails for all who were waiting for it."""
        since = self._clock.monotonic()
        async with self._alone:
            if self._token is not old:
                return
            if self._failure is not None and self._failed_at >= since:
                raise fresh_copy(self._failure)
            try:
                self._token = await self._issue(Patience())
            except CallError as error:
                self._failure, self._failed_at = error, self._clock.monotonic()
                raise

    async def _refresh(self, now: float) -> None:
        """Tries once to get a fresh token while the present one still serves; failing is no harm yet."""
        if now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_PAUSE
        try:
            self._token = await self._issue(ONCE)
        except CallError as error:
            if error.meaning is Meaning.UNAUTHENTICATED:
                raise

    async def _issue(self, patience: Patience) -> _Issued:
        asked = self._clock.monotonic()
        return _issued(await self._login(self._request, patience=patience), asked)


def _issued(answer: Answer, asked: float) -> _Issued:
    """The token in the answer to a login that was sent at `asked`."""
    text = answer.headers.get("x-subject-token", "")
    if not _HEADER_VALUE.fullmatch(text):
        raise CallError(Meaning.ODD, "the login succeeded but brought no usable token", status=answer.status)
    life = _life(answer.payload.get("token"))
    return _Issued(text, asked + life * REFRESH_AT, asked + life)


def _life(token: object) -> float:
    """Seconds from issue to expiry, both by the server's clock."""
    if not isinstance(token, dict):
        return SHORTEST_LIFE
    try:
        issued, expires = (datetime.fromisoformat(token[key]) for key in ("issued_at", "expires_at"))
        life = (expires - issued).total_seconds()
    except (KeyError, TypeError, ValueError):
        return SHORTEST_LIFE
    return min(max(life, SHORTEST_LIFE), LONGEST_LIFE)


def check_credential(where: str, credential: Credential) -> None:
    """Raises UsageError when a credential cannot be used; no secret is shown."""
    for name, value in _header_values(credential).items():
        if not _HEADER_VALUE.fullmatch(value):
            raise UsageError(f"{where}: {name} is empty or holds characters that no credential has")


def _header_values(credential: Credential) -> dict[str, str]:
    """What of the credential is sent in a header, or signs one."""
    match credential:
        case AkSkKeys():
            values = {"access_key": credential.access_key, "secret_key": credential.secret_key}
            return values | ({"security_token": token} if (token := credential.security_token) else {})
        case TokenGiven():
            return {"token": credential.token}
        case PasswordLogin():
            return {}
