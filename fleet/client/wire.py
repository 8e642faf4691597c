"""Requests and answers as plain values, without I/O: what goes out, and what came back meant.

`operations` builds requests, `rows` turns the payload into values of the core, `transport` is the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from pydantic_core import from_json

from fleet.core.errors import CallError, Meaning
from fleet.core.pacing.pace import parse_limit
from fleet.core.pacing.retry import authentication_text, meaning_of
from fleet.core.text import clean

T = TypeVar("T")

CONTENT_TYPE = "application/json"
PAGE_CAP = 8 * 1024 * 1024
ITEM_CAP = 1024 * 1024


class Kind(StrEnum):
    """The throttle class of a request."""

    READ = "reads"
    WRITE = "writes"
    LOGIN = "logins"


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request without credentials.

    `path` and `query` are percent-encoded, the query in canonical order. `operation` is what the call is
    counted as; `cap` bounds the answer's body in bytes. The body may hold a password and is never shown.
    `read` is the short way from the answer's body to its payload; None from it means: take the long one.
    """

    operation: str
    kind: Kind
    method: str
    path: str
    query: str = ""
    body: bytes = b""
    cap: int = ITEM_CAP
    read: Callable[[bytes], Any] | None = None

    @property
    def target(self) -> str:
        """The request target: path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def is_of_one(self) -> bool:
        """Whether it is about one notebook, so that its refusal says nothing about the scope."""
        return self.kind is Kind.WRITE or self.operation == "get"

    def __repr__(self) -> str:
        return f"Request({self.operation!r}, {self.method} {self.target})"


class Response(msgspec.Struct, frozen=True, gc=False):
    """One answer; header names are in lower case. Headers may hold a token and are never shown."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    host: str

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.host!r})"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A call that succeeded: the payload, and how many requests it took, refused ones included.

    The payload is a mapping, unless the request's `read` made something else of it.
    """

    payload: Any
    status: int
    request_id: str
    headers: Mapping[str, str] = {}
    sends: int = 1

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.request_id!r}, sends={self.sends})"


def canonical_query(parameters: Mapping[str, str | int]) -> str:
    """The query string, encoded and sorted as the signing guide asks."""
    pairs = sorted((quote(name, safe="~"), quote(str(value), safe="~")) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def decipher(request: Request, response: Response, now: float, sends: int = 1) -> Answer:
    """The answer to `request`, which took `sends` requests; `now` is wall time in seconds.

    Raises CallError for everything that is no success.
    """
    request_id = clean(response.headers.get("x-request-id", ""), 64)
    if not 200 <= response.status < 300:
        raise _failure(request, response, request_id, now)
    if request.read is not None and (read := request.read(response.body)) is not None:
        return Answer(read, response.status, request_id, response.headers, sends)
    payload: Mapping[str, Any] = {}
    if response.body or response.status != 204:
        payload = _parse_object(response, request_id)
    if payload.get("error_code"):
        raise _odd(response, request_id, "success was announced together with an error code")
    return Answer(payload, response.status, request_id, response.headers, sends)


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """What the decoder makes of the body; None when it is not as documented."""
    try:
        return decoder.decode(body.decode())  # what is passed over must be text, too
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Outcome(msgspec.Struct, gc=False):
    error_code: Any = None


_OUTCOME = msgspec.json.Decoder(_Outcome)


def nothing_read(body: bytes) -> Mapping[str, Any] | None:
    """An empty payload for an object of which nothing is wanted; None where it tells an error."""
    outcome = decoded(_OUTCOME, body)
    return None if outcome is None or outcome.error_code else {}


def parse_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object in `body`. Raises ValueError for anything else, nested too deeply included."""
    payload = from_json(body, allow_inf_nan=False)
    if not isinstance(payload, dict):
        raise ValueError("not a JSON object")
    return payload


def _parse_object(response: Response, request_id: str) -> Mapping[str, Any]:
    try:
        return parse_object(response.body)
    except ValueError:
        raise _odd(response, request_id, "the answer is not a JSON object") from None


def _odd(response: Response, request_id: str, what: str) -> CallError:
    content_type = clean(response.headers.get("content-type", "nothing"), 60)
    encoding = response.headers.get("content-encoding")
    packed = f" packed as {clean(encoding, 20)}" if encoding else ""
    text = f"{what}: HTTP {response.status} from {response.host} with {content_type}{packed}"
    return CallError(Meaning.ODD, text, status=response.status, request_id=request_id)


def _failure(request: Request, response: Response, request_id: str, now: float) -> CallError:
    if response.status < 400:
        return _odd(response, request_id, "unexpected redirect, not followed; check the endpoint")
    payload = _error_object(response)
    if payload is None and _foreign(response):
        return _odd(response, request_id, "something on the way answered in the cloud's place")
    code, message, body_id = _error_words(payload or {})
    meaning = meaning_of(response.status, code, message, write=request.kind is not Kind.READ)
    text = clean(message) or f"HTTP {response.status} from {response.host}"
    if meaning in (Meaning.UNAUTHENTICATED, Meaning.TOKEN_EXPIRED, Meaning.SIGNATURE_EXPIRED):
        text = authentication_text(message, _skew(response, now)) or _without_echo(message)
    elif meaning is Meaning.WRONG_ADDRESS:
        text = f"{text}: check the endpoint {response.host} and the region"
    return CallError(
        meaning,
        text,
        status=response.status,
        code=clean(code, 40),
        request_id=request_id or clean(body_id, 64),
        retry_after=_retry_after(response, now),
        limit=parse_limit(message) if meaning is Meaning.THROTTLED else None,
    )


def _foreign(response: Response) -> bool:
    """A page for people where a refusal of the cloud's own would be JSON: a proxy or a login portal."""
    html = (
        "html" in response.headers.get("content-type", "").lower() or response.body[:64].lstrip()[:1] == b"<"
    )
    return html and response.status < 500 and response.status not in (404, 429)


def _error_object(response: Response) -> Mapping[str, Any] | None:
    try:
        return parse_object(response.body)
    except ValueError:
        return None


_CODE_KEYS = ("error_code", "errorCode", "code")
_MESSAGE_KEYS = ("error_msg", "errorMsg", "error_message", "message", "error")


def _error_words(payload: Mapping[str, Any]) -> tuple[str, str, str]:
    """Code, message and request id of an error body, in any of the shapes that the services use."""
    inner = next((v for v in payload.values() if isinstance(v, dict)), {})
    code = _first(payload, _CODE_KEYS) or _first(inner, _CODE_KEYS)
    message = _first(payload, _MESSAGE_KEYS) or _first(inner, _MESSAGE_KEYS)
    return code, message, _first(payload, ("request_id",))


def _first(payload: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(payload[key]) for key in keys if isinstance(payload.get(key), str | int)), "")


def _without_echo(message: str) -> str:
    """The message without the signed request that some gateways repeat: it may hold a security token."""
    head = message.partition("|")[0]
    if not head or "x-security-token" in head.lower():
        return "the cloud does not accept the credentials"
    return clean(head)


def _skew(response: Response, now: float) -> float | None:
    """How many seconds our clock is ahead of the server's, where the answer carries a Date."""
    date = _parse_date(response.headers.get("date", ""))
    return None if date is None else now - date


def _retry_after(response: Response, now: float) -> float | None:
    """Seconds to wait, from a number or a date."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    date = _parse_date(text)
    if date is None:
        return None
    skew = _skew(response, now) or 0.0
    return max(0.0, date - (now - skew))


def _parse_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
