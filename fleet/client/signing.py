"""AK/SK request signing, SDK-HMAC-SHA256 (the gateway's API request signing guide).

As few headers as possible are signed, so that nothing on the way can spoil a signature by rewriting one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from fleet.client.wire import CONTENT_TYPE, Request
from fleet.core.scope import AkSkKeys

ALGORITHM = "SDK-HMAC-SHA256"
_EMPTY_BODY = hashlib.sha256(b"").hexdigest()


@lru_cache(maxsize=4096)
def canonical_path(path: str) -> str:
    """The path as it is signed: each segment percent-encoded, always with a slash at the end."""
    encoded = "/".join(quote(segment, safe="~") for segment in path.split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


@lru_cache(maxsize=4)
def sdk_date(second: int) -> str:
    """Wall time in whole seconds as the header X-Sdk-Date."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


def canonical_request(method: str, path: str, query: str, signed: Mapping[str, str], body: bytes) -> str:
    """What is hashed. `signed` has lower-case names in sorted order; `query` is canonical already."""
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    digest = hashlib.sha256(body).hexdigest() if body else _EMPTY_BODY
    return f"{method}\n{canonical_path(path)}\n{query}\n{lines}\n{';'.join(signed)}\n{digest}"


def sign(secret_key: bytes, date: str, canonical: str) -> str:
    """The signature in hexadecimal digits. There is no derived key."""
    text = f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(secret_key, text.encode(), "sha256").hex()


class Signer:
    """Signs requests to one host. `project_id` is empty for calls that belong to no project."""

    def __init__(self, keys: AkSkKeys, host: str, project_id: str = "") -> None:
        self._secret_key = keys.secret_key.encode()
        self._token = keys.security_token
        self._fixed = {"content-type": CONTENT_TYPE, "host": host}
        if project_id:
            self._fixed["x-project-id"] = project_id
        names = [*self._fixed, "x-sdk-date", *(["x-security-token"] if self._token else [])]
        self._prefix = f"{ALGORITHM} Access={keys.access_key}, SignedHeaders={';'.join(names)}, Signature="

    def headers(self, request: Request, now: float) -> dict[str, str]:
        """Every header that authenticates `request` at wall time `now` (s)."""
        date = sdk_date(int(now))
        signed = {**self._fixed, "x-sdk-date": date}
        if self._token:
            signed["x-security-token"] = self._token
        canonical = canonical_request(request.method, request.path, request.query, signed, request.body)
        signed["authorization"] = self._prefix + sign(self._secret_key, date, canonical)
        return signed
