"""Bytes in, an answer out: how a request looks, when an answer is complete, and what is no answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.client.transport import Site
from fleet.client.transport.http11 import HEAD_CAP, AnswerReader, NoHttp, RequestHead, TooLarge
from fleet.client.wire import Kind, Request

CAP = 1000
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"X-A: \tb \t\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Late: t\r\n\r\n"
INFORMED = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + LENGTH
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
WHOLE = [LENGTH, CHUNKED, INFORMED, NOTHING, OLD]


def begun(cap: int = CAP) -> AnswerReader:
    reader = AnswerReader()
    reader.expect(cap)
    return reader


def feed_all(reader: AnswerReader, data: bytes, step: int) -> list[bool]:
    return [reader.feed(data[at : at + step]) for at in range(0, len(data), step)]


@pytest.mark.parametrize("answer", WHOLE)
@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_an_answer_is_complete_with_its_last_byte_however_it_comes_in(answer: bytes, step: int) -> None:
    reader = begun()
    *before, last = feed_all(reader, answer, step)
    assert last
    assert not any(before)
    assert reader.status == int(answer[answer.rfind(b"HTTP/1.") :][9:12])
    assert reader.take_body() == (b"" if answer is NOTHING else b"hello")
    assert reader.reusable is (answer is not OLD)
    assert not {"link", "x-late"} & reader.headers.keys()


@given(st.sampled_from(WHOLE), st.sets(st.integers(1, 150)))
def test_where_the_bytes_are_split_changes_nothing(answer: bytes, cuts: set[int]) -> None:
    whole, split = begun(), begun()
    whole.feed(answer)
    at = sorted({0, len(answer)} | {cut for cut in cuts if cut < len(answer)})
    ends = [split.feed(answer[a:b]) for a, b in pairwise(at)]
    assert ends.index(True) == len(ends) - 1
    assert (split.status, split.headers, split.reusable) == (whole.status, whole.headers, whole.reusable)
    assert split.take_body() == whole.take_body()


def test_one_answer_leaves_nothing_behind_for_the_next() -> None:
    reader = begun()
    for answer in (CHUNKED, INFORMED, CHUNKED, NOTHING, LENGTH):
        reader.expect(CAP)
        assert reader.feed(answer)
        assert reader.reusable
    assert reader.headers == {"x-a": "b", "content-length": "5"}
    assert reader.take_body() == b"hello"


def test_without_a_length_the_end_of_the_connection_ends_the_answer() -> None:
    reader = begun()
    assert not reader.feed(OK + b"\r\nhel")
    assert not reader.feed(b"lo")
    assert reader.end()
    assert (reader.take_body(), reader.reusable) == (b"hello", False)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, INFORMED])
def test_half_an_answer_is_not_made_whole_by_the_end(answer: bytes) -> None:
    for cut in range(len(answer)):
        reader = begun()
        assert not reader.feed(answer[:cut])
        assert not reader.end()


@pytest.mark.parametrize("answer", [*WHOLE, OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"])
@pytest.mark.parametrize("more", [b"x", b"H", b"HTTP/1.1 200 OK\r\n", LENGTH, b"\0"])
def test_more_than_an_answer_forbids_another_request(answer: bytes, more: bytes) -> None:
    reader = begun()
    assert reader.feed(answer + more)
    assert not reader.reusable
    assert reader.status == int(answer[answer.rfind(b"HTTP/1.") :][9:12])
    assert reader.take_body() == (b"" if answer is NOTHING else b"hello")
    assert "x-late" not in reader.headers


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: 0x5\r\n\r\nhello",
        OK + b"Content-Length:\r\n\r\nhello",
        OK + b"Content-Length : 5\r\n\r\nhello",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        OK + b"X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
        OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
        OK + b": a\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_refused_however_it_comes_in(noise: bytes) -> None:
    with pytest.raises(NoHttp):
        begun().feed(noise)
    with pytest.raises(NoHttp):
        feed_all(begun(), noise, 1)


@pytest.mark.security("cap")
@pytest.mark.parametrize(
    "head",
    [
        OK + b"X-A: " + b"a" * HEAD_CAP,
        OK + b"a" * HEAD_CAP,
        OK + b"".join(b"X-%d: a\r\n" % number for number in range(HEAD_CAP // 8)),
        b"HTTP/1.1 200 " + b"a" * HEAD_CAP,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_CAP // 20),
    ],
)
@pytest.mark.parametrize("step", [999, 10_000_000])
def test_a_head_has_its_cap(head: bytes, step: int) -> None:
    with pytest.raises(NoHttp):
        feed_all(begun(), head, step)


@pytest.mark.security("cap")
def test_a_head_over_its_cap_is_refused_also_when_it_comes_whole() -> None:
    with pytest.raises(NoHttp):
        begun().feed(OK + b"X-A: " + b"a" * HEAD_CAP + b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.security("cap")
@pytest.mark.parametrize("framing", [b"Content-Length: 1001\r\n\r\n", b"\r\n"])
def test_a_body_has_its_cap(framing: bytes) -> None:
    for body, fits in ((b"x" * CAP, True), (b"x" * (CAP + 1), False)):
        reader = begun()
        if fits:
            assert not reader.feed(OK + framing + body)
        else:
            with pytest.raises(TooLarge):
                reader.feed(OK + framing + body)


@pytest.mark.security("cap")
@pytest.mark.parametrize(
    ("first", "filler"),
    [
        (b"", b"1;" + b"e" * 500 + b"\r\nx\r\n"),
        (b"0\r\nT: ", b"t" * 500),
        (b"0\r\n", b"T: t\r\n" * 100),
    ],
    ids=["extensions", "a trailer", "trailers"],
)
def test_what_surrounds_the_body_has_its_cap_too(first: bytes, filler: bytes) -> None:
    reader = begun(cap=2000)
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(TooLarge):
        feed_all(reader, head + first + filler * 200, 500)


@given(st.sampled_from(WHOLE), st.integers(0, 60), st.binary(max_size=6), st.integers(0, 6))
@example(LENGTH, 9, b"1", 1)
def test_no_byte_can_do_more_than_be_refused(answer: bytes, at: int, put: bytes, drop: int) -> None:
    reader = begun()
    damaged = answer[:at] + put + answer[at + drop :]
    try:
        complete = reader.feed(damaged)
    except (NoHttp, TooLarge):
        return
    if complete:
        assert 200 <= reader.status <= 999
        assert len(reader.take_body()) <= CAP


def head() -> RequestHead:
    return RequestHead(Site("https://h:9/", "", "/v1/p/", {"accept": "a/b"}))


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", b""),
        ("PUT", b"{}", b"content-length: 2\r\n"),
        ("POST", b"", b"content-length: 0\r\n"),
        ("DELETE", b"", b"content-length: 0\r\n"),
    ],
)
def test_a_request_is_one_piece_of_bytes(method: str, body: bytes, length: bytes) -> None:
    request = Request("x", Kind.READ, method, "/v1/p/n", "a=b", body)
    assert head().encode(request, {"x-auth-token": "t"}) == (
        b"%b /v1/p/n?a=b HTTP/1.1\r\nhost: h:9\r\naccept: a/b\r\nx-auth-token: t\r\n%b\r\n%b"
        % (method.encode(), length, body)
    )


def test_headers_are_those_of_the_request_even_if_their_owner_changes_them() -> None:
    made, own = head(), {"x-auth-token": "one"}
    request = Request("x", Kind.READ, "GET", "/v1/p/n")
    assert b"token: one\r\n" in made.encode(request, own)
    own["x-auth-token"] = "two"
    assert b"token: two\r\n" in made.encode(request, own)


def test_a_header_of_the_site_is_not_said_twice_and_not_contradicted() -> None:
    request = Request("x", Kind.READ, "GET", "/v1/p/n")
    assert head().encode(request, {"host": "h:9", "accept": "a/b"}).count(b"host") == 1
    with pytest.raises(ValueError, match="contradicts"):
        head().encode(request, {"host": "elsewhere"})


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "get", "GET /x HTTP/1.1\r\nx: "])
def test_a_method_whose_answer_would_be_read_wrongly_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        head().encode(Request("x", Kind.READ, method, "/v1/p/n"), {})


SITE = Site("http://h:1", "", "/v1/p/", {"accept": "a"})
OWN = st.dictionaries(
    st.sampled_from(["accept", "x-date", "authorization"]), st.sampled_from(["a", "b", "b\r\nc"])
)


def encoded(head: RequestHead, headers: dict[str, str]) -> list[bytes] | str:
    """The lines of a head, whose order means nothing, or why there is none."""
    try:
        return sorted(head.encode(Request("x", Kind.READ, "GET", "/v1/p/n"), headers).split(b"\r\n"))
    except ValueError as error:
        return str(error)


@given(st.lists(OWN, max_size=5))
def test_what_was_sent_before_changes_no_head(requests: list[dict[str, str]]) -> None:
    head_ = RequestHead(SITE)
    for headers in requests:
        assert encoded(head_, headers) == encoded(RequestHead(SITE), headers)
