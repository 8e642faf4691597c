"""Faults of answers: what comes back is whole, but it is not what the API promises."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field

from fleet.simulator.faults.occasions import OfCalls, Verdict
from fleet.simulator.messages import Reply, to_json

_PAGE = b"<!DOCTYPE html><html><head><title>%s</title></head><body><h1>%s</h1></body></html>"
_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlPage(OfCalls):
    """A page for people instead of JSON, after carrying the call out when ``applied``."""

    kind: Literal["html-page"] = "html-page"
    status: Annotated[int, Field(ge=200, le=599)] = 200
    applied: bool = False

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite, applies=self.applied)

    def _rewrite(self, reply: Reply) -> Reply:
        title = b"Please wait" if self.status < 400 else b"%d" % self.status
        headers = {**reply.headers, "Content-Type": _HTML}
        return replace(reply, status=self.status, body=_PAGE % (title, title), headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect(OfCalls):
    """A captive portal sends the caller to the URL ``to``; the call never reaches the cloud."""

    kind: Literal["redirect"] = "redirect"
    to: Annotated[str, Field(pattern=r"^[!-~]+$")]
    status: Literal[301, 302, 303, 307, 308] = 302

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite, applies=False)

    def _rewrite(self, reply: Reply) -> Reply:
        headers = {**reply.headers, "Content-Type": _HTML, "Location": self.to}
        return replace(reply, status=self.status, body=_PAGE % (b"Sign in", b"Sign in"), headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bomb(OfCalls):
    """A body of ``megabytes``; ``compressed`` by gzip, asked for or not, it is small until opened."""

    kind: Literal["bomb"] = "bomb"
    megabytes: Annotated[int, Field(gt=0)]
    compressed: bool = False

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite)

    def _rewrite(self, reply: Reply) -> Reply:
        body = b'{"data":"' + b"x" * (self.megabytes * 1_000_000) + b'"}'
        if not self.compressed:
            return replace(reply, body=body)
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        return replace(reply, body=gzip.compress(body, compresslevel=1, mtime=0), headers=headers)


_DEPTH = 100_000
_DIGITS = 5_000
_NESTED, _NUMBER, _MISSING = "\ue000nested", "\ue000number", "\ue000missing"
_TEXTS = {_NESTED: b"[" * _DEPTH + b"]" * _DEPTH, _NUMBER: b"9" * _DIGITS}
"""What json cannot write by itself, by the text that holds its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OddAnswer(OfCalls):
    """JSON of another shape. ``fields`` names the fields that are touched, anywhere in the answer;
    without it the answer as a whole is meant."""

    kind: Literal["odd-answer"] = "odd-answer"
    body: Literal["deep", "huge-numbers", "wrong-types", "null", "missing-fields"]
    fields: tuple[str, ...] = ()

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return verdict.rewritten(self._rewrite)

    def _rewrite(self, reply: Reply) -> Reply:
        if not reply.body or "json" not in reply.headers.get("Content-Type", ""):
            return reply
        touch, value = _TOUCHES[self.body], json.loads(reply.body)
        value = _touched(value, self.fields, touch) if self.fields else touch(value)
        body = to_json({} if value == _MISSING else value)
        for place, text in _TEXTS.items():
            body = body.replace(to_json(place), text)
        return replace(reply, body=body)


def _touched(value: Any, fields: Collection[str], touch: Callable[[Any], Any]) -> Any:
    """``value`` with ``touch`` applied to the named fields inside."""
    if isinstance(value, list):
        return [_touched(item, fields, touch) for item in value]
    if not isinstance(value, dict):
        return value
    result = {
        name: touch(item) if name in fields else _touched(item, fields, touch) for name, item in value.items()
    }
    return {name: item for name, item in result.items() if item != _MISSING}


def _huge(value: Any) -> Any:
    """Every number becomes one of thousands of digits."""
    if isinstance(value, dict):
        return {name: _huge(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_huge(item) for item in value]
    return _NUMBER if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _of_wrong_type(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return {} if isinstance(value, list) else []
    return "many" if isinstance(value, (int, float)) else 7


_TOUCHES: Mapping[str, Callable[[Any], Any]] = {
    "deep": lambda _: _NESTED,
    "huge-numbers": _huge,
    "wrong-types": _of_wrong_type,
    "null": lambda _: None,
    "missing-fields": lambda _: _MISSING,
}
