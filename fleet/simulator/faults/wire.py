"""Faults of the wire: the answer is right, but comes late, in shreds, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http.client import responses
from random import Random
from typing import Literal

from fleet.simulator.faults.occasions import OfCalls, Seconds, Verdict
from fleet.simulator.messages import Reply, Sending

_MOST_PIECES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswer(OfCalls):
    """The connection is closed without an answer, after carrying the call out when ``applied``."""

    kind: Literal["lost-answer"] = "lost-answer"
    applied: bool = True

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(lambda reply: _unanswered(reply, Sending()), applies=self.applied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(OfCalls):
    """The connection is reset (RST) instead of an answer, after carrying out when ``applied``."""

    kind: Literal["reset"] = "reset"
    applied: bool = True

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(lambda reply: _unanswered(reply, Sending(reset=True)), applies=self.applied)


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfBody(OfCalls):
    """Half of the body that the headers promise, then the connection is closed; ``chunked``: the
    promise is the size of a chunk, else the Content-Length."""

    kind: Literal["half-body"] = "half-body"
    chunked: bool = False

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite)

    def _rewrite(self, reply: Reply) -> Reply:
        body = reply.body or b"{}"
        half = body[: len(body) // 2]
        if self.chunked:
            text = _head(reply, "Transfer-Encoding: chunked") + b"%x\r\n" % len(body) + half
        else:
            text = _head(reply, f"Content-Length: {len(body)}") + half
        return _unanswered(reply, Sending(((0.0, text),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowAnswer(OfCalls):
    """The call is carried out at once and answered ``seconds`` later."""

    kind: Literal["slow-answer"] = "slow-answer"
    seconds: Seconds

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return replace(verdict, delay=verdict.delay + self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowHeaders(OfCalls):
    """Status line and headers come in small pieces over ``seconds``, then the body at once."""

    kind: Literal["slow-headers"] = "slow-headers"
    seconds: Seconds

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite)

    def _rewrite(self, reply: Reply) -> Reply:
        head = _head(reply, f"Content-Length: {len(reply.body)}")
        return replace(reply, sending=Sending((*_pieces(head, self.seconds), (0.0, reply.body))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip(OfCalls):
    """The headers come at once, the body in small pieces over ``seconds``."""

    kind: Literal["drip"] = "drip"
    seconds: Seconds

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite)

    def _rewrite(self, reply: Reply) -> Reply:
        head = _head(reply, f"Content-Length: {len(reply.body)}")
        return replace(reply, sending=Sending(((0.0, head), *_pieces(reply.body, self.seconds))))


def _unanswered(reply: Reply, sending: Sending) -> Reply:
    return replace(reply, sending=sending, answered=False)


def _head(reply: Reply, framing: str) -> bytes:
    """The answer's status line and headers; the connection ends with it."""
    status = reply.status or 500
    lines = (
        f"HTTP/1.1 {status} {responses.get(status, '')}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
        framing,
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _pieces(text: bytes, seconds: float) -> tuple[tuple[float, bytes], ...]:
    """``text`` in parts of equal size, spread evenly over ``seconds``."""
    size = -(-len(text) // _MOST_PIECES) or 1
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return tuple((seconds / len(parts), part) for part in parts)
