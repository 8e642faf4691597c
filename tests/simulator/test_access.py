"""Signatures, locks, tokens: who gets in, and with which words the others are sent away."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulator.access import Identity
from fleet.simulator.cloud import Cloud
from fleet.simulator.messages import Reply, Request
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.signatures import (
    ALGORITHM,
    Claim,
    canonical_request,
    is_signed_by,
    parse_authorization,
    sign,
)

ZEROS = "0" * 32

VECTORS = [
    pytest.param(
        Request(
            "GET",
            "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
            "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
            {
                "content-type": "application/json",
                "host": "service.region.example.com",
                "x-sdk-date": "20191115T033655Z",
            },
        ),
        "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc",
        "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a",
        "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
        id="vendor's sample",
    ),
    pytest.param(
        Request(
            "PUT",
            f"/v1/{ZEROS}/notebooks/f9937afa-4451-42db-a76b-72d624749f66",
            "",
            {
                "content-type": "application/json",
                "host": "modelarts.cn-north-4.myhuaweicloud.com",
                "x-project-id": ZEROS,
                "x-sdk-date": "20260101T000000Z",
            },
            b'{"image_id": "e1a07296-22a8-4f05-8bc8-e936c8e54090"}',
        ),
        "SKEXAMPLE",
        "559b4d1d5b53190a519f7fa7ac15975826ffd5e7b9175ba32b37811b83c5f4be",
        "85f0da4e0682a70518e023e3af71eb5b798567e01e2e97b5ae6056872997f1d9",
        id="update with a body",
    ),
    pytest.param(
        Request(
            "GET",
            f"/v1/{ZEROS}/notebooks",
            "limit=50&name=a%20b&offset=0&tags=team%7Ca%2Cenv%7Cprod",
            {
                "content-type": "application/json",
                "host": "modelarts.cn-north-4.myhuaweicloud.com",
                "x-project-id": ZEROS,
                "x-sdk-date": "20260101T000000Z",
                "x-security-token": "STS",
            },
        ),
        "SKEXAMPLE",
        None,
        "9d461675ce18882a60328ed08d17b87bc054d24a57cc84fb46df47d9f81a9c1b",
        id="temporary key with an encoded query",
    ),
]


@pytest.mark.parametrize(("request_", "secret_key", "canonical_hash", "signature"), VECTORS)
def test_published_signatures_are_reproduced(
    request_: Request, secret_key: str, canonical_hash: str | None, signature: str
) -> None:
    names = tuple(sorted(request_.headers))
    canonical = canonical_request(request_, names)
    if canonical_hash is not None:
        assert hashlib.sha256(canonical.encode()).hexdigest() == canonical_hash
    date = request_.headers["x-sdk-date"]
    assert sign(canonical, date, secret_key) == signature
    assert is_signed_by(secret_key, Claim("any", names, signature), canonical, date)


def test_the_order_of_query_and_the_encoding_of_the_path_do_not_matter() -> None:
    headers = {"x-sdk-date": "20260101T000000Z"}
    one = Request("GET", "/v1/a%7Eb", "b=2&a=1&a=0&c=", headers)
    two = Request("GET", "/v1/a~b", "a=0&c=&a=1&b=2", headers)
    assert canonical_request(one, ["x-sdk-date"]) == canonical_request(two, ["x-sdk-date"])
    assert "\na=0&a=1&b=2&c=\n" in canonical_request(one, ["x-sdk-date"])


@given(st.text(max_size=60))
def test_malformed_authorization_is_never_a_claim(text: str) -> None:
    assert parse_authorization(text) is None
    assert parse_authorization(f"{ALGORITHM} {text}") is None


def signed(
    cloud: Cloud,
    at: float,
    *,
    access_key: str = "",
    secret_key: str = "",
    sent_at: float | None = None,
    project: str | None = None,
    extra: dict[str, str] | None = None,
) -> Request:
    """A list request, signed by the cloud's own key unless told otherwise."""
    identity = cloud.identity
    date = datetime.fromtimestamp(at if sent_at is None else sent_at, UTC)
    headers = {"host": "127.0.0.1:9000", "x-sdk-date": date.strftime("%Y%m%dT%H%M%SZ")}
    headers |= extra or {}
    project = identity.projects[0].id if project is None else project
    names = tuple(sorted(headers))
    bare = Request("GET", f"/v1/{project}/notebooks", "limit=10", headers)
    signature = sign(canonical_request(bare, names), headers["x-sdk-date"], secret_key or identity.secret_key)
    headers["authorization"] = (
        f"{ALGORITHM} Access={access_key or identity.access_key}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return bare


def error(reply: Reply) -> tuple[int, str, str]:
    body = json.loads(reply.body)
    return reply.status, body.get("error_code", ""), body.get("error_msg", "")


def test_a_right_signature_gets_in(cloud: Cloud, now: float) -> None:
    assert cloud.handle(signed(cloud, now), now).status == 200


def test_a_changed_request_does_not_get_in_and_the_gateway_says_what_it_read(
    cloud: Cloud, now: float
) -> None:
    good = signed(cloud, now)
    changed = Request(good.method, good.path, "limit=50", good.headers)
    reply = cloud.handle(changed, now)
    status, code, message = error(reply)
    assert (status, code) == (401, "APIGW.0301")
    assert "verify aksk signature fail" in message
    assert "|limit=50|" in message
    assert json.loads(reply.body)["request_id"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize(("skew", "status"), [(-900, 200), (900, 200), (-902, 401), (902, 401)])
def test_the_clock_may_be_fifteen_minutes_off(cloud: Cloud, now: float, skew: float, status: int) -> None:
    reply = cloud.handle(signed(cloud, now, sent_at=now + skew), now)
    assert reply.status == status
    if status == 401:
        assert error(reply)[2].endswith("calc ak sk signature fail:signature expired")


def test_more_than_five_failures_in_a_row_lock_the_key_for_five_minutes(cloud: Cloud, now: float) -> None:
    for _ in range(6):
        reply = cloud.handle(signed(cloud, now, secret_key="wrong"), now)
        assert "verify aksk signature fail" in error(reply)[2]
    locked = "AK access failed to reach the limit,forbidden"
    assert error(cloud.handle(signed(cloud, now), now))[2].endswith(locked)
    late = now + 299.9
    assert error(cloud.handle(signed(cloud, late), late))[2].endswith(locked)
    free = now + 300
    assert cloud.handle(signed(cloud, free), free).status == 200


def test_a_success_between_failures_keeps_the_key_open(cloud: Cloud, now: float) -> None:
    for _ in range(4):
        for _ in range(5):
            cloud.handle(signed(cloud, now, secret_key="wrong"), now)
        assert cloud.handle(signed(cloud, now), now).status == 200


def test_an_unknown_key_has_no_secret(cloud: Cloud, now: float) -> None:
    reply = cloud.handle(signed(cloud, now, access_key="NOBODY"), now)
    assert error(reply)[2].endswith("Get secretKey failed")


def test_foreign_projects_and_contradicting_headers_are_refused(cloud: Cloud, now: float) -> None:
    assert error(cloud.handle(signed(cloud, now, project=ZEROS), now))[:2] == (403, "APIGW.0310")
    other = {"x-project-id": cloud.identity.projects[1].id}
    assert cloud.handle(signed(cloud, now, extra=other), now).status == 403


def login(identity: Identity, **changed: str) -> bytes:
    user: dict[str, Any] = {"name": identity.user, "password": identity.password, **changed}
    user["domain"] = {"name": identity.domain}
    methods = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"id": identity.projects[0].id}}
    return json.dumps({"auth": {"identity": methods, "scope": scope}}).encode()


