"""A plan as a file: sealed, written and read row by row, since it may hold a million notebooks.

The digest covers everything in the file, so that a changed byte is noticed. Whoever reads a plan gets it
with the rules of the update checked once more. What a plan says is in `plan`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from fleet.core.changing.saved_image import body_of
from fleet.core.errors import UsageError
from fleet.core.patch import InvalidField, endpoints_of, from_body, opens_to_world
from fleet.core.planning.members import members
from fleet.core.planning.plan import FORMAT, Change, Plan, Settled

_PLANS: TypeAdapter[Plan] = TypeAdapter(Plan)
PLAN_BEGINS = b'{\n"format":'  # every plan's file, of any format
_CHANGES, _ITEM = b'"changes": [', b'{"item":'  # where the changes begin, and each of them
_LEFT_OUT = b'"outcome":"not-started"'
_ROWS: Mapping[str, TypeAdapter[Any]] = {"changes": TypeAdapter(Change), "settled": TypeAdapter(Settled)}
_REPEATED = ("scope", "owner", "pool", "flavor", "reason")  # texts that many rows have alike


@lru_cache(4096)
def _once(text: str) -> str:
    """The text, in the object of an equal one met before."""
    return text


def seal(plan: Plan) -> Plan:
    """The same plan with its digest."""
    seal = _Seal()
    for key, value in _head(plan).items():
        seal.cover(key, _json(value))
    for key in _ROWS:
        for row in _rows(plan, key):
            seal.cover(key, row)
    return replace(plan, digest=seal.digest)


def dump_plan(plan: Plan) -> bytes:
    """The plan's file as one piece."""
    whole = BytesIO()  # joining would hold every piece beside the whole
    whole.writelines(plan_pieces(plan))
    return whole.getvalue()


def plan_pieces(plan: Plan) -> Iterator[bytes]:
    """The plan's file piece by piece: JSON that a person can read, with a line for each notebook."""
    mark = b"{\n"
    for key, value in _head(plan).items():
        yield b'%s"%s": %s' % (mark, key.encode(), _json(value))
        mark = b",\n"
    for key in _ROWS:
        yield b'%s"%s": [' % (mark, key.encode())
        mark = b"\n"
        for row in _rows(plan, key):
            yield mark + row
            mark = b",\n"
        yield b"\n]"
        mark = b",\n"
    yield b"\n}\n"


def load_plan(data: bytes, where: str) -> Plan:
    """The plan in `data`. Raises UsageError when it is no plan, of another format, or was altered."""
    rows: dict[str, list[Any]] = {key: [] for key in _ROWS}

    def keep(key: str, row: Any) -> None:
        if isinstance(row, dict):
            row |= {name: _once(row[name]) for name in _REPEATED if isinstance(row.get(name), str)}
        with suppress(ValidationError):  # told below, after the seal
            row = _ROWS[key].validate_python(row)
        rows[key].append(row)

    head = _unsealed(data, where, keep)
    try:
        plan = _PLANS.validate_python({**head, **rows})
        for change in plan.changes:
            _check_change(change)
        if plan.staged:
            _check_stages(plan.changes)
        return plan
    except InvalidField as problem:
        raise UsageError(f"{where}: {problem}; plan again") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {place}: {first['msg']}; plan again") from None


def plan_excerpt(lines: Iterable[bytes], items: Collection[int]) -> Plan:
    """The plan whose file has these lines, with the changes `items`, what it left out (settled as
    not-started), and no other row.

    The lines are those of `plan_pieces`, and nothing looks at the seal: the caller knows that they are whole.
    Raises ValueError when a change is missing.
    """
    wanted, head, changes = set(items), list[bytes](), list[Any]()
    passing = iter(lines)
    for line in passing:
        if line == _CHANGES:
            break
        head.append(line)
    for line in passing:
        if not line.startswith(_ITEM):
            break
        if int(line[len(_ITEM) : line.index(b",")]) in wanted:
            changes.append(json.loads(line.removesuffix(b",")))
    if len(changes) != len(wanted):
        raise ValueError("some changes are not in the plan")
    settled = [json.loads(line.removesuffix(b",")) for line in passing if _LEFT_OUT in line]
    known = json.loads(b"".join(head).removesuffix(b",") + b"}")
    return _PLANS.validate_python({**known, "changes": changes, "settled": settled})


def plan_digest(data: bytes, where: str) -> str:
    """The digest of the plan in `data`; raises as `load_plan`, but looks at nothing beyond the seal."""
    return str(_unsealed(data, where, lambda key, row: None)["digest"])


def _unsealed(data: bytes, where: str, take: Callable[[str, Any], None]) -> dict[str, Any]:
    """The members of the plan in `data` but for its rows, which `take` gets before the seal is checked."""
    head: dict[str, Any] = {}
    seal = _Seal()
    try:
        for key, value in members(TextIOWrapper(BytesIO(data), "utf-8", newline=""), _ROWS):
            seal.cover(key, _json(value))
            if key in _ROWS:
                take(key, value)
            else:
                head[key] = value
    except (ValueError, RecursionError):
        raise UsageError(
            f"{where}: not a plan file (no JSON); make one with: fleet plan JOB -o FILE"
        ) from None
    if head.get("format") != FORMAT:
        raise UsageError(f"{where}: not a plan of format {FORMAT}; make one with: fleet plan JOB -o FILE")
    if head.get("digest") != seal.digest:
        raise UsageError(f"{where}: the plan was altered after it was sealed; plan again")
    return head


def _check_change(change: Change) -> None:
    """The rules of the update and of whitelists, once more: a file may have been sealed by anybody."""
    if change.save:
        body_of(change.save, change.save_in)
    for phase in change.phases:
        patch = from_body(phase.body, change.allow)
        if patch.endpoints is not None:
            opened = opens_to_world(endpoints_of(change.before.get("endpoints", [])), patch.endpoints)
            if opened:
                raise InvalidField("endpoints", opened)


def _check_stages(changes: Iterable[Change]) -> None:
    """No stage may come before the one that it follows, or follow another notebook's."""
    earlier: dict[int, Change] = {}
    for change in changes:
        if change.follows is not None:
            before = earlier.get(change.follows)
            whose = None if before is None or before.wave >= change.wave else (before.scope, before.id)
            if whose != (change.scope, change.id):
                raise InvalidField("follows", f"item {change.item} follows no earlier stage of its notebook")
        earlier[change.item] = change


class _Seal:
    """What the digest is made of: every member in its order but the digest itself, each row as a member."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def cover(self, key: str, value: bytes) -> None:
        if key != "digest":
            self._hash.update(b"%s: %s\n" % (_json(key), value))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _head(plan: Plan) -> dict[str, Any]:
    """The members of the plan but for its rows."""
    head: dict[str, Any] = _PLANS.dump_python(plan, mode="json", exclude=set(_ROWS))
    return head


def _rows(plan: Plan, key: str) -> Iterator[bytes]:
    return (_ROWS[key].dump_json(row, ensure_ascii=True) for row in getattr(plan, key))


def _json(value: Any) -> bytes:
    return to_json(value, ensure_ascii=True)
