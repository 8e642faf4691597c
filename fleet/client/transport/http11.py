"""HTTP/1.1 as bytes and values, without I/O: what a request looks like, and when an answer is complete.

llhttp (by httptools) reads what comes back, with every leniency off. What it leaves to its user is here: the
caps, informational answers, which codings are understood, and what ends when the connection does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fleet.client.transport.site import Site, check_headers, check_request
from fleet.client.wire import Request

HEAD_CAP = 64 * 1024  # bytes; an IAM token in a header may have 32 K
_OVERHEAD = 8  # bytes on the wire for one of a body, in the smallest chunks that make sense

_VERSION = b"HTTP/1."
_METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE"})  # an answer to HEAD would be framed otherwise


class RequestHead:
    """Makes requests to one site. What is the same every time is encoded once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._fixed = {"host": site.host, **site.headers}
        check_headers(self._fixed)
        self._fixed_lines = b" HTTP/1.1\r\n" + _lines(self._fixed)
        self._own: Mapping[str, str] = {}
        self._own_lines = b""
        self._known: dict[str, tuple[str, bytes]] = {}  # of every header the latest value and its line

    def encode(self, request: Request, headers: Mapping[str, str]) -> bytes:
        """The whole request, to be written at once. Raises ValueError for what no transport may send."""
        if request.method not in _METHODS:
            raise ValueError(f"no requests of method {request.method!r}")
        if headers != self._own:
            self._set_own(headers)
        line = f"{request.method} {check_request(self._site, request)}".encode()
        body = request.body
        if body or request.method != "GET":
            length = b"content-length: %d\r\n\r\n" % len(body)
            return b"".join((line, self._fixed_lines, self._own_lines, length, body))
        return b"".join((line, self._fixed_lines, self._own_lines, b"\r\n"))

    def _set_own(self, headers: Mapping[str, str]) -> None:
        """Takes in the headers of a request; those of a token are the same for many, those of a signature
        for a second but for one."""
        known, lines = self._known, []
        for name, value in headers.items():
            latest = known.get(name)
            if latest is None or latest[0] != value:
                known[name] = latest = value, self._line(name, value)
            lines.append(latest[1])
        self._own_lines = b"".join(lines)
        self._own = dict(headers)

    def _line(self, name: str, value: str) -> bytes:
        """The line of a header, nothing for one that the site has anyway."""
        header = {name: value}
        check_headers(header)
        if name not in self._fixed:
            return _lines(header)
        if self._fixed[name] != value:
            raise ValueError("a header of the request contradicts one of its site")
        return b""


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()


@lru_cache(maxsize=256)
def _name(sent: bytes) -> str:
    """The name of a header in lower case; servers send the same few all the time."""
    return sent.decode("latin-1").lower()


class NoHttp(Exception):
    """What came is no answer that we could understand."""


class TooLarge(Exception):
    """The body has more bytes than its cap."""


class AnswerReader:
    """Reads the answers of one connection, one after the other. Each begins with `expect`.

    The parser calls the methods named `on_…` for all that it finds in what it is fed: also for trailers,
    and for what follows an answer without being asked for.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect(0)

    def expect(self, cap: int) -> None:
        """The next bytes begin an answer, with a body of at most `cap` bytes."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reusable = False
        self._cap = cap
        self._start = b""
        self._received = 0
        self._limit = HEAD_CAP
        self._chunks: list[bytes] = []
        self._size = 0
        self._until_end = False
        self._complete = False

    def take_body(self) -> bytes:
        """The body, which is not kept."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def feed(self, data: bytes) -> bool:
        """True when the answer is complete; `reusable` then tells whether another request may follow.

        Raises NoHttp and TooLarge.
        """
        if not self._received:
            data = self._start + data
            if not data.startswith(_VERSION):  # llhttp would take more: HTTP/2.0, RTSP/1.0, line breaks
                if not _VERSION.startswith(data):
                    raise NoHttp
                self._start = data
                return False
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._complete:
                raise (TooLarge if self._size > self._cap else NoHttp) from error
        if self._received > self._limit and not self._complete:
            raise TooLarge if self.status else NoHttp
        return self._complete

    def end(self) -> bool:
        """The sender closed its side; True when that completes the answer."""
        return self._until_end

    def on_message_begin(self) -> None:
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:
            self.headers[_name(name)] = value.strip().decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.status:
            return
        if self._received > HEAD_CAP and sum(map(len, chain(*self.headers.items()))) > HEAD_CAP:
            raise NoHttp
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise NoHttp
            self.headers = {}  # informational: the answer is yet to come
            return
        coding = self.headers.get("transfer-encoding")
        if coding is None:
            self._until_end = "content-length" not in self.headers
        elif coding.lower() != "chunked":
            raise NoHttp
        self.status = status
        self._limit = HEAD_CAP + _OVERHEAD * self._cap

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._size += len(data)
            if self._size > self._cap:
                raise TooLarge
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self.status and not self._complete:
            self._complete = True
            self.reusable = self._parser.should_keep_alive()
