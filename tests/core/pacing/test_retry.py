"""What failed calls mean, and when they are tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import FATAL, NOT_APPLIED, TRANSIENT, CallError, Meaning
from fleet.core.pacing.retry import Patience, Tries, authentication_text, meaning_of

SERVICE = [
    ("0010", 500, Meaning.SERVER), ("6102", 500, Meaning.SERVER), ("6200", 500, Meaning.SERVER),
    ("6361", 400, Meaning.SERVER), ("6100", 408, Meaning.SERVER), ("6101", 429, Meaning.THROTTLED),
    ("0101", 400, Meaning.INVALID), ("0104", 400, Meaning.INVALID), ("0107", 400, Meaning.INVALID),
    ("6332", 400, Meaning.INVALID), ("6335", 400, Meaning.INVALID), ("6336", 400, Meaning.INVALID),
    ("6400", 400, Meaning.INVALID), ("6600", 400, Meaning.INVALID), ("0102", 400, Meaning.INVALID),
    ("0108", 403, Meaning.FORBIDDEN), ("0112", 403, Meaning.FORBIDDEN), ("0112", 401, Meaning.FORBIDDEN),
    ("6653", 403, Meaning.FORBIDDEN), ("0113", 400, Meaning.QUOTA), ("0116", 100 + 300, Meaning.QUOTA),
    ("0118", 400, Meaning.QUOTA), ("6302", 400, Meaning.QUOTA), ("0201", 401, Meaning.TOKEN_EXPIRED),
    ("0204", 400, Meaning.TOKEN_EXPIRED), ("0206", 403, Meaning.TOKEN_EXPIRED),
    ("0212", 401, Meaning.TOKEN_EXPIRED), ("6201", 401, Meaning.UNAUTHENTICATED),
    ("6203", 401, Meaning.UNAUTHENTICATED), ("6301", 400, Meaning.INVALID), ("6303", 400, Meaning.INVALID),
    ("6304", 400, Meaning.WRONG_STATE), ("6305", 400, Meaning.BUSY), ("6306", 400, Meaning.BUSY),
    ("6307", 400, Meaning.BUSY), ("6308", 400, Meaning.BUSY), ("6309", 400, Meaning.GONE),
    ("6404", 400, Meaning.GONE), ("6309", 404, Meaning.GONE), ("6404", 404, Meaning.GONE),
    ("6323", 400, Meaning.INVALID), ("6324", 400, Meaning.INVALID), ("6328", 400, Meaning.INVALID),
    ("6330", 400, Meaning.INVALID), ("6326", 400, Meaning.FROZEN), ("6327", 400, Meaning.WRONG_STATE),
    ("6329", 400, Meaning.SOLD_OUT), ("6716", 400, Meaning.SOLD_OUT), ("6360", 400, Meaning.SOLD_OUT),
    ("6528", 400, Meaning.SOLD_OUT), ("6331", 400, Meaning.INVALID), ("6333", 400, Meaning.RECOVERING),
    ("6334", 400, Meaning.INVALID), ("6346", 400, Meaning.INVALID), ("6348", 400, Meaning.INVALID),
    ("6349", 400, Meaning.INVALID), ("6347", 400, Meaning.WRONG_STATE), ("6355", 400, Meaning.RECOVERING),
    ("6357", 400, Meaning.BUSY), ("6702", 400, Meaning.INVALID), ("6927", 400, Meaning.INVALID),
    ("6967", 400, Meaning.INVALID), ("6772", 400, Meaning.INVALID), ("6768", 400, Meaning.INVALID),
    ("6782", 400, Meaning.INVALID), ("6789", 400, Meaning.INVALID), ("6792", 400, Meaning.INVALID),
    ("6870", 400, Meaning.INVALID), ("6797", 400, Meaning.INVALID),
]  # fmt: skip

GATEWAY = [
    ("0101", 404, Meaning.WRONG_ADDRESS), ("0103", 404, Meaning.WRONG_ADDRESS),
    ("0104", 400, Meaning.SERVER), ("0105", 500, Meaning.SERVER), ("0106", 400, Meaning.INVALID),
    ("0602", 400, Meaning.INVALID), ("0607", 400, Meaning.INVALID), ("0201", 400, Meaning.INVALID),
    ("0201", 413, Meaning.INVALID), ("0201", 414, Meaning.INVALID), ("0201", 494, Meaning.INVALID),
    ("0201", 502, Meaning.SERVER), ("0201", 504, Meaning.SERVER), ("0202", 502, Meaning.SERVER),
    ("0203", 504, Meaning.SERVER), ("0301", 401, Meaning.UNAUTHENTICATED),
    ("0302", 403, Meaning.FORBIDDEN), ("0304", 403, Meaning.FORBIDDEN), ("0306", 403, Meaning.FORBIDDEN),
    ("0402", 403, Meaning.FORBIDDEN), ("0404", 403, Meaning.FORBIDDEN), ("0801", 403, Meaning.FORBIDDEN),
    ("0802", 403, Meaning.FORBIDDEN), ("0303", 401, Meaning.UNAUTHENTICATED),
    ("0305", 401, Meaning.UNAUTHENTICATED), ("0311", 401, Meaning.UNAUTHENTICATED),
    ("0307", 401, Meaning.TOKEN_EXPIRED), ("0308", 429, Meaning.THROTTLED),
    ("0310", 403, Meaning.FORBIDDEN), ("0401", 403, Meaning.FORBIDDEN), ("0501", 405, Meaning.QUOTA),
    ("0502", 405, Meaning.FORBIDDEN), ("0601", 500, Meaning.SERVER), ("0612", 500, Meaning.SERVER),
    ("0705", 500, Meaning.SERVER), ("0610", 502, Meaning.SERVER), ("0613", 503, Meaning.SERVER),
]  # fmt: skip


@pytest.mark.parametrize(("number", "status", "meaning"), SERVICE)
@pytest.mark.parametrize("prefix", ["ModelArts.", "modelarts."])
def test_the_services_codes(prefix: str, number: str, status: int, meaning: Meaning) -> None:
    assert meaning_of(status, prefix + number, "", write=True) is meaning


@pytest.mark.parametrize(("number", "status", "meaning"), GATEWAY)
@pytest.mark.parametrize("prefix", ["APIGW.", "APIG."])
def test_the_gateways_codes(prefix: str, number: str, status: int, meaning: Meaning) -> None:
    assert meaning_of(status, prefix + number, "", write=True) is meaning


@pytest.mark.parametrize(
    ("number", "status", "meaning"),
    [row for row in SERVICE if row[1] != 404]
    + [row for row in GATEWAY if row[0][:2] > "02" or row[1] in (404, 413, 414, 502, 504)],
)
def test_a_code_without_prefix_is_told_by_the_status(number: str, status: int, meaning: Meaning) -> None:
    assert meaning_of(status, number, "", write=True) is meaning


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (301, "", Meaning.ODD), (302, "ModelArts.6309", Meaning.ODD), (307, "", Meaning.ODD),
        (400, "", Meaning.INVALID), (400, "ModelArts.9999", Meaning.INVALID),
        (401, "", Meaning.UNAUTHENTICATED), (403, "", Meaning.FORBIDDEN), (404, "", Meaning.WRONG_ADDRESS),
        (404, "6309", Meaning.GONE), (404, "ModelArts.9999", Meaning.INVALID),
        (407, "", Meaning.ODD), (408, "", Meaning.SERVER), (409, "", Meaning.INVALID),
        (429, "", Meaning.THROTTLED), (500, "", Meaning.SERVER), (503, "Other.6309", Meaning.SERVER),
        (599, "", Meaning.SERVER),
    ],
)  # fmt: skip
def test_without_a_known_code_the_status_decides(status: int, code: str, meaning: Meaning) -> None:
    assert meaning_of(status, code, "", write=True) is meaning


def test_an_expired_signature_under_the_general_code_is_told_by_its_text() -> None:
    text = "Incorrect IAM authentication information: verify aksk signature fail, Signature expired"
    assert meaning_of(401, "APIGW.0301", text, write=True) is Meaning.SIGNATURE_EXPIRED
    assert Meaning.SIGNATURE_EXPIRED in TRANSIENT & NOT_APPLIED


def test_an_expired_token_under_the_general_code_is_told_by_its_text() -> None:
    text = "Incorrect IAM authentication information: token expires, expires_at: 2026-01-01T00:00:00Z"
    assert meaning_of(401, "APIGW.0301", text, write=False) is Meaning.TOKEN_EXPIRED


def test_busy_is_no_answer_to_a_read() -> None:
    assert meaning_of(400, "ModelArts.6357", "", write=False) is Meaning.RECOVERING


@given(st.integers(400, 599), st.text(max_size=20), st.text(max_size=40), st.booleans())
def test_every_failure_has_a_meaning_and_a_server_error_is_never_taken_for_not_applied(
    status: int, code: str, text: str, write: bool
) -> None:
    meaning = meaning_of(status, code, text, write=write)
    assert meaning in Meaning
    if status >= 500 and not code:
        assert meaning not in NOT_APPLIED


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "Incorrect IAM authentication information: verify aksk signature fail, GET|/v1/x|",
            "check the secret key",
        ),
        ("calc ak sk signature fail:signature expired", "set this machine's clock"),
        ("AK access failed to reach the limit,forbidden", "locked for five minutes"),
        ("Get secretKey failed", "does not know the access key"),
        ("decrypt token fail", "fetch a new one"),
        ("x-auth-token not found", "X-Auth-Token"),
    ],
)
def test_authentication_failures_say_what_to_do_and_repeat_nothing(text: str, advice: str) -> None:
    told = authentication_text(text, None)
    assert told is not None
    assert advice in told
    assert "/v1/" not in told


@pytest.mark.parametrize(("skew", "told"), [(3600.0, "3600 s ahead"), (-1200.0, "1200 s behind")])
def test_a_wrong_clock_is_told_with_its_error(skew: float, told: str) -> None:
    assert told in (authentication_text("signature expired", skew) or "")


def test_an_unknown_authentication_text_has_no_advice() -> None:
    assert authentication_text("something new", None) is None


def error(meaning: Meaning, retry_after: float | None = None) -> CallError:
    return CallError(meaning, "", retry_after=retry_after)


@pytest.mark.parametrize("meaning", Meaning)
def test_a_read_is_tried_again_exactly_when_it_can_help(meaning: Meaning) -> None:
    assert (Tries(write=False).after(error(meaning), 0.5) is not None) == (meaning in TRANSIENT)


@pytest.mark.row(3, 4)
@pytest.mark.parametrize("meaning", Meaning)
def test_a_write_is_never_tried_again_without_a_new_look(meaning: Meaning) -> None:
    assert Tries(write=True).after(error(meaning), 0.5) is None


@pytest.mark.row(25)
@pytest.mark.parametrize("meaning", sorted(FATAL))
def test_what_would_always_fail_is_never_tried_again(meaning: Meaning) -> None:
    assert Tries(write=False).after(error(meaning, retry_after=1.0), 0.0) is None


def test_waits_double_up_to_the_cap_with_full_jitter() -> None:
    tries = Tries(False, Patience(attempts=8, base=1.0, cap=20.0))
    waits = [tries.after(error(Meaning.SERVER), 0.5) for _ in range(8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, None]


def test_no_jitter_means_at_once() -> None:
    assert Tries(write=False).after(error(Meaning.SERVER), 0.0) == 0.0


@pytest.mark.row(1)
def test_being_throttled_costs_no_attempt() -> None:
    tries = Tries(False, Patience(attempts=2))
    assert all(tries.after(error(Meaning.THROTTLED), 0.0) is not None for _ in range(100))
    assert tries.after(error(Meaning.SERVER), 0.0) is not None
    assert tries.after(error(Meaning.SERVER), 0.0) is None


def test_the_servers_hint_is_the_least_that_is_waited() -> None:
    wait = Tries(write=False).after(error(Meaning.THROTTLED, retry_after=7.0), 0.9)
    assert wait is not None
    assert 7.0 <= wait <= 8.0


@pytest.mark.row(1)
def test_a_hint_of_more_than_ten_minutes_ends_the_call() -> None:
    assert Tries(write=False).after(error(Meaning.THROTTLED, retry_after=601.0), 0.0) is None


@given(
    st.lists(st.tuples(st.sampled_from(Meaning), st.none() | st.floats(0, 700)), max_size=200),
    st.floats(0, 0.999),
)
def test_all_waits_of_a_call_together_are_bounded(
    failures: list[tuple[Meaning, float | None]], jitter: float
) -> None:
    tries = Tries(write=False)
    waits = [tries.after(error(meaning, hint), jitter) for meaning, hint in failures]
    assert sum(wait for wait in waits if wait is not None) <= tries.patience.longest + 1e-6