def post(cloud: Cloud, path: str, body: bytes, now: float, token: str = "") -> Reply:
    return cloud.handle(Request("POST", path, "", {"x-auth-token": token}, body), now)


def listing(cloud: Cloud, token: str, project: int = 0) -> Request:
    path = f"/v1/{cloud.identity.projects[project].id}/notebooks"
    return Request("GET", path, "", {"x-auth-token": token})


def test_a_password_gives_a_token_for_its_life(now: float) -> None:
    cloud = make_cloud(notebooks=3, seed=1, now=now, token_seconds=600)
    reply = post(cloud, "/v3/auth/tokens", login(cloud.identity), now)
    token = reply.headers["X-Subject-Token"]
    view = json.loads(reply.body)["token"]
    assert (reply.status, view["project"]["id"]) == (201, cloud.identity.projects[0].id)
    assert datetime.fromisoformat(view["expires_at"]).timestamp() == now + 600
    assert cloud.handle(listing(cloud, token), now + 599).status == 200
    assert error(cloud.handle(listing(cloud, token), now + 600))[:2] == (401, "APIGW.0307")


def test_an_expired_token_may_have_the_other_code(now: float) -> None:
    rules = Rules(expired_token="APIGW.0301")
    cloud = make_cloud(notebooks=3, seed=1, now=now, token_seconds=600, rules=rules)
    token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, now)
    _, code, message = error(cloud.handle(listing(cloud, token), now + 600))
    assert code == "APIGW.0301"
    assert "token expires, expires_at: " in message


