"""Builds one `ModelArts` a scope, and what scopes have in common: sessions, gates, credentials."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from yarl import URL

from fleet.client.api import ModelArts
from fleet.client.auth import AkSk, Auth, Bearer, Nobody, Password, Token, check_credential
from fleet.client.caller import Caller
from fleet.client.canary import Canary
from fleet.client.clock import Clock
from fleet.client.gate import IN_FLIGHT, Gate, OnSlowed
from fleet.client.memory import LimitFile
from fleet.client.metrics import PromQL, SampleFile, Source
from fleet.client.operations import Operations
from fleet.client.reach import OnReach, Reach
from fleet.client.transport import Site, Transport, open_transports
from fleet.client.wire import CONTENT_TYPE, Kind
from fleet.core.errors import UsageError
from fleet.core.events import Counted
from fleet.core.metrics import AomMetrics, FileMetrics, PrometheusMetrics
from fleet.core.pacing.limits import Limit, Rate
from fleet.core.pacing.pace import Pace
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, Proxy, ScopeSpec, TokenGiven, Way

OnCounted = Callable[[Counted], None]

LOGIN_RATE = Rate(30, 60.0)
USER_AGENT = "notebook-fleet"


@asynccontextmanager
async def connect(
    specs: Sequence[ScopeSpec],
    *,
    on_slowed: OnSlowed = lambda _: None,
    on_counted: OnCounted = lambda _: None,
    on_reach: OnReach = lambda _: None,
    memory: LimitFile | None = None,
    user_agent: str = USER_AGENT,
    in_flight: int = IN_FLIGHT,
    monotonic: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
    transport: Callable[[Site], Transport] | None = None,
) -> AsyncIterator[dict[str, ModelArts]]:
    """The scopes by name, connected lazily; nothing is sent before the first call.

    `on_counted` is told in the end what left under each limit, `on_reach` when a host answers nothing any
    more and when it does again. `memory` remembers limits across runs.
    `in_flight` bounds the requests under way of one throttle key and class. `transport` makes another way to
    a site than the scope names. Raises UsageError for a scope that cannot be used.
    """
    for spec in specs:
        _check(spec)
    async with AsyncExitStack() as stack:
        ways: _Ways = {}
        for way, ca_file, proxy in dict.fromkeys(way for spec in specs for way in _ways(spec)):
            if transport is None:
                opened = open_transports(way, ca_file=ca_file, trust_env=proxy is Proxy.ENVIRONMENT)
                ways[way, ca_file, proxy] = await stack.enter_async_context(opened)
            else:
                ways[way, ca_file, proxy] = transport
        fixed = _Fixed(Clock(monotonic, wall), jitter, on_slowed, on_reach, memory, user_agent, in_flight)
        builder = _Builder(ways, fixed, lowest_rates(specs), memory.recall() if memory else {})
        try:
            yield {spec.name: builder.scope(spec) for spec in specs}
        finally:
            for counted in builder.counts():
                on_counted(counted)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What is the same for all scopes."""

    clock: Clock
    jitter: Callable[[], float]
    on_slowed: OnSlowed
    on_reach: OnReach
    memory: LimitFile | None
    user_agent: str
    in_flight: int


_HowTo = tuple[Way, str | None, Proxy]
_Ways = dict[_HowTo, Callable[[Site], Transport]]


def _way(spec: ScopeSpec) -> _HowTo:
    """What scopes have in common that can share connections."""
    return spec.transport, spec.ca_file, spec.proxy


def _way_to_metrics(spec: ScopeSpec) -> _HowTo:
    """A Prometheus server is trusted by an authority of its own."""
    if isinstance(spec.metrics, PrometheusMetrics):
        return spec.transport, spec.metrics.ca_file, spec.proxy
    return _way(spec)


def _source_for_metrics(spec: ScopeSpec) -> str:
    """Where that is found with which we come to the source of metrics."""
    server = spec.metrics
    return server.token_source if isinstance(server, PrometheusMetrics) else spec.credential_source


def _ways(spec: ScopeSpec) -> tuple[_HowTo, ...]:
    return _way(spec), _way_to_metrics(spec)


def lowest_rates(specs: Iterable[ScopeSpec]) -> dict[str, Rate]:
    """The rate of every throttle key: the lowest that any of its scopes asks for; none where none asks."""
    rates: dict[str, Rate] = {}
    for spec in specs:
        if spec.rate is not None:
            known = rates.setdefault(spec.throttle, spec.rate)
            rates[spec.throttle] = min(known, spec.rate, key=lambda rate: rate.per_second)
    return rates


