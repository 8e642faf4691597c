"""Signatures: the published vector, two made with the vendor's SDK, and what a signature covers."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.client.signing import Mac, Signer, canonical_path, canonical_request, sdk_date, sign
from fleet.client.wire import Kind, Request, canonical_query
from fleet.core.scope import AkSkKeys

PROJECT = "0" * 32
HOST = "modelarts.cn-north-4.myhuaweicloud.com"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
KEYS = AkSkKeys("AKEXAMPLE", "SKEXAMPLE")

PUT = Request(
    "put",
    Kind.WRITE,
    "PUT",
    f"/v1/{PROJECT}/notebooks/f9937afa-4451-42db-a76b-72d624749f66",
    body=b'{"image_id": "e1a07296-22a8-4f05-8bc8-e936c8e54090"}',
)
LIST = Request(
    "list",
    Kind.READ,
    "GET",
    f"/v1/{PROJECT}/notebooks",
    canonical_query({"tags": "team|a,env|prod", "limit": 50, "offset": 0, "name": "a b"}),
)


def signature(headers: dict[str, str]) -> str:
    return headers["authorization"].rpartition("Signature=")[2]


def test_the_published_vector() -> None:
    signed = {
        "content-type": "application/json",
        "host": "service.region.example.com",
        "x-sdk-date": "20191115T033655Z",
    }
    path = "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs"
    query = canonical_query({"limit": 2, "marker": "13551d6b-755d-4757-b956-536f674975c0"})
    canonical = canonical_request("GET", path, query, signed, b"")
    digest = "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
    assert hashlib.sha256(canonical.encode()).hexdigest() == digest
    secret = b"MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"
    expected = "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
    assert sign(Mac(secret), "20191115T033655Z", canonical) == expected


def test_a_put_is_signed_as_the_vendors_sdk_signs_it() -> None:
    headers = Signer(KEYS, HOST, PROJECT).headers(PUT, NEW_YEAR)
    assert signature(headers) == "85f0da4e0682a70518e023e3af71eb5b798567e01e2e97b5ae6056872997f1d9"
    names = "content-type;host;x-project-id;x-sdk-date"
    prefix = f"SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders={names}, Signature="
    assert headers["authorization"].startswith(prefix)
    assert headers["x-sdk-date"] == "20260101T000000Z"


def test_a_query_and_a_security_token_are_signed_as_the_vendors_sdk_signs_them() -> None:
    assert LIST.query == "limit=50&name=a%20b&offset=0&tags=team%7Ca%2Cenv%7Cprod"
    headers = Signer(AkSkKeys("AKEXAMPLE", "SKEXAMPLE", "STS"), HOST, PROJECT).headers(LIST, NEW_YEAR)
    assert signature(headers) == "9d461675ce18882a60328ed08d17b87bc054d24a57cc84fb46df47d9f81a9c1b"
    assert headers["x-security-token"] == "STS"


@pytest.mark.parametrize(
    "other",
    [
        replace(PUT, method="POST"),
        replace(PUT, path=PUT.path + "/start"),
        replace(PUT, query="a=b"),
        replace(PUT, body=PUT.body + b" "),
    ],
)
def test_everything_that_is_sent_is_covered(other: Request) -> None:
    signer = Signer(KEYS, HOST, PROJECT)
    assert signature(signer.headers(other, NEW_YEAR)) != signature(signer.headers(PUT, NEW_YEAR))


def test_a_signature_holds_for_its_second_only() -> None:
    signer = Signer(KEYS, HOST, PROJECT)
    first, same, next_one = (signer.headers(PUT, NEW_YEAR + late) for late in (0.0, 0.9, 1.0))
    assert first == same
    assert signature(first) != signature(next_one)


@given(st.binary(max_size=130), st.lists(st.binary(max_size=200), min_size=2, max_size=2))
@example(b"k" * 64, [b"a", b"b"])
@example(b"k" * 65, [b"a", b"b"])
def test_a_code_is_that_of_the_standard_library_text_after_text(key: bytes, texts: list[bytes]) -> None:
    mac = Mac(key)
    for text in texts:
        assert mac.hexdigest(text) == hmac.digest(key, text, "sha256").hex()


@given(st.integers(0, 4_000_000_000))
def test_dates_are_utc(second: int) -> None:
    assert datetime.strptime(sdk_date(second), "%Y%m%dT%H%M%S%z").timestamp() == second


def test_the_signed_path_is_encoded_and_ends_with_a_slash() -> None:
    assert canonical_path("/v1/a b/ü~") == "/v1/a%20b/%C3%BC~/"
    assert canonical_path("/v1/") == "/v1/"


@pytest.mark.security("secrets")
def test_no_secret_is_shown() -> None:
    keys = AkSkKeys("AKEXAMPLE", "canary-secret", "canary-token")
    assert "canary" not in f"{keys!r}{keys}{Signer(keys, HOST, PROJECT)!r}"
