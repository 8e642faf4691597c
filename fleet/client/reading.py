"""One notebook from the bytes of an answer, the short way: no dictionary and no model in between.

The shape is that of `rows`, which stays the judge: what is read here is read there alike, and whatever is
not plainly as documented is left to it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, json
from pydantic_core import from_json

from fleet.client import rows
from fleet.client.wire import decoded
from fleet.core.errors import CallError
from fleet.core.notebook import Endpoint, Flavor, Image, Lease, LeaseType, Notebook, Volume
from fleet.core.text import clean

LARGEST = 8 * 1024  # bytes of a part that is remembered; an answer with a longer one takes the long way
_REMEMBERED = 1024  # parts that many notebooks have alike, by their bytes

_UNNAMED = ("", "")

Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
Text = str | None
Words = tuple[str, ...] | None


class _Lease(Struct, gc=False):
    enable: bool | None = None
    type: LeaseType | None = None
    create_at: Number = None
    duration: Number = None
    update_at: Number = None


class _Endpoint(Struct, gc=False):
    service: Text = None
    dev_service: Text = None
    key_pair_names: Words = None
    ssh_keys: Words = None
    allowed_access_ips: Words = None
    uri: Text = None


class _Named(Struct, gc=False):
    id: Text = None
    name: Text = None


class _Tag(Struct, gc=False):
    key: str
    value: Text = None


class _Notebook(Struct, gc=False):
    id: str
    error_code: Any = None
    status: Text = None
    name: Text = None
    description: Text = None
    fail_reason: Text = None
    feature: Text = None
    flavor: Text = None
    custom_spec: Raw = Raw()
    image: Raw = Raw()
    lease: _Lease | None = None
    pool: Raw = Raw()
    volume: Raw = Raw()
    endpoints: tuple[_Endpoint, ...] | None = None
    workspace_id: Text = None
    user: Raw = Raw()
    user_id: Text = None
    tags: tuple[_Tag, ...] | None = None
    create_at: Number = None
    update_at: Number = None
    current_time: Number = None


class _Page(Struct, gc=False):
    data: list[_Notebook]
    total: Annotated[int, Meta(ge=0)]
    error_code: Any = None


_NOTEBOOK = json.Decoder(_Notebook)
_PAGE = json.Decoder(_Page)
_NAMED = json.Decoder(_Named | None)
_once = rows.once


def notebook(body: bytes) -> Notebook | None:
    """The notebook in the answer of ShowNotebook; None when `rows` should judge."""
    row = decoded(_NOTEBOOK, body)
    if row is None or row.error_code:
        return None
    try:
        return _value(row)
    except (CallError, ValueError):
        return None


def notebooks(body: bytes) -> rows.Page | None:
    """A page of the answers of ListNotebooks and ListAllNotebooks; None when `rows` should judge."""
    page = decoded(_PAGE, body)
    if page is None or page.error_code:
        return None
    try:
        return rows.Page([_value(row) for row in page.data], page.total)
    except (CallError, ValueError):
        return None


def _value(row: _Notebook) -> Notebook:
    """The fields are given in their order: by name a notebook takes six times as long to make."""
    status, word = rows.condition(row.status or "", None)  # what lease makes it strange is not read here
    flavor = _once(row.flavor or "")
    pool_id, pool_name = _named(bytes(row.pool)) if row.pool else _UNNAMED
    user_id, user_name = _named(bytes(row.user)) if row.user else _UNNAMED
    return Notebook(
        row.id,
        status,
        row.name or "",
        row.description or "",
        clean(row.fail_reason) if row.fail_reason else "",
        _once(row.feature or ""),
        flavor,
        _custom_spec(bytes(row.custom_spec), flavor) if row.custom_spec else None,
        _image(bytes(row.image)),
        _lease(row.lease) if row.lease else None,
        pool_id,
        pool_name,
        _volume(bytes(row.volume)),
        tuple([_endpoint(one) for one in row.endpoints]) if row.endpoints else (),
        _once(row.workspace_id or ""),
        user_name,
        user_id or (_once(row.user_id) if row.user_id else ""),
        {tag.key: tag.value or "" for tag in row.tags} if row.tags else rows.NO_TAGS,
        row.create_at or 0,
        row.update_at or 0,
        row.current_time or 0,
        word,
    )


def _lease(row: _Lease) -> Lease:
    return Lease(
        row.enable or False,
        row.type or LeaseType.TIMING,
        row.create_at or 0,
        row.duration or 0,
        row.update_at or 0,
    )


def _endpoint(row: _Endpoint) -> Endpoint:
    return Endpoint(
        _once(row.service or row.dev_service or ""),
        _once(rows.key_names(row.key_pair_names, row.ssh_keys)),
        _once(row.allowed_access_ips),
        row.uri or "",
    )


def _told(text: bytes) -> bool:
    """Whether a part is there. Raises ValueError, and so nothing is remembered, where it is too long."""
    if len(text) > LARGEST:
        raise ValueError("too long to be remembered")
    return text not in (b"", b"null")


@lru_cache(_REMEMBERED)
def _named(text: bytes) -> tuple[str, str]:
    """Id and name of a pool or a user."""
    named = _NAMED.decode(text) if _told(text) else None
    return _UNNAMED if named is None else (named.id or "", named.name or "")


@lru_cache(_REMEMBERED)
def _image(text: bytes) -> Image:
    return rows.image(from_json(text, allow_inf_nan=False) if _told(text) else {})


@lru_cache(_REMEMBERED)
def _volume(text: bytes) -> Volume | None:
    return rows.volume(from_json(text, allow_inf_nan=False)) if _told(text) else None


@lru_cache(_REMEMBERED)
def _custom_spec(text: bytes, flavor: str) -> Flavor | None:
    return rows.custom_spec(from_json(text, allow_inf_nan=False), flavor) if _told(text) else None
