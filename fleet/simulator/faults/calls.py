"""Faults of calls: the gateway or the service says no, whatever was asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fleet.simulator.faults.occasions import OfCalls, Verdict
from fleet.simulator.messages import Reply
from fleet.simulator.refusals import Refusal, quota_reached
from fleet.simulator.routing import Operation
from fleet.simulator.throttle import throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled(OfCalls):
    """429 with the gateway's text, or with an empty body; the call is not carried out."""

    kind: Literal["throttle"] = "throttle"
    policy: Literal["user", "api", "ip"] = "user"
    limit: Annotated[int, Field(gt=0)] = 60
    seconds: Annotated[int, Field(gt=0)] = 60
    text: bool = True
    retry_after: Annotated[int, Field(ge=0)] | None = None

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        refusal = throttled(self.policy, self.limit, self.seconds)
        return replace(verdict.rewritten(self._rewrite, applies=False), refusal=refusal)

    def _rewrite(self, reply: Reply) -> Reply:
        hint = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = reply.body if self.text else b""
        return replace(reply, body=body, headers={**reply.headers, **hint})


_SERVER_ERRORS = {
    500: ("ModelArts.0010", "Internal error."),
    502: ("APIGW.0201", "Backend unavailable"),
    503: ("APIGW.0613", "The IAM service is unavailable"),
    504: ("APIGW.0201", "Backend timeout"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError(OfCalls):
    """A 5xx answer, to a call that was carried out all the same when ``applied``."""

    kind: Literal["server-error"] = "server-error"
    status: Literal[500, 502, 503, 504] = 500
    applied: bool = False

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        refusal = Refusal(*_SERVER_ERRORS[self.status], self.status)
        return replace(verdict, applies=self.applied and verdict.applies, refusal=refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(OfCalls):
    """The call is refused with a code of the vendor's ("Error Codes" page)."""

    kind: Literal["refusal"] = "refusal"
    code: str
    message: str = "The request is refused."
    status: Annotated[int, Field(ge=400, le=599)] = 400

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return replace(verdict, applies=False, refusal=Refusal(self.code, self.message, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReached(OfCalls):
    """The account may have no more instances: starts and creations are refused (ModelArts.0113)."""

    about: ClassVar[frozenset[Operation]] = frozenset({Operation.START_NOTEBOOK, Operation.CREATE_NOTEBOOK})

    kind: Literal["quota"] = "quota"

    def bend(self, verdict: Verdict, draw: Random) -> Verdict:
        return replace(verdict, applies=False, refusal=quota_reached())
