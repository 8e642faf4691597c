"""One notebook from the bytes of an answer, the short way: no dictionary and no model in between.

The shape is that of `rows`, which stays the judge: what is read here is read there alike, and whatever is
not plainly as documented is left to it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Raw, Struct, json
from pydantic_core import from_json

from fleet.client import rows
from fleet.client.wire import decoded
from fleet.core.errors import CallError
from fleet.core.notebook import Endpoint, Flavor, Image, Lease, Notebook, Volume
from fleet.core.text import clean

LARGEST = 8 * 1024  # bytes of a part that is remembered; an answer with a longer one takes the long way
_REMEMBERED = 1024  # parts that many notebooks have alike, by their bytes

_NULL = (b"", b"null")

Number = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
Text = str | None
Words = tuple[str, ...] | None


class _Lease(Struct, gc=False):
    enable: bool | None = None
    type: Text = None
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
    error_code: Raw = Raw()
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
    error_code: Raw = Raw()


_NOTEBOOK = json.Decoder(_Notebook)
_PAGE = json.Decoder(_Page)
_NAMED = json.Decoder(_Named | None)
_once = rows.once


def notebook(body: bytes) -> Notebook | None:
    """The notebook in the answer of ShowNotebook; None when `rows` should judge."""
    row = decoded(_NOTEBOOK, body)
    if row is None or bytes(row.error_code) not in _NULL:
        return None
    try:
        return _value(row)
    except (CallError, ValueError):
        return None


def notebooks(body: bytes) -> rows.Page | None:
    """A page of the answers of ListNotebooks and ListAllNotebooks; None when `rows` should judge."""
    page = decoded(_PAGE, body)
    if page is None or bytes(page.error_code) not in _NULL:
        return None
    try:
        return rows.Page([_value(row) for row in page.data], page.total)
    except (CallError, ValueError):
        return None


def _value(row: _Notebook) -> Notebook:
    lease, flavor = row.lease, _once(row.flavor or "")
    status, word = rows.condition(row.status or "", None if lease is None else lease.type or "")
    pool_id, pool_name = _named(_part(row.pool))
    user_id, user_name = _named(_part(row.user))
    return Notebook(
        id=row.id,
        status=status,
        status_word=word,
        name=row.name or "",
        description=row.description or "",
        fail_reason=clean(row.fail_reason) if row.fail_reason else "",
        feature=_once(row.feature or ""),
        flavor=flavor,
        custom_spec=_custom_spec(_part(row.custom_spec), flavor) if row.custom_spec else None,
        image=_image(_part(row.image)),
        lease=None if lease is None else _lease(lease),
        pool_id=pool_id,
        pool_name=pool_name,
        volume=_volume(_part(row.volume)),
        endpoints=tuple([_endpoint(one) for one in row.endpoints]) if row.endpoints else (),
        workspace_id=_once(row.workspace_id or ""),
        owner=user_name,
        owner_id=user_id or (_once(row.user_id) if row.user_id else ""),
        tags={tag.key: tag.value or "" for tag in row.tags} if row.tags else rows.NO_TAGS,
        create_at=row.create_at or 0,
        update_at=row.update_at or 0,
        current_time=row.current_time or 0,
    )


def _part(raw: Raw) -> bytes:
    text = bytes(raw)
    if len(text) > LARGEST:
        raise ValueError("too long to be remembered")
    return text


def _lease(row: _Lease) -> Lease:
    return Lease(
        row.enable or False,
        rows.lease_type(row.type or ""),
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


@lru_cache(_REMEMBERED)
def _named(text: bytes) -> tuple[str, str]:
    """Id and name of a pool or a user."""
    named = None if text in _NULL else _NAMED.decode(text)
    return ("", "") if named is None else (named.id or "", named.name or "")


@lru_cache(_REMEMBERED)
def _image(text: bytes) -> Image:
    return rows.image({} if text in _NULL else from_json(text, allow_inf_nan=False))


@lru_cache(_REMEMBERED)
def _volume(text: bytes) -> Volume | None:
    return None if text in _NULL else rows.volume(from_json(text, allow_inf_nan=False))


@lru_cache(_REMEMBERED)
def _custom_spec(text: bytes, flavor: str) -> Flavor | None:
    return None if text in _NULL else rows.custom_spec(from_json(text, allow_inf_nan=False), flavor)
