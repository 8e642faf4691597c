"""The simulated cloud as one pure machine: ``handle(request, now) -> reply``.

No sockets, no clock, no tasks. A request goes through the doors in the order of the real thing:
time is caught up with (``life``), the gateway finds the API, checks the caller (``access``) and
counts the call (``throttle``); then faults have their say (``faults``) and the operation is carried
out. Whatever happened, one record is appended to ``log``. People of a faults file come in by a
side door (``act``): no gateway, no faults, but a record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from fleet.simulator import catalog, iam, life, listing, metrics, notebooks, quota, tags, updating
from fleet.simulator.access import Access, Identity
from fleet.simulator.faults.occasions import CLEAR, Deed, Occasion, Verdict
from fleet.simulator.faults.plan import FaultPlan
from fleet.simulator.messages import SOMEBODY, Answer, Call, Reply, Request, User, to_json
from fleet.simulator.records import Record
from fleet.simulator.refusals import Refusal, bad_parameter, iam_bad_request, not_published
from fleet.simulator.routing import LOGINS, Operation, Route, call_class, find_route
from fleet.simulator.signatures import parse_query
from fleet.simulator.throttle import Caller, Throttle
from fleet.simulator.world import Notebook, World, ms

_OPERATIONS: Mapping[Operation, Callable[[World, Call], Answer]] = {
    Operation.LIST_NOTEBOOKS: listing.list_notebooks,
    Operation.LIST_ALL_NOTEBOOKS: listing.list_notebooks,
    Operation.CREATE_NOTEBOOK: notebooks.create,
    Operation.SHOW_NOTEBOOK: notebooks.show,
    Operation.UPDATE_NOTEBOOK: updating.update,
    Operation.DELETE_NOTEBOOK: notebooks.delete,
    Operation.START_NOTEBOOK: notebooks.start,
    Operation.STOP_NOTEBOOK: notebooks.stop,
    Operation.SHOW_LEASE: notebooks.show_lease,
    Operation.RENEW_LEASE: notebooks.renew_lease,
    Operation.LIST_FLAVORS: catalog.list_flavors,
    Operation.SHOW_SWITCHABLE_FLAVORS: catalog.show_switchable_flavors,
    Operation.LIST_IMAGE: catalog.list_images,
    Operation.SHOW_IMAGE: catalog.show_image,
    Operation.CREATE_IMAGE: notebooks.save_image,
    Operation.SHOW_NOTEBOOK_TAGS: tags.show_all,
    Operation.CREATE_NOTEBOOK_TAGS: tags.create,
    Operation.DELETE_NOTEBOOK_TAGS: tags.delete,
    Operation.LIST_WORKSPACES: iam.list_workspaces,
    Operation.LIST_FEATURES: quota.show,
    Operation.QUERY_RANGE: metrics.query_range,
}

_READ_BODY = frozenset(
    {
        Operation.CREATE_NOTEBOOK,
        Operation.UPDATE_NOTEBOOK,
        Operation.RENEW_LEASE,
        Operation.CREATE_IMAGE,
        Operation.CREATE_NOTEBOOK_TAGS,
        Operation.DELETE_NOTEBOOK_TAGS,
        Operation.CREATE_TOKEN,
        Operation.CREATE_TEMPORARY_KEY,
    }
)
"""The operations whose body means something; what others send is ignored."""


@dataclass(slots=True)
class _Exchange:
    """One request on its way through the doors, with what the log will say about it."""

    request: Request
    query: Mapping[str, str]
    now: float
    operation: str = ""
    project: str = ""
    target: str = ""
    user: User | None = None
    body: dict[str, Any] | None = None
    notebook: Notebook | None = None
    before: Mapping[str, Any] | None = None
    applied: bool = False
    verdict: Verdict = CLEAR
    skew: float = 0.0


class Cloud:
    """A running cloud. ``log`` is append-only; ``world`` is for seeds and snapshots."""

    def __init__(self, world: World, access: Access, throttle: Throttle, faults: FaultPlan) -> None:
        self.world = world
        self.access = access
        self.log: list[Record] = []
        self._throttle = throttle
        self._faults = faults
        self._serial = 0
        world.weather = faults

    @property
    def identity(self) -> Identity:
        """Credentials and projects for a client of this cloud."""
        return self.access.identity

    def settle(self, now: float) -> None:
        """Let everything happen that is due by ``now``."""
        while (happening := self._faults.pop_due(now)) is not None:
            due, deed = happening
            life.settle(self.world, due)
            deed(self, due)
        life.settle(self.world, now)

    def handle(self, request: Request, now: float) -> Reply:
        """Answer one request at the wall second ``now``."""
        self.settle(now)
        return self._answer(_Exchange(request, dict(parse_query(request.query)), now), self._pass_doors)

    def act(self, method: str, path: str, body: Mapping[str, Any], now: float) -> None:
        """Somebody at the console calls an operation."""
        request = Request(method, path, body=to_json(body), client="console")
        self._answer(_Exchange(request, {}, now, user=SOMEBODY), self._come_aside)

    def later(self, due: float, deed: Deed) -> None:
        """Have something happen at the wall second ``due``."""
        self._faults.later(due, deed)

    def _answer(self, exchange: _Exchange, carry: Callable[[_Exchange], Answer]) -> Reply:
        self._serial += 1
        request_id = f"{self.world.seed & 0xFFFFFFFF:08x}{self._serial:024x}"
        refusal: Refusal | None = None
        answer = Answer()
        try:
            answer = carry(exchange)
        except Refusal as raised:
            refusal = raised
        refusal = exchange.verdict.refusal or refusal
        reply = _reply(exchange, answer, refusal, request_id)
        self.log.append(_record(exchange, reply, refusal, request_id))
        return reply

    def _pass_doors(self, exchange: _Exchange) -> Answer:
        route = self._find_route(exchange)
        body = _body_of(exchange, route.operation)
        if self._faults.strikes_calls:
            return self._meet_faults(exchange, route, body)
        self._admit(exchange, route.operation)
        return self._carry_out(exchange, route, body)

    def _meet_faults(self, exchange: _Exchange, route: Route, body: dict[str, Any] | None) -> Answer:
        faults, now = self._faults, exchange.now
        occasion = Occasion(route.operation, exchange.request.method, exchange.notebook, exchange.query)
        exchange.skew = faults.skew(occasion, now)
        self._admit(exchange, route.operation)
        exchange.verdict = faults.verdict(occasion, now)
        if not exchange.verdict.applies:
            return Answer(status=0)
        answer = self._carry_out(exchange, route, body)
        faults.called(occasion, now)
        return answer

    def _come_aside(self, exchange: _Exchange) -> Answer:
        route = self._find_route(exchange)
        return self._carry_out(exchange, route, _body_of(exchange, route.operation))

    def _find_route(self, exchange: _Exchange) -> Route:
        route = find_route(exchange.request.method, exchange.request.path)
        if route is None:
            raise not_published()
        exchange.operation, exchange.project = route.operation.value, route.project
        exchange.target = route.target
        exchange.notebook = self.world.notebooks.get(route.target)
        return route

    def _admit(self, exchange: _Exchange, operation: Operation) -> None:
        """Check the caller, by the gateway's clock, and count the call."""
        request = exchange.request
        if operation is not Operation.CREATE_TOKEN:
            exchange.user = self.access.admit(request, exchange.project, exchange.now + exchange.skew)
        kind = call_class(operation, request.method)
        caller = Caller(_id(exchange.user), operation, request.client, kind)
        self._throttle.admit(caller, exchange.now)

    def _carry_out(self, exchange: _Exchange, route: Route, body: dict[str, Any] | None) -> Answer:
        operation, now = route.operation, exchange.now
        if body is None:
            refuse = iam_bad_request if operation in LOGINS else bad_parameter
            raise refuse("The request body is not a JSON object.")
        if operation in LOGINS:
            return iam.handle(self.access, operation, body, exchange.query, now)
        user = exchange.user or self.access.user
        verdict = exchange.verdict
        call = Call(operation, route.project, route.target, exchange.query, body, user, now, verdict.cut)
        for happens in verdict.first:
            happens(self, call)
        writes = call_class(operation, exchange.request.method) == "writes"
        if writes and exchange.notebook is not None:
            exchange.before = _facts(exchange.notebook, now)
        answer = _OPERATIONS[operation](self.world, call)
        exchange.applied = writes
        return answer


