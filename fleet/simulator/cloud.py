"""The simulated cloud as one pure machine: ``handle(request, now) -> reply``.

No sockets, no clock, no tasks. A request goes through the doors in the order of the real thing:
time is caught up with (``life``), the gateway finds the API, checks the caller (``access``) and
counts the call (``throttle``); then faults have their say (``faults``) and the operation is carried
out. Whatever happened, one record is appended to ``log``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleet.simulator import catalog, iam, life, listing, notebooks, tags, updating
from fleet.simulator.access import Access, Identity
from fleet.simulator.faults import CLEAR, FaultPlan, Verdict
from fleet.simulator.messages import Answer, Call, Reply, Request
from fleet.simulator.records import Record
from fleet.simulator.refusals import Refusal, bad_parameter, iam_bad_request, not_published
from fleet.simulator.routing import LOGINS, Operation, Route, call_class, find_route
from fleet.simulator.signatures import parse_query
from fleet.simulator.throttle import Caller, Throttle
from fleet.simulator.world import Notebook, World, ms

_OPERATIONS: Mapping[Operation, Callable[[World, Call], Answer]] = {
    Operation.LIST_NOTEBOOKS: listing.list_own,
    Operation.LIST_ALL_NOTEBOOKS: listing.list_all,
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
    user: str = ""
    body: dict[str, Any] | None = None
    notebook: Notebook | None = None
    before: Mapping[str, Any] | None = None
    applied: bool = False
    verdict: Verdict = CLEAR


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
        life.settle(self.world, now)

    def handle(self, request: Request, now: float) -> Reply:
        """Answer one request at the wall second ``now``."""
        self.settle(now)
        self._serial += 1
        request_id = f"{self.world.seed & 0xFFFFFFFF:08x}{self._serial:024x}"
        exchange = _Exchange(request, dict(parse_query(request.query)), now)
        refusal: Refusal | None = None
        answer = Answer()
        try:
            answer = self._pass_doors(exchange)
        except Refusal as raised:
            refusal = raised
        refusal = exchange.verdict.refusal or refusal
        reply = _reply(answer, refusal, exchange.verdict, request_id)
        self.log.append(_record(exchange, reply, refusal, request_id))
        return reply

    def _pass_doors(self, exchange: _Exchange) -> Answer:
        request, now = exchange.request, exchange.now
        route = find_route(request.method, request.path)
        if route is None:
            raise not_published()
        operation = route.operation
        exchange.operation, exchange.project = operation.value, route.project
        exchange.target = route.target
        exchange.notebook = self.world.notebooks.get(route.target)
        if operation in _READ_BODY:
            body: dict[str, Any] | None = _parse_body(request.body)
            if operation not in LOGINS:
                exchange.body = body
        else:
            body = {}
        self._admit(exchange, operation)
        exchange.verdict = self._faults.verdict(operation, request.method, exchange.notebook, now)
        if not exchange.verdict.applies:
            return Answer(status=0)
        if body is None:
            refuse = iam_bad_request if operation in LOGINS else bad_parameter
            raise refuse("The request body is not a JSON object.")
        return self._carry_out(exchange, route, body)

    def _admit(self, exchange: _Exchange, operation: Operation) -> None:
        """Check the caller and count the call."""
        request = exchange.request
        if operation is not Operation.CREATE_TOKEN:
            exchange.user = self.access.admit(request, exchange.project, exchange.now).id
        kind = call_class(operation, request.method)
        caller = Caller(exchange.user, operation, request.client, kind)
        self._throttle.admit(caller, exchange.now)

    def _carry_out(self, exchange: _Exchange, route: Route, body: dict[str, Any]) -> Answer:
        if route.operation in LOGINS:
            return iam.handle(self.access, route.operation, body, exchange.query, exchange.now)
        user = self.access.user
        call = Call(route.operation, route.project, route.target, exchange.query, body, user, exchange.now)
        writes = exchange.request.method != "GET"
        if writes and exchange.notebook is not None:
            exchange.before = _facts(exchange.notebook, exchange.now)
        answer = _OPERATIONS[route.operation](self.world, call)
        exchange.applied = writes
        return answer


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


def _reply(answer: Answer, refusal: Refusal | None, verdict: Verdict, request_id: str) -> Reply:
    named = {"X-Request-Id": request_id, "Content-Type": "application/json;charset=utf-8"}
    if refusal is None:
        status, body, headers = answer.status, answer.body, {**named, **answer.headers}
    else:
        refused = refusal.reply(request_id)
        status, body, headers = refused.status, refused.body, named
    if verdict.dropped:
        return Reply(status, delay=verdict.delay, dropped=True)
    return Reply(status, body, headers, verdict.delay)


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
        user=exchange.user,
        status=reply.status,
        code="" if refusal is None else refusal.code,
        applied=exchange.applied,
        answered=not reply.dropped,
        request_id=request_id,
        before=exchange.before if show else None,
        after=_facts(notebook, exchange.now) if show and notebook is not None else None,
    )


def _facts(notebook: Notebook, now: float) -> dict[str, Any]:
    end = notebook.lease.end()
    left = None if end is None else round(end * 1000) - ms(now)
    return {"status": notebook.status.value, "lease_left": left}
