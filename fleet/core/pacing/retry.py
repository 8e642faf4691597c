"""What a failed call means, and when to try again.

Codes are data, from the vendor's Error Codes page and the gateway's error pages. Texts are never matched
where a code says it; only the gateway's 0301 carries several meanings under one code.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.errors import TRANSIENT, CallError, Meaning


def _table(**groups: str) -> dict[str, Meaning]:
    return {code: Meaning[name] for name, codes in groups.items() for code in codes.split()}


# The service's own codes (prefix "ModelArts.").
_SERVICE = _table(
    SERVER="0010 6100 6102 6200 6361",
    INVALID=(
        "0101 0102 0104 0107 6301 6303 6323 6324 6328 6330 6331 6332 6334 6335 6336 6346 6348 6349 6400"
        " 6600 6702 6768 6772 6782 6789 6792 6797 6870 6927 6967"
    ),
    FORBIDDEN="0108 0112 6653",
    QUOTA="0113 0116 0118 6302",
    TOKEN_EXPIRED="0201 0202 0203 0204 0205 0206 0207 0208 0209 0210 0211 0212",
    THROTTLED="6101",
    UNAUTHENTICATED="6201 6203",
    WRONG_STATE="6304 6327 6347",
    BUSY="6305 6306 6307 6308 6357",
    GONE="6309 6404",
    FROZEN="6326",
    SOLD_OUT="6329 6360 6528 6716",
    RECOVERING="6333 6355",
)

# The gateway's (prefix "APIGW." or "APIG."). 0201 is missing: it stands for many things, the status decides.
_GATEWAY = _table(
    WRONG_ADDRESS="0101 0103",
    INVALID="0106 0602 0607",
    SERVER="0104 0105 0202 0203 0601 0605 0606 0608 0609 0610 0611 0612 0613 0705",
    UNAUTHENTICATED="0301 0303 0305 0311",
    FORBIDDEN="0302 0304 0306 0310 0401 0402 0404 0502 0801 0802",
    TOKEN_EXPIRED="0307",
    THROTTLED="0308",
    QUOTA="0501",
)

_STATUS = {
    401: Meaning.UNAUTHENTICATED,
    403: Meaning.FORBIDDEN,
    404: Meaning.WRONG_ADDRESS,
    407: Meaning.ODD,  # a proxy on the way, not the cloud
    408: Meaning.SERVER,
    429: Meaning.THROTTLED,
}

# Some codes below 6000 exist twice; without a prefix they are the gateway's under these statuses.
_GATEWAY_STATUS = frozenset({404, 413, 414, 494, 502, 503, 504})


def meaning_of(status: int, code: str, text: str, *, write: bool) -> Meaning:
    """What an answer other than success means. `code` may come with or without its prefix."""
    if status < 400:
        return Meaning.ODD
    meaning = _by_code(status, code)
    if meaning is None:
        meaning = _by_status(status, code)
    if meaning is Meaning.UNAUTHENTICATED and "token expires" in text.lower():
        return Meaning.TOKEN_EXPIRED
    if meaning is Meaning.UNAUTHENTICATED and _SIGNATURE_EXPIRED in text.lower():
        return Meaning.SIGNATURE_EXPIRED
    if meaning is Meaning.BUSY and not write:
        return Meaning.RECOVERING  # a read has no target state that it could be in already
    return meaning


def _by_code(status: int, code: str) -> Meaning | None:
    prefix, _, number = code.rpartition(".")
    match prefix.lower():
        case "modelarts":
            return _SERVICE.get(number)
        case "apigw" | "apig":
            return _GATEWAY.get(number)
        case "" if status in _GATEWAY_STATUS and number < "6":
            return _GATEWAY.get(number)
        case "":
            return _SERVICE.get(number, _GATEWAY.get(number))
        case _:
            return None


def _by_status(status: int, code: str) -> Meaning:
    if status == 404 and code.lower().startswith("modelarts."):
        return Meaning.INVALID
    if status >= 500:
        return Meaning.SERVER
    return _STATUS.get(status, Meaning.INVALID)


_SIGNATURE_EXPIRED = "signature expired"
_AUTHENTICATION_TEXTS = (
    (
        "reach the limit",
        "the access key is locked for five minutes after too many wrong signatures; check the secret key",
    ),
    (
        _SIGNATURE_EXPIRED,
        "the cloud refused the time of the signature; set this machine's clock (15 minutes are allowed)",
    ),
    (
        "signature fail",
        "the signature does not match; check the secret key, and that no proxy changes the request",
    ),
    ("get secretkey failed", "the cloud does not know the access key; check it, and the region"),
    ("decrypt token fail", "the token is not one of this region's; fetch a new one there"),
    ("x-auth-token not found", "the cloud saw no token; check that no proxy removes the header X-Auth-Token"),
)


def authentication_text(text: str, skew: float | None) -> str | None:
    """What to do about the gateway's 0301, or None when the text is none that we know.

    The gateway's own text is dropped, since it may repeat the signed request with its security token. `skew`
    is how many seconds our clock is ahead of the server's.
    """
    for tail, advice in _AUTHENTICATION_TEXTS:
        if tail in text.lower():
            if tail == _SIGNATURE_EXPIRED and skew is not None:
                return f"{advice}; it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
            return advice
    return None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long one call is tried again. Seconds.

    Being throttled costs no attempt, only waiting; `longest` bounds all waits of a call together, and
    `longest_hint` is the longest Retry-After that is waited for.
    """

    attempts: int = 8
    base: float = 0.5
    throttled_base: float = 1.0
    cap: float = 20.0
    longest: float = 900.0
    longest_hint: float = 600.0


@dataclass(slots=True)
class Tries:
    """The tries of one call so far."""

    write: bool
    patience: Patience = Patience()
    failed: int = 0
    throttled: int = 0
    waited: float = 0.0

    def after(self, error: CallError, jitter: float) -> float | None:
        """Seconds to wait before the call is sent again, None to give up. `jitter` lies in [0, 1).

        A write is never sent again here, even when it was certainly not applied: by the time it could leave,
        the look that it stands on would be old.
        """
        if self.write or error.meaning not in TRANSIENT:
            return None
        wait = self._backoff(error.meaning, jitter)
        if wait is not None and error.retry_after is not None:
            wait = (
                error.retry_after + min(wait, 1.0)
                if error.retry_after <= self.patience.longest_hint
                else None
            )
        if wait is None or self.waited + wait > self.patience.longest:
            return None
        self.waited += wait
        return wait

    def _backoff(self, meaning: Meaning, jitter: float) -> float | None:
        patience = self.patience
        if meaning is Meaning.THROTTLED:
            self.throttled += 1
            return jitter * min(patience.cap, patience.throttled_base * 2.0 ** min(self.throttled, 30))
        self.failed += 1
        if self.failed >= patience.attempts:
            return None
        return jitter * min(patience.cap, patience.base * 2.0 ** min(self.failed, 30))
