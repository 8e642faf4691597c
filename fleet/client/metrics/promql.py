"""A source that speaks Prometheus's query API: AOM's, signed like every other call, or a plain server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import anyio

from fleet.client.caller import Caller
from fleet.client.wire import Kind, Request, canonical_query
from fleet.core.errors import CallError, Meaning
from fleet.core.metrics import Queries
from fleet.core.text import clean
from fleet.core.usage import Book, Resource

CAP = 16 * 1024 * 1024  # bytes of one answer
AT_ONCE = 1000
UNDER_WAY = 4  # answers are large: no more than this many in memory at once


class PromQL:
    """Asks at `path` (up to and with query_range), one query a resource for many notebooks."""

    def __init__(self, caller: Caller, path: str, queries: Queries, name: str) -> None:
        self.name = name
        self.step = queries.step
        self.at_once = AT_ONCE
        self._caller = caller
        self._path = path
        self._queries = queries

    async def read(self, resources: Collection[Resource], book: Book) -> None:
        """See `Source.read`."""
        room, failures = anyio.CapacityLimiter(UNDER_WAY), list[CallError]()
        batches = list(self._queries.batches(book.notebooks, book.window))
        questions = [(name, self._queries.text(name, ids)) for ids in batches for name in resources]

        async def one(resource: Resource, query: str) -> None:
            try:
                async with room:
                    await self._ask(resource, query, book)
            except CallError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for resource, query in questions:
                group.start_soon(one, resource, query)
        if failures:
            raise _about_metrics(failures[0]) from None

    async def _ask(self, resource: Resource, query: str, book: Book) -> None:
        asked: dict[str, str | int] = {
            "query": query,
            # A sample tells of the interval that ends with it.
            "start": int(book.begin + self.step),
            "end": int(book.until),
            "step": int(self.step),
        }
        request = Request("metrics", Kind.READ, "GET", self._path, canonical_query(asked), cap=CAP)
        answer = await self._caller.call(request)
        self._take(answer.payload, resource, book)

    def _take(self, payload: Mapping[str, Any], resource: Resource, book: Book) -> None:
        for series in _matrix(payload):
            try:
                notebook = series["metric"].get(self._queries.label)
                for at, value in series["values"]:
                    book.take(notebook, resource, float(at) - self.step, float(value))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise _odd("a series is not as Prometheus gives it") from None


def _matrix(payload: Mapping[str, Any]) -> Sequence[Any]:
    """The series in an answer. Raises CallError (ODD) when it is none of a range query."""
    if payload.get("status") != "success":
        raise _odd(f"the query did not succeed: {clean(str(payload.get('error', 'no reason given')))}")
    data = payload.get("data")
    found = data.get("result") if isinstance(data, dict) else None
    if not isinstance(found, list) or data is None or data.get("resultType") != "matrix":
        raise _odd("the answer is not that of a range query")
    return found


def _odd(text: str) -> CallError:
    return CallError(Meaning.ODD, text)


def _about_metrics(error: CallError) -> CallError:
    """The same error, told apart from one of the notebooks' own API."""
    return error.reworded(f"usage cannot be read: {error.text}")
