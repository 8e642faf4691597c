"""What it costs to sign a request, beside the vendor's own signer where it is installed.

Before anything is timed both must give the same Authorization header, byte for byte. A notebook's path is
signed for the first time once and then again by every later call, so both are measured.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any
from uuid import UUID

from benchmarks.harness import (
    SEED,
    Check,
    Client,
    Result,
    Sample,
    Stopwatch,
    at_least,
    conditions,
    interleave,
    summarize,
)
from fleet.client.signing import Signer, canonical_path, canonical_request, sdk_date
from fleet.client.wire import CONTENT_TYPE, Kind, Request, canonical_query
from fleet.core.scope import AkSkKeys

HOST = "modelarts.cn-north-4.myhuaweicloud.com"
PROJECT = "0" * 32
KEYS = AkSkKeys("AKEXAMPLE", "SKEXAMPLE")
TEMPORARY = AkSkKeys("AKEXAMPLE", "SKEXAMPLE", "STSEXAMPLE")
SECOND = 1_767_225_600  # when the compared signatures were made; any second would do

FRESH, KNOWN, VENDOR, FLOOR = "fleet, new path", "fleet, known path", "vendor SDK", "hashing alone"


def run(*, quick: bool) -> Result:
    """Signs the PUTs of many notebooks."""
    rounds, requests = (2, puts(300)) if quick else (15, puts(4000))
    vendor = vendor_signer()
    clients: dict[str, Client] = {
        FRESH: lambda: sign_fresh(requests),
        KNOWN: lambda: sign_known(requests),
        FLOOR: lambda: hash_only(requests),
    }
    if vendor is not None:
        compare(vendor, requests[:100])
        clients[VENDOR] = lambda: sign_by_vendor(vendor, requests)
    samples = interleave(clients, rounds)
    bases = [name for name in (VENDOR, FLOOR) if name in clients]
    rows = [summarize(name, samples, [base for base in bases if base != name]) for name in clients]
    checks: list[Check] = []
    if vendor is not None:
        value = rows[0].ratios[VENDOR]
        checks.append(at_least("the vendor's CPU for a signature over ours for a new path", value, 1.0))
    facts = conditions(
        ["notebook-fleet", "huaweicloudsdkcore"], rounds=rounds, quick=quick, requests=len(requests)
    )
    return Result("signing", facts, rows, checks)


def puts(count: int) -> Sequence[Request]:
    """A PUT for each of `count` notebooks."""
    draw = Random(SEED)
    return [
        Request(
            "put",
            Kind.WRITE,
            "PUT",
            f"/v1/{PROJECT}/notebooks/{UUID(int=draw.getrandbits(128))}",
            body=b'{"image_id":"%s"}' % str(UUID(int=draw.getrandbits(128))).encode(),
        )
        for _ in range(count)
    ]


def sign_fresh(requests: Sequence[Request]) -> Sample:
    canonical_path.cache_clear()
    return _sign(requests)


def sign_known(requests: Sequence[Request]) -> Sample:
    for request in requests:
        canonical_path(request.path)
    return _sign(requests)


def _sign(requests: Sequence[Request]) -> Sample:
    signer = Signer(KEYS, HOST, PROJECT)
    watch = Stopwatch()
    for request in requests:
        signer.headers(request, time.time())
    return watch.stop(len(requests))


def hash_only(requests: Sequence[Request]) -> Sample:
    """The two digests and the HMAC that no signer can do without."""
    key = KEYS.secret_key.encode()
    headers = {
        "content-type": CONTENT_TYPE,
        "host": HOST,
        "x-project-id": PROJECT,
        "x-sdk-date": sdk_date(SECOND),
    }
    texts = [
        (request.body, canonical_request(request.method, request.path, "", headers, request.body).encode())
        for request in requests
    ]
    watch = Stopwatch()
    for body, canonical in texts:
        hashlib.sha256(body).hexdigest()
        hmac.digest(key, hashlib.sha256(canonical).hexdigest().encode(), "sha256").hex()
    return watch.stop(len(texts))


class _Vendor:
    """The vendor's signer, with one object for all requests where its client makes one for each."""

    def __init__(
        self, credentials: Callable[..., Any], signer: Callable[..., Any], request: Callable[..., Any]
    ):
        self._credentials, self._signer, self._request = credentials, signer, request

    def signer(self, keys: AkSkKeys) -> Callable[[Any], Any]:
        sign: Callable[[Any], Any] = self._signer(
            self._credentials(keys.access_key, keys.secret_key, PROJECT)
        ).sign
        return sign

    def request(self, request: Request, query: Mapping[str, str | int], headers: Mapping[str, str]) -> Any:
        return self._request(
            method=request.method,
            schema="https",
            host=HOST,
            resource_path=request.path,
            query_params=list(query.items()),
            header_params={"Content-Type": CONTENT_TYPE, "X-Project-Id": PROJECT, **headers},
            body=request.body,
        )


def vendor_signer() -> _Vendor | None:
    """The vendor's signer, or None where it is not installed."""
    try:
        from huaweicloudsdkcore.auth.credentials import BasicCredentials
        from huaweicloudsdkcore.sdk_request import SdkRequest
        from huaweicloudsdkcore.signer.signer import Signer as SdkSigner
    except ImportError:
        return None
    return _Vendor(BasicCredentials, SdkSigner, SdkRequest)


def sign_by_vendor(vendor: _Vendor, requests: Sequence[Request]) -> Sample:
    """The vendor's signer dates each request itself, as it does in its own client."""
    sign = vendor.signer(KEYS)
    unsigned = [vendor.request(request, {}, {}) for request in requests]
    watch = Stopwatch()
    for request in unsigned:
        sign(request)
    return watch.stop(len(unsigned))


def compare(vendor: _Vendor, requests: Sequence[Request]) -> None:
    """Stops when a signature is not the vendor's: PUTs and a list, with a permanent and a temporary key."""
    query: dict[str, str | int] = {"limit": 50, "offset": 100, "name": "a b/ü~", "tags": "team|a,env|prod"}
    listing = Request("list", Kind.READ, "GET", f"/v1/{PROJECT}/notebooks", canonical_query(query))
    for keys in (KEYS, TEMPORARY):
        dated = {"X-Sdk-Date": sdk_date(SECOND)}
        if keys.security_token:
            dated["X-Security-Token"] = keys.security_token
        ours, theirs = Signer(keys, HOST, PROJECT), vendor.signer(keys)
        for request, asked in [(listing, query), *((put, {}) for put in requests)]:
            expected = theirs(vendor.request(request, asked, dated)).header_params["Authorization"]
            assert ours.headers(request, SECOND)["authorization"] == expected, request