def test_a_token_is_for_one_project_and_a_new_one_does_not_end_it(cloud: Cloud, now: float) -> None:
    token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, now)
    cloud.access.issue_token(cloud.identity.projects[0].id, now)
    assert cloud.handle(listing(cloud, token), now).status == 200
    assert cloud.handle(listing(cloud, token, project=1), now).status == 403
    cloud.access.revoke_tokens()
    assert error(cloud.handle(listing(cloud, token), now))[2].endswith("decrypt token fail")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{}", 400), (b"not json", 400), (b'{"auth":{"identity":{"methods":["totp"]}}}', 400)],
)
def test_malformed_logins_get_iams_error_shape(cloud: Cloud, now: float, body: bytes, status: int) -> None:
    reply = post(cloud, "/v3/auth/tokens", body, now)
    assert reply.status == status
    assert json.loads(reply.body)["error"]["code"] == status


def test_a_wrong_password_is_401_in_iams_shape(cloud: Cloud, now: float) -> None:
    reply = post(cloud, "/v3/auth/tokens", login(cloud.identity, password="guess"), now)
    assert json.loads(reply.body)["error"]["title"] == "Unauthorized"
    assert reply.status == 401


def test_a_temporary_key_needs_its_security_token_and_ends(cloud: Cloud, now: float) -> None:
    token, _ = cloud.access.issue_token(cloud.identity.projects[0].id, now)
    body = {"auth": {"identity": {"methods": ["token"], "token": {"duration_seconds": 900}}}}
    path = "/v3.0/OS-CREDENTIAL/securitytokens"
    reply = post(cloud, path, json.dumps(body).encode(), now, token)
    key = json.loads(reply.body)["credential"]

    def use(at: float, **extra: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in extra.items()}
        request = signed(cloud, at, access_key=key["access"], secret_key=key["secret"], extra=headers)
        return cloud.handle(request, at).status

    assert use(now, x_security_token=key["securitytoken"]) == 200
    assert use(now) == 401
    assert use(now + 900, x_security_token=key["securitytoken"]) == 401


def test_projects_are_found_by_name(cloud: Cloud, now: float) -> None:
    token, _ = cloud.access.issue_token("", now)
    request = Request("GET", "/v3/projects", "name=cn-north-4", {"x-auth-token": token})
    found = json.loads(cloud.handle(request, now).body)["projects"]
    assert [row["id"] for row in found] == [cloud.identity.projects[0].id]


def test_no_secret_is_in_the_log_or_a_repr(cloud: Cloud, now: float) -> None:
    reply = post(cloud, "/v3/auth/tokens", login(cloud.identity), now)
    token = reply.headers["X-Subject-Token"]
    request = listing(cloud, token)
    cloud.handle(request, now)
    cloud.handle(signed(cloud, now), now)
    log = "".join(record.to_line() for record in cloud.log)
    shown = log + repr(cloud.identity) + repr(request) + repr(reply)
    for secret in (cloud.identity.secret_key, cloud.identity.password, token):
        assert secret not in shown
    assert cloud.identity.user in repr(cloud.identity)