def _id(user: User | None) -> str:
    return "" if user is None else user.id


def _body_of(exchange: _Exchange, operation: Operation) -> dict[str, Any] | None:
    """The body where it means something (else {}), noted for the log unless it holds a password."""
    if operation not in _READ_BODY:
        return {}
    body = _parse_body(exchange.request.body)
    if operation not in LOGINS:
        exchange.body = body
    return body


def _parse_body(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body ({} for none), or None when it is something else.

    Numbers without an end and half characters, which Python would let pass, are something else.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reply(exchange: _Exchange, answer: Answer, refusal: Refusal | None, request_id: str) -> Reply:
    named = {
        "X-Request-Id": request_id,
        "Content-Type": "application/json;charset=utf-8",
        "Date": _http_date(int(exchange.now + exchange.skew)),
    }
    verdict = exchange.verdict
    if refusal is None:
        reply = Reply(answer.status, answer.body, {**named, **answer.headers}, verdict.delay)
    else:
        refused = refusal.reply(request_id)
        reply = Reply(refused.status, refused.body, named, verdict.delay)
    for rewrite in verdict.rewrites:
        if reply.sending is None:
            reply = rewrite(reply)
    return reply


@lru_cache(maxsize=16)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _record(exchange: _Exchange, reply: Reply, refusal: Refusal | None, request_id: str) -> Record:
    notebook, request = exchange.notebook, exchange.request
    show = exchange.applied and notebook is not None
    return Record(
        at=exchange.now,
        project=exchange.project,
        operation=exchange.operation,
        method=request.method,
        path=request.path,
        query=exchange.query,
        body=exchange.body,
        notebook="" if exchange.operation == Operation.SHOW_IMAGE else exchange.target,
        user=_id(exchange.user),
        status=reply.status,
        code="" if refusal is None else refusal.code,
        applied=exchange.applied,
        answered=reply.answered,
        request_id=request_id,
        before=exchange.before if show else None,
        after=_facts(notebook, exchange.now) if show and notebook is not None else None,
    )


def _facts(notebook: Notebook, now: float) -> dict[str, Any]:
    end = notebook.lease.end()
    left = None if end is None else round(end * 1000) - ms(now)
    return {"status": notebook.status.value, "lease_left": left}
