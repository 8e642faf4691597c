"""The AK/SK signature SDK-HMAC-SHA256 as the gateway checks it ("API request signing guide").

Values in, texts out; ``access`` decides what a wrong one means.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote

from fleet.simulator.messages import Request

ALGORITHM = "SDK-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_AUTHORIZATION = re.compile(
    ALGORITHM + r" Access=(?P<access>[^,\s]+), *SignedHeaders=(?P<headers>[^,\s]+),"
    r" *Signature=(?P<signature>[0-9a-f]{64})\Z"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header claims."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


def parse_authorization(text: str) -> Claim | None:
    """The claim, or None when the header has another form."""
    match = _AUTHORIZATION.match(text)
    if match is None:
        return None
    return Claim(match["access"], tuple(match["headers"].split(";")), match["signature"])


def parse_query(query: str) -> list[tuple[str, str]]:
    """The decoded pairs of a query, in the order sent; a value may be empty."""
    return parse_qsl(query, keep_blank_values=True)


def canonical_request(request: Request, signed_headers: Sequence[str]) -> str:
    """The text whose hash is signed. Raises KeyError for a signed header that was not sent."""
    uri = "/".join(quote(segment, safe="~") for segment in unquote(request.path).split("/"))
    pairs = sorted(parse_query(request.query))
    query = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs)
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in signed_headers)
    return "\n".join(
        (
            request.method,
            uri if uri.endswith("/") else f"{uri}/",
            query,
            headers,
            ";".join(signed_headers),
            _payload_hash(request),
        )
    )


def _payload_hash(request: Request) -> str:
    if request.headers.get("x-sdk-content-sha256") == UNSIGNED_PAYLOAD:
        return UNSIGNED_PAYLOAD
    return hashlib.sha256(request.body).hexdigest()


def sign(canonical: str, date: str, secret_key: str) -> str:
    """The hex signature of a canonical request at an X-Sdk-Date."""
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{date}\n{hashed}"
    return hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def is_signed_by(secret_key: str, claim: Claim, canonical: str, date: str) -> bool:
    return hmac.compare_digest(sign(canonical, date, secret_key), claim.signature)