class _Builder:
    """Builds scopes, and each shared part once."""

    def __init__(
        self,
        ways: _Ways,
        fixed: _Fixed,
        rates: Mapping[str, Rate],
        taught: Mapping[str, tuple[Limit, ...]],
    ) -> None:
        self._ways = ways
        self._fixed = fixed
        self._rates = rates
        self._taught = taught
        self._gates: dict[str, Gate] = {}
        self._canaries: dict[tuple[Credential | str, str], Canary] = {}
        self._reaches: dict[str, Reach] = {}

    def counts(self) -> list[Counted]:
        """What left at most in any window of every limit, at all gates."""
        return [counted for gate in self._gates.values() for counted in gate.counts()]

    def scope(self, spec: ScopeSpec) -> ModelArts:
        """The API of one scope."""
        headers = {
            "content-type": CONTENT_TYPE,
            "accept": CONTENT_TYPE,
            "accept-encoding": "identity",
            "user-agent": self._fixed.user_agent,
            "x-language": "en-us",
        }
        api = Site(
            spec.endpoint,
            f"check region and endpoint of scope {spec.name}",
            Operations(spec.project_id).prefix,
            headers,
        )
        iam = Site(spec.iam_endpoint, f"check region and iam_endpoint of scope {spec.name}", "/v3/", headers)
        calls: Counter[str] = Counter()
        login = self._caller(spec, iam, Nobody(), calls)
        api_auth, iam_auth = self._auths(spec, api, iam, login)
        return ModelArts(
            spec,
            self._caller(spec, api, api_auth, calls),
            self._caller(spec, iam, iam_auth, calls),
            calls,
            self._metrics(spec, headers, api_auth, calls),
        )

    def _metrics(
        self, spec: ScopeSpec, headers: Mapping[str, str], api_auth: Auth, calls: Counter[str]
    ) -> Source | None:
        """Where the scope's usage is measured. A key signs for AOM's host; a token serves there as it is."""
        match spec.metrics:
            case AomMetrics() as aom:
                prefix = Operations(spec.project_id).prefix
                site = Site(aom.endpoint, f"check the metrics endpoint of scope {spec.name}", prefix, headers)
                keys = spec.credential
                auth = AkSk(keys, site.host, spec.project_id) if isinstance(keys, AkSkKeys) else api_auth
                instance = f"{aom.instance}/" if aom.instance else ""
                caller = self._reader(spec, site, auth, calls, spec.credential.identity, aom.rate)
                return PromQL(
                    caller, f"{prefix}{instance}aom/api/v1/query_range", aom.queries, f"AOM at {site.host}"
                )
            case PrometheusMetrics() as server:
                prefix = f"{server.path}/api/v1/"
                site = Site(server.origin, f"check the metrics url of scope {spec.name}", prefix, headers)
                bearer = Bearer(server.token) if server.token else Nobody()
                caller = self._reader(spec, site, bearer, calls, "whoever asks", server.rate)
                return PromQL(caller, f"{prefix}query_range", server.queries, f"Prometheus at {site.host}")
            case FileMetrics() as file:
                return SampleFile(file)
            case None:
                return None

    def _reader(
        self, spec: ScopeSpec, site: Site, auth: Auth, calls: Counter[str], identity: str, rate: Rate | None
    ) -> Caller:
        """A caller that only reads, at a gate of its own."""
        return Caller(
            transport=self._ways[_way_to_metrics(spec)](site),
            auth=auth,
            canary=self._canaries.setdefault((identity, site.host), Canary()),
            gates={Kind.READ: self._gate(f"{site.host} as {identity}", Kind.READ, rate)},
            clock=self._fixed.clock,
            jitter=self._fixed.jitter,
            calls=calls,
            reach=self._reach(site.host),
            lane=spec.name,
            source=_source_for_metrics(spec),
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
        rate = self._rates.get(spec.throttle)
        login_key = f"{site.host} as {spec.credential.identity}"
        return Caller(
            transport=self._ways[_way(spec)](site),
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
            calls=calls,
            reach=self._reach(site.host),
            lane=spec.name,
            source=spec.credential_source,
        )

    def _reach(self, host: str) -> Reach:
        if host not in self._reaches:
            self._reaches[host] = Reach(host, self._fixed.clock, self._fixed.on_reach)
        return self._reaches[host]

    def _gate(self, key: str, kind: Kind, rate: Rate | None) -> Gate:
        name = f"{key}, {kind.value}"
        if name not in self._gates:
            fixed = self._fixed
            self._gates[name] = Gate(
                name,
                Pace(rate, self._taught.get(name, ())),
                fixed.clock,
                on_slowed=fixed.on_slowed,
                on_learned=fixed.memory.keep if fixed.memory else _forget,
                in_flight=fixed.in_flight,
            )
        return self._gates[name]


def _forget(_key: str, _limit: Limit) -> None:
    """Without a memory a limit is known for as long as the connection lasts."""


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
