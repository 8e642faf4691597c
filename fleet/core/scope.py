"""One (region, project, credentials) that we talk to, as plain values.

Settings produce a `ScopeSpec`, the client connects it; neither imports the other, so the values live here.
Secrets are never part of a repr.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from fleet.core.metrics import Metrics
from fleet.core.pacing.limits import Rate

ASSUMED_RATE = Rate(60, 60.0)  # what is expected of a scope whose rate is yet to be learned


class ListMode(StrEnum):
    """Which notebooks a listing asks for: every user's (/notebooks/all) or the caller's (/notebooks)."""

    ALL = "all"
    OWN = "own"


class Proxy(StrEnum):
    """Which proxies a scope is reached by: none, or those that the environment names."""

    NONE = "none"
    ENVIRONMENT = "environment"


class Way(StrEnum):
    """The transport by which requests travel: the fast one, or the one on aiohttp's public session."""

    WIRE = "wire"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class AkSkKeys:
    """A permanent access key, or a temporary one when it comes with a security token."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    @property
    def identity(self) -> str:
        """What the cloud throttles and locks by."""
        return f"access key {self.access_key}"


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """An IAM user who logs in for a project-scoped token; `domain` is the account's name."""

    user: str
    domain: str
    password: str = field(repr=False)

    @property
    def identity(self) -> str:
        """What the cloud throttles and locks by."""
        return f"user {self.domain}/{self.user}"


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """A project-scoped IAM token that somebody else fetched; nobody can refresh it."""

    token: str = field(repr=False)

    @property
    def identity(self) -> str:
        """What the cloud throttles and locks by; a digest, because the token is a secret."""
        return f"token {hashlib.sha256(self.token.encode()).hexdigest()[:12]}"


Credential = AkSkKeys | PasswordLogin | TokenGiven


@dataclass(frozen=True, slots=True)
class ScopeSpec:
    """One scope as configured. `endpoint` and `iam_endpoint` are origins such as https://host:port.

    `workspaces` names those to list; empty means every workspace of the project, and "0". `rate` is a hard
    ceiling; without one, what is allowed is learned. `poll` is the pause between two shared list polls in
    seconds. `ca_file` is a PEM file with a private authority. `metrics` says where usage is measured,
    `credential_source` in words where the credential was found.
    """

    name: str
    region: str
    project_id: str
    endpoint: str
    iam_endpoint: str
    credential: Credential
    listing: ListMode = ListMode.ALL
    workspaces: tuple[str, ...] = ()
    features: tuple[str, ...] = ("NOTEBOOK",)
    rate: Rate | None = None
    poll: float = 10.0
    ca_file: str | None = None
    proxy: Proxy = Proxy.NONE
    transport: Way = Way.WIRE
    metrics: Metrics | None = None
    credential_source: str = ""

    @property
    def throttle(self) -> str:
        """The throttle key without its class: scopes with the same one share their rate."""
        return f"{urlsplit(self.endpoint).netloc.lower()} as {self.credential.identity}"


@dataclass(frozen=True, slots=True)
class Project:
    """A project of the account, as IAM lists it."""

    id: str
    name: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace of a project; "0" is the one that every project has."""

    id: str
    name: str = ""
