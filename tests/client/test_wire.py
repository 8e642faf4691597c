"""What an answer means, from its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.client.wire import Kind, Request, Response, canonical_query, decipher, nothing_read, parse_object
from fleet.core.errors import NOT_APPLIED, CallError, Meaning
from fleet.core.pacing.limits import Limit

NOW = 1_764_000_000.0  # Mon, 24 Nov 2025 16:00:00 GMT
DATE = "Mon, 24 Nov 2025 16:00:00 GMT"
READ = Request("get", Kind.READ, "GET", "/v1/x")
WRITE = Request("put", Kind.WRITE, "PUT", "/v1/x")
HTML = b"<!DOCTYPE html><title>Log in, canary</title>"


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    named = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return Response(status, named, body, "modelarts.example.com")


def failure(answer: Response, request: Request = WRITE) -> CallError:
    with pytest.raises(CallError) as caught:
        decipher(request, answer, NOW)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 202])
def test_an_object_with_a_good_status_is_success(status: int) -> None:
    answer = decipher(WRITE, response(status, b'{"a":1}', x_request_id="r-1"), NOW)
    assert (answer.payload, answer.status, answer.request_id) == ({"a": 1}, status, "r-1")


def test_no_content_is_success_only_when_it_says_so() -> None:
    assert decipher(WRITE, response(204), NOW).payload == {}
    assert failure(response(200)).meaning is Meaning.ODD


@pytest.mark.parametrize(
    ("name", "meaning", "code"),
    [
        ("busy.400", Meaning.BUSY, "ModelArts.6357"),
        ("missing.400", Meaning.GONE, "ModelArts.6309"),
        ("older.400", Meaning.GONE, "ModelArts.6309"),
        ("throttled.429", Meaning.THROTTLED, "APIGW.0308"),
        ("signature.401", Meaning.UNAUTHENTICATED, "APIGW.0301"),
        ("token.401", Meaning.TOKEN_EXPIRED, "APIGW.0307"),
        ("login.401", Meaning.UNAUTHENTICATED, "401"),
        ("denied.403", Meaning.FORBIDDEN, "ModelArts.0112"),
        ("backend.502", Meaning.SERVER, "APIGW.0201"),
    ],
)
def test_recorded_failures(sample: Callable[[str], bytes], name: str, meaning: Meaning, code: str) -> None:
    error = failure(response(int(name[-3:]), sample(name)))
    assert (error.meaning, error.code, error.status) == (meaning, code, int(name[-3:]))
    assert error.text


def test_a_429_carries_its_limit_and_the_request_id_of_its_body(sample: Callable[[str], bytes]) -> None:
    error = failure(response(429, sample("throttled.429")))
    assert error.limit == Limit("user", 60, 60.0)
    assert error.request_id == "d58d0000000000000000000000000001"


@pytest.mark.security("secrets")
def test_the_signed_request_that_a_gateway_repeats_is_not_passed_on(sample: Callable[[str], bytes]) -> None:
    assert "canary" not in str(failure(response(401, sample("signature.401"))))
    echo = b'{"error_code":"APIGW.0303","error_msg":"new words, x-security-token:canary"}'
    assert "canary" not in str(failure(response(401, echo)))


def test_the_login_refusal_keeps_its_words(sample: Callable[[str], bytes]) -> None:
    assert "The username or password is wrong." in str(failure(response(401, sample("login.401"))))


@pytest.mark.row(21)
@pytest.mark.security("clock")
def test_a_wrong_clock_is_told_with_the_difference() -> None:
    body = b'{"error_code":"APIGW.0301","error_msg":"calc ak sk signature fail:signature expired"}'
    error = failure(response(401, body, date="Mon, 24 Nov 2025 15:00:00 GMT"))
    assert "3600 s ahead" in error.text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("Mon, 24 Nov 2025 16:00:30 GMT", 30.0),
        ("Mon, 24 Nov 2025 15:59:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("", None),
        ("Mon, 24 Nov 999999 16:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert failure(response(429, b"{}", retry_after=header, date=DATE)).retry_after == seconds


def test_a_retry_date_is_read_by_the_servers_clock() -> None:
    late = response(
        429, b"{}", retry_after="Mon, 24 Nov 2025 15:00:30 GMT", date="Mon, 24 Nov 2025 15:00:00 GMT"
    )
    assert failure(late).retry_after == 30.0


@pytest.mark.row(27, 28)
@pytest.mark.security("json")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"42",
        b"\xff\xfe{}",
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"a":1}x',
        b'{"a":1',
        HTML,
    ],
)
@pytest.mark.parametrize("request_", [READ, WRITE])
def test_what_is_no_object_is_odd_and_leaves_a_write_in_doubt(body: bytes, request_: Request) -> None:
    error = failure(response(200, body), request_)
    assert error.meaning is Meaning.ODD
    assert error.in_doubt
    assert "canary" not in str(error)


@pytest.mark.row(26)
def test_a_web_page_in_place_of_an_answer_is_named_by_host_and_type_only() -> None:
    error = failure(response(200, HTML, content_type="text/html; charset=utf-8"))
    assert "modelarts.example.com" in error.text
    assert "text/html" in error.text


@pytest.mark.security("cap")
def test_a_packed_answer_is_not_unpacked() -> None:
    assert "packed as gzip" in failure(response(200, b"\x1f\x8b\x08", content_encoding="gzip")).text


@pytest.mark.row(26)
@pytest.mark.parametrize("status", [401, 403, 407, 400, 405])
def test_a_web_page_that_refuses_is_not_the_clouds_refusal(status: int) -> None:
    assert failure(response(status, HTML, content_type="text/html")).meaning is Meaning.ODD


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, Meaning.WRONG_ADDRESS), (429, Meaning.THROTTLED), (500, Meaning.SERVER), (502, Meaning.SERVER)],
)
def test_a_web_page_with_a_plain_status_means_what_it_says(status: int, meaning: Meaning) -> None:
    assert failure(response(status, HTML, content_type="text/html")).meaning is meaning


@pytest.mark.row(30)
@pytest.mark.security("redirect")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_odd(status: int) -> None:
    error = failure(response(status, b"{}", location="https://elsewhere.example.com/canary"))
    assert error.meaning is Meaning.ODD
    assert "canary" not in str(error)


def test_a_wrong_address_says_what_to_check() -> None:
    error = failure(response(404, b'{"error_code":"APIGW.0101","error_msg":"The API does not exist"}'))
    assert error.meaning is Meaning.WRONG_ADDRESS
    assert "modelarts.example.com" in error.text


def test_success_with_an_error_code_is_odd() -> None:
    assert (
        failure(response(200, b'{"error_code":"ModelArts.6309","is_success":false}')).meaning is Meaning.ODD
    )


@pytest.mark.security("escapes")
def test_foreign_text_is_cleaned_and_cut() -> None:
    body = json.dumps({"error_code": "ModelArts.6309", "error_msg": "\x1b]0;x\x07" + "y" * 5000}).encode()
    text = failure(response(400, body, x_request_id="\x1b" * 500)).text
    assert text.startswith("\\x1b]0;x\\x07")
    assert len(text) <= 200


@pytest.mark.parametrize("message", [None, [], {"a": 1}, 7, True])
def test_a_message_of_any_type_is_survived(message: object) -> None:
    body = json.dumps({"error_code": "ModelArts.6309", "error_msg": message}).encode()
    assert failure(response(400, body)).meaning is Meaning.GONE


@pytest.mark.row(28)
@pytest.mark.security("json")
@given(st.integers(100, 599), st.binary(max_size=60), st.sampled_from([READ, WRITE]))
def test_any_bytes_end_in_an_answer_or_a_call_error(status: int, body: bytes, request_: Request) -> None:
    meaning = None
    try:
        decipher(request_, response(status, body), NOW)
    except CallError as error:
        meaning = error.meaning
    if meaning is None:
        assert 200 <= status < 300
    elif status < 400 or status >= 500:
        assert meaning not in NOT_APPLIED


JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda deeper: st.dictionaries(st.text(), deeper) | st.lists(deeper),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON))
def test_every_object_is_read_as_it_was_written(value: Mapping[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


def test_queries_are_sorted_after_encoding() -> None:
    assert canonical_query({"b": "ä /", "a": 1, "a~": ""}) == "a=1&a~=&b=%C3%A4%20%2F"


@pytest.mark.security("secrets")
def test_neither_body_nor_headers_are_shown() -> None:
    login = Request("login", Kind.LOGIN, "POST", "/v3/auth/tokens", "", b"canary")
    answer = Response(201, {"x-subject-token": "canary"}, b"canary", "h")
    assert (
        "canary"
        not in f"{login!r}{answer!r}{decipher(login, response(201, b'{}', x_subject_token='canary'), NOW)!r}"
    )


SHORT = msgspec.structs.replace(WRITE, read=nothing_read)


def judged(request: Request, body: bytes) -> object:
    """How a 200 with that body is judged, its payload apart."""
    try:
        answer = decipher(request, response(200, body, x_request_id="r"), NOW)
        return answer.status, answer.request_id
    except CallError as error:
        return error.meaning, error.text


@given(
    st.binary(max_size=20)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(["error_code", "id"]), JSON).map(lambda it: json.dumps(it).encode())
)
@example(b'{"error_code":"ModelArts.6309"}')
@example(b'{"error_code":""}')
@example(b'{"id":"\xff"}')
@example(b"{} {}")
def test_an_answer_of_which_nothing_is_wanted_is_judged_like_one_that_is_read(body: bytes) -> None:
    assert judged(SHORT, body) == judged(WRITE, body)


def test_of_an_answer_of_which_nothing_is_wanted_nothing_is_read() -> None:
    assert decipher(SHORT, response(200, b'{"a":1}'), NOW).payload == {}
    assert decipher(SHORT, response(204), NOW).payload == {}
