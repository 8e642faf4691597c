"""Who is calling: AK/SK signatures, temporary keys and tokens, checked as gateway and IAM do.

``iam`` hands out tokens and temporary keys; this module keeps and checks them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fleet.simulator.messages import Request, User
from fleet.simulator.refusals import Refusal, bad_signature
from fleet.simulator.rules import Rules
from fleet.simulator.signatures import (
    ALGORITHM,
    Claim,
    canonical_request,
    is_signed_by,
    parse_authorization,
)

CLOCK_SKEW_SECONDS = 15 * 60
MOST_FAILURES = 5
LOCK_SECONDS = 5 * 60


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The account of this cloud and the user that its clients act as."""

    access_key: str
    secret_key: str = field(repr=False)
    user: str
    user_id: str
    password: str = field(repr=False)
    domain: str
    domain_id: str
    region: str
    projects: tuple[Project, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """``project`` is empty for a token that is scoped to the account only."""

    project: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class TemporaryKey:
    access_key: str
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)
    expires_at: float


@dataclass(slots=True)
class _Failures:
    """Consecutive failed signatures of one access key."""

    count: int = 0
    locked_until: float = 0.0


class Access:
    """The credentials that are valid now, and the locks on keys that were guessed at."""

    def __init__(self, identity: Identity, rules: Rules, seed: int, token_seconds: float) -> None:
        self.identity = identity
        self.token_seconds = token_seconds
        self.user = User(identity.user_id, identity.user)
        self.key_revoked = False
        self._rules = rules
        self._seed = seed
        self._tokens: dict[str, Token] = {}
        self._keys: dict[str, TemporaryKey] = {}
        self._failures: dict[str, _Failures] = {}
        self._serial = 0

    def issue_token(self, project: str, now: float) -> tuple[str, Token]:
        """A new token; the ones before stay valid."""
        token = Token(project, now + self.token_seconds)
        text = self._secret("token", 12)
        self._tokens[text] = token
        return text, token

    def issue_key(self, seconds: float, now: float) -> TemporaryKey:
        """A temporary access key with its security token."""
        key = TemporaryKey(
            access_key=self._secret("access", 1)[:20].upper(),
            secret_key=self._secret("secret", 1)[:40],
            security_token=self._secret("security", 8),
            expires_at=now + seconds,
        )
        self._keys[key.access_key] = key
        return key

    def expire_tokens(self, now: float) -> None:
        """Make every token expire by now."""
        self._tokens = {
            text: replace(token, expires_at=min(token.expires_at, now))
            for text, token in self._tokens.items()
        }

    def revoke_tokens(self) -> None:
        """Make every token void, as a changed password does."""
        self._tokens.clear()

    def admit(self, request: Request, project: str, now: float) -> User:
        """The caller of a request for a project ("": none); raises the gateway's refusal."""
        if request.headers.get("authorization", "").startswith(ALGORITHM):
            self._check_signature(request, now)
        else:
            token = self.check_token(request.headers.get("x-auth-token"), now)
            if project and token.project != project:
                raise Refusal("ModelArts.0203", "The token does not match the project.", 403)
        if project and all(known.id != project for known in self.identity.projects):
            raise Refusal("APIGW.0310", "The project is unavailable", 403)
        if project and request.headers.get("x-project-id", project) != project:
            raise Refusal("ModelArts.0203", "The project ids do not match.", 403)
        return self.user

    def check_token(self, text: str | None, now: float) -> Token:
        if text is None:
            raise bad_signature("x-auth-token not found")
        token = self._tokens.get(text)
        if token is None:
            raise bad_signature("decrypt token fail")
        if now >= token.expires_at:
            if self._rules.expired_token == "APIGW.0307":
                raise Refusal("APIGW.0307", "The token must be updated.", 401)
            raise bad_signature(f"token expires, expires_at: {iso_time(token.expires_at)}")
        return token

    def _check_signature(self, request: Request, now: float) -> None:
        """Raise for a wrong signature; more than five in a row lock the key for everybody."""
        claim = parse_authorization(request.headers["authorization"])
        if claim is None:
            raise bad_signature("the authorization header is malformed")
        failures = self._failures.setdefault(claim.access_key, _Failures())
        if now < failures.locked_until:
            raise bad_signature("AK access failed to reach the limit,forbidden")
        problem = self._problem(request, claim, now)
        if problem is None:
            failures.count = 0
            return
        failures.count += 1
        if failures.count > MOST_FAILURES:
            failures.count, failures.locked_until = 0, now + LOCK_SECONDS
        raise bad_signature(problem)

    def _problem(self, request: Request, claim: Claim, now: float) -> str | None:
        secret_key = self._secret_key(request, claim.access_key, now)
        if secret_key is None:
            return "Get secretKey failed"
        date = request.headers.get("x-sdk-date", "")
        sent_at = _parse_date(date)
        if sent_at is None or "x-sdk-date" not in claim.signed_headers:
            return "verify aksk signature fail, x-sdk-date is missing or malformed"
        if abs(now - sent_at) > CLOCK_SKEW_SECONDS:
            return "calc ak sk signature fail:signature expired"
        try:
            canonical = canonical_request(request, claim.signed_headers)
        except KeyError as missing:
            return f"verify aksk signature fail, signed header {missing} not found"
        if not is_signed_by(secret_key, claim, canonical, date):
            shown = canonical.replace("\n", "|")
            return f"verify aksk signature fail, forbidden,canonicalRequest:{shown}"
        return None

    def _secret_key(self, request: Request, access_key: str, now: float) -> str | None:
        """The secret key, if the key is known and what comes with it is right."""
        if access_key == self.identity.access_key:
            return None if self.key_revoked else self.identity.secret_key
        key = self._keys.get(access_key)
        if key is None or now >= key.expires_at:
            return None
        sent = request.headers.get("x-security-token")
        return key.secret_key if sent == key.security_token else None

    def _secret(self, kind: str, blocks: int) -> str:
        """Reproducible text that nobody can guess from outside; 86 characters a block."""
        self._serial += 1
        seeds = (f"{self._seed}/{kind}/{self._serial}/{block}" for block in range(blocks))
        digests = (hashlib.sha512(seed.encode()).digest() for seed in seeds)
        return "".join(base64.b64encode(d, b"-_").decode().rstrip("=") for d in digests)


def iso_time(at: float) -> str:
    """IAM's time format, UTC with microseconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_date(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
