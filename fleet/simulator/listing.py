"""ListNotebooks and ListAllNotebooks: filters, order, pages (query table of the List API).

What never changes in a notebook (feature, workspace, owner) is answered from prepared slices;
everything else is looked at row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleet.simulator.messages import Answer, Call
from fleet.simulator.paging import Page
from fleet.simulator.queries import choice, number, sort
from fleet.simulator.refusals import Refusal, bad_parameter
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status
from fleet.simulator.views import billing_items, render, swr_path
from fleet.simulator.world import Notebook, World

PAGE_SIZES = (10, 20, 50)

Test = Callable[[Notebook], bool]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_OWNER = re.compile(r"[0-9a-z]{32}\Z")
_POOL = re.compile(r"[a-z].{3,63}\Z")
_TAG = re.compile(r"[\w .:/=+@-]+(\|[\w .:/=+@-]*)?\Z")

_SORT_KEYS: Mapping[str, Callable[[Notebook], Any]] = {
    "create_at": lambda row: (row.create_at, row.id),
    "createTime": lambda row: (row.create_at, row.id),
    "update_at": lambda row: (row.update_at, row.id),
    "updateTime": lambda row: (row.update_at, row.id),
    "name": lambda row: (row.name, row.id),
}


def list_notebooks(world: World, call: Call) -> Answer:
    """GET /notebooks, the calling user's; GET /notebooks/all, every user's or one owner's."""
    page = _page(world, call.query)
    rows = selected(world, call)
    shown = page.cut(rows) if call.cut is None else call.cut(page, rows)
    numbers = page.numbers(len(rows), first=0)
    body = b",".join([render(world, row) for row in shown])
    return Answer(
        b'{"current":%d,"data":[' % numbers["current"]
        + body
        + b'],"pages":%d,"size":%d,"total":%d}' % (numbers["pages"], numbers["size"], numbers["total"])
    )


def selected(world: World, call: Call) -> Sequence[Notebook]:
    """All rows that a call to one of the two lists is about, in its order."""
    query = call.query
    rows = world.rows(
        call.project,
        choice(query, "feature", ("NOTEBOOK", "DEFAULT"), "NOTEBOOK"),
        _workspace(world, query),
        _owner(world, call),
    )
    for test in _tests(world, query):
        rows = [row for row in rows if test(row)]
    return _order(world, query, rows)


def _owner(world: World, call: Call) -> str:
    """Whose rows ("": everybody's)."""
    if call.operation is Operation.LIST_ALL_NOTEBOOKS:
        return _matching(call.query, "owner", _OWNER)
    return call.user.id if world.rules.list_own == "caller" else ""


def _page(world: World, query: Mapping[str, str]) -> Page:
    limit = number(query, "limit", PAGE_SIZES[0], least=1)
    if limit not in PAGE_SIZES:
        if world.rules.list_limit == "refuse":
            raise bad_parameter("The parameter limit must be 10, 20 or 50.")
        limit = next((size for size in PAGE_SIZES if size >= limit), PAGE_SIZES[-1])
    return Page(limit, number(query, "offset", 0))


def _workspace(world: World, query: Mapping[str, str]) -> str:
    spelled = world.rules.workspace_query
    names = ("workspace_id", "workspaceId") if spelled == "both" else (spelled,)
    for name in names:
        if name in query:
            return query[name]
    return "0" if world.rules.workspace_default == "zero" else ""


def _order(world: World, query: Mapping[str, str], rows: Sequence[Notebook]) -> Sequence[Notebook]:
    if "sort_key" in query:
        return sort(rows, query, _SORT_KEYS)
    descending = choice(query, "sort_dir", ("ASC", "DESC"), "DESC") == "DESC"
    if world.rules.list_order == "update_at":
        return sorted(rows, key=_SORT_KEYS["update_at"], reverse=descending)
    return rows if descending else rows[::-1]


def _tests(world: World, query: Mapping[str, str]) -> Sequence[Test]:
    """The tests that the query asks for."""
    tests: list[Test] = []
    for name, make in _FILTERS.items():
        if name in query:
            tests.append(make(query[name]))
    if "status" in query:
        status = choice(query, "status", tuple(Status), "")
        tests.append(lambda row: row.status == status)
    if "image_id" in query:
        image_id = _matching(query, "image_id", _UUID)
        tests.append(lambda row: row.image.id == image_id)
    if "id" in query:
        notebook_id = _matching(query, "id", _UUID)
        tests.append(lambda row: row.id == notebook_id)
    if "pool_id" in query:
        pool_id = _matching(query, "pool_id", _POOL)
        tests.append(lambda row: row.pool is not None and row.pool["id"] == pool_id)
    if "tags" in query:
        tests.append(_tags(query["tags"], every=world.rules.tags_filter == "and"))
    if "billing" in query:
        item = choice(query, "billing", ("COMPUTE", "STORAGE", "ALL"), "ALL")
        tests.append(lambda row: item == "ALL" or item in billing_items(row))
    return tests


def _fuzzy(name: str, most: int, read: Callable[[Notebook], str]) -> Callable[[str], Test]:
    """A filter that is true when the wanted text occurs, in any case of letters."""

    def make(wanted: str) -> Test:
        if len(wanted) > most:
            raise bad_parameter(f"The parameter {name} is longer than {most} characters.")
        wanted = wanted.casefold()
        return lambda row: wanted in read(row).casefold()

    return make


_FILTERS: Mapping[str, Callable[[str], Test]] = {
    "name": _fuzzy("name", 128, lambda row: row.name),
    "description": _fuzzy("description", 512, lambda row: row.description),
    "flavor": _fuzzy("flavor", 256, lambda row: row.flavor),
    "username": _fuzzy("username", 256, lambda row: row.user.name),
    "swr_path": _fuzzy("swr_path", 2048, lambda row: swr_path(row.image)),
    "pool_name": _fuzzy("pool_name", 64, lambda row: row.pool["name"] if row.pool else ""),
    "ip": lambda wanted: lambda row: row.ip == wanted,
}


def _matching(query: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    value = query.get(name, "")
    if value and not pattern.match(value):
        raise bad_parameter(f"The parameter {name} is malformed.")
    return value


def _tags(text: str, *, every: bool) -> Test:
    """``key|value,key|value``; a value that is left out matches any."""
    wanted: list[tuple[str, str | None]] = []
    for part in text.split(","):
        if not _TAG.match(part):
            raise Refusal("ModelArts.0104", "The parameter tags is malformed.")
        key, bar, value = part.partition("|")
        wanted.append((key, value if bar else None))
    combine = all if every else any

    def test(row: Notebook) -> bool:
        return combine(key in row.tags and value in (None, row.tags[key]) for key, value in wanted)

    return test
