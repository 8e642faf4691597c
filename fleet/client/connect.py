"""Builds one `ModelArts` a scope, and what scopes have in common: sessions, gates, credentials."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientSession
from yarl import URL

from fleet.client.api import ModelArts
from fleet.client.auth import AkSk, Auth, Nobody, Password, Token, check_credential
from fleet.client.caller import Caller
from fleet.client.canary import Canary
from fleet.client.clock import Clock
from fleet.client.gate import IN_FLIGHT, Gate, OnSlowed
from fleet.client.operations import Operations
from fleet.client.transport import SessionTransport, Site, Transport, open_session
from fleet.client.wire import Kind
from fleet.core.errors import UsageError
from fleet.core.pace import Pace, Rate
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, ScopeSpec, TokenGiven

LOGIN_RATE = Rate(30, 60.0)
USER_AGENT = "notebook-fleet"


@asynccontextmanager
async def connect(
    specs: Sequence[ScopeSpec],
    *,
    on_slowed: OnSlowed = lambda _: None,
    user_agent: str = USER_AGENT,
    trust_env: bool = False,
    in_flight: int = IN_FLIGHT,
    monotonic: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
    transport: Callable[[Site], Transport] | None = None,
) -> AsyncIterator[dict[str, ModelArts]]:
    """The scopes by name, connected lazily; nothing is sent before the first call.

    `in_flight` bounds the requests under way of one throttle key and class. `trust_env` lets proxies of the
    environment in. `transport` makes another way to a site than the session's. Raises UsageError for a scope
    that cannot be used.
    """
    for spec in specs:
        _check(spec)
    async with AsyncExitStack() as stack:
        sessions: dict[str | None, ClientSession] = {}
        for ca_file in dict.fromkeys(spec.ca_file for spec in specs):
            session = open_session(ca_file=ca_file, trust_env=trust_env)
            sessions[ca_file] = await stack.enter_async_context(session)
        fixed = _Fixed(Clock(monotonic, wall), jitter, on_slowed, user_agent, in_flight, transport)
        builder = _Builder(sessions, fixed, lowest_rates(specs))
        yield {spec.name: builder.scope(spec) for spec in specs}


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What is the same for all scopes."""

    clock: Clock
    jitter: Callable[[], float]
    on_slowed: OnSlowed
    user_agent: str
    in_flight: int
    transport: Callable[[Site], Transport] | None


def lowest_rates(specs: Iterable[ScopeSpec]) -> dict[str, Rate]:
    """The rate of every throttle key: the lowest that any of its scopes asks for."""
    rates: dict[str, Rate] = {}
    for spec in specs:
        known = rates.setdefault(spec.throttle, spec.rate)
        if spec.rate.count / spec.rate.window < known.count / known.window:
            rates[spec.throttle] = spec.rate
    return rates


class _Builder:
    """Builds scopes, and each shared part once."""

    def __init__(
        self, sessions: Mapping[str | None, ClientSession], fixed: _Fixed, rates: Mapping[str, Rate]
    ) -> None:
        self._sessions = sessions
        self._fixed = fixed
        self._rates = rates
        self._gates: dict[str, Gate] = {}
        self._canaries: dict[tuple[Credential, str], Canary] = {}

    def scope(self, spec: ScopeSpec) -> ModelArts:
        """The API of one scope."""
        api = Site(
            spec.endpoint,
            f"check region and endpoint of scope {spec.name}",
            Operations(spec.project_id).prefix,
        )
        iam = Site(spec.iam_endpoint, f"check region and iam_endpoint of scope {spec.name}", "/v3/")
        calls: Counter[str] = Counter()
        login = self._caller(spec, iam, Nobody(), calls)
        api_auth, iam_auth = self._auths(spec, api, iam, login)
        return ModelArts(
            spec, self._caller(spec, api, api_auth, calls), self._caller(spec, iam, iam_auth, calls), calls
        )

    def _auths(self, spec: ScopeSpec, api: Site, iam: Site, login: Caller) -> tuple[Auth, Auth]:
        """How calls to ModelArts and to IAM prove who they come from."""
        match spec.credential:
            case AkSkKeys() as keys:
                return AkSk(keys, api.host, spec.project_id), AkSk(keys, iam.host)
            case TokenGiven() as given:
                token = Token(given)
                return token, token
            case PasswordLogin() as person:
                password = Password(person, spec.project_id, login.call, self._fixed.clock)
                return password, password

    def _caller(self, spec: ScopeSpec, site: Site, auth: Auth, calls: Counter[str]) -> Caller:
        logs_in = isinstance(auth, Nobody)
        rate = self._rates[spec.throttle]
        login_key = f"{site.host} as {spec.credential.identity}"
        return Caller(
            host=site.host,
            transport=self._transport(spec, site),
            auth=auth,
            # A login that is refused must not wait for the call that it is made for.
            canary=self._canaries.setdefault((spec.credential, "login" if logs_in else "call"), Canary()),
            gates={
                Kind.READ: self._gate(spec.throttle, Kind.READ, rate),
                Kind.WRITE: self._gate(spec.throttle, Kind.WRITE, rate),
                Kind.LOGIN: self._gate(login_key, Kind.LOGIN, LOGIN_RATE),
            },
            clock=self._fixed.clock,
            jitter=self._fixed.jitter,
            user_agent=self._fixed.user_agent,
            calls=calls,
        )

    def _transport(self, spec: ScopeSpec, site: Site) -> Transport:
        if self._fixed.transport is not None:
            return self._fixed.transport(site)
        return SessionTransport(self._sessions[spec.ca_file], site)

    def _gate(self, key: str, kind: Kind, rate: Rate) -> Gate:
        name = f"{key}, {kind.value}"
        if name not in self._gates:
            fixed = self._fixed
            self._gates[name] = Gate(
                name, Pace(rate), fixed.clock, on_slowed=fixed.on_slowed, in_flight=fixed.in_flight
            )
        return self._gates[name]


def _check(spec: ScopeSpec) -> None:
    """Raises UsageError for a scope that cannot be used."""
    Operations(spec.project_id)
    check_credential(f"scope {spec.name}", spec.credential)
    for name, text in (("endpoint", spec.endpoint), ("iam_endpoint", spec.iam_endpoint)):
        if not _is_origin(text):  # the text is not repeated: it may hold a password
            raise UsageError(f"scope {spec.name}: {name}: is not a bare address such as https://host:port")


def _is_origin(text: str) -> bool:
    try:
        url = URL(text)
        return text.isascii() and url.scheme in ("http", "https") and url in (url.origin(), url.origin() / "")
    except ValueError:
        return False
