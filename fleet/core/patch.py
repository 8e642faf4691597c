"""The body of one PUT, with every constraint of the Update API page, and the field table.

A patch holds only the fields that change; None means "leave it alone". A patch that breaks a constraint
cannot exist: the constructors raise `InvalidField`. The whitelist rules are stricter than the page on
purpose, because an absent or empty list means that every public address may connect.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from msgspec import structs

from fleet.core.errors import UsageError
from fleet.core.notebook import Endpoint, Image, Notebook, Status
from fleet.core.whitelist import Breadth, address_problem

DESCRIPTION_MAX = 512
DESCRIPTION_FORBIDDEN = "&<>\"'/"
NAME_MAX = 128
STORAGE_MAX_GB = 4096
WHITELIST_MAX = 5

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class InvalidField(UsageError):
    """A value that the Update API (or our whitelist rule) does not allow."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


def require_uuid(field: str, text: str) -> str:
    """The id as given; notebook and image ids are UUIDs (Update API, tables 1 and 10).

    Raises InvalidField for anything else: an id becomes part of a URL.
    """
    if not _UUID.fullmatch(text):
        raise InvalidField(field, f"{text[:60]!r} is not a UUID such as f9937afa-4451-42db-a76b-72d624749f66")
    return text


def is_uuid(text: str) -> bool:
    """Whether `require_uuid` would take it."""
    return _UUID.fullmatch(text) is not None


class HookType(StrEnum):
    """Script type (Update API, table 6)."""

    COMMAND = "COMMAND"
    SCRIPT = "SCRIPT"


@dataclass(frozen=True, slots=True)
class Hook:
    """One startup script (Update API, table 6): base64 text for COMMAND, an absolute path for SCRIPT."""

    script: str
    type: HookType = HookType.SCRIPT

    def __post_init__(self) -> None:
        if self.type is HookType.COMMAND:
            try:
                base64.b64decode(self.script, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidField("hooks", "a COMMAND script must be Base64 text") from None
        elif not self.script.startswith("/"):
            raise InvalidField("hooks", "a SCRIPT hook must be an absolute path")
        if not self.script:
            raise InvalidField("hooks", "the script is empty")


@dataclass(frozen=True, slots=True)
class Hooks:
    """Container hooks (Update API, tables 4 and 5)."""

    pre_start: Hook | None = None
    post_start: Hook | None = None


def check_whitelist(addresses: Iterable[str], allow: Collection[Breadth] = ()) -> tuple[str, ...]:
    """One to five public IPv4 addresses, as given (Update API, table 3), or of the forms in `allow`.

    Raises InvalidField when the list is empty or too long, or holds an address that would open the
    notebook to the world or can never match: 0.0.0.0/0, private, loopback, link-local, multicast.
    """
    listed = tuple(addresses)
    where = "endpoints.allowed_access_ips"
    if not listed:
        raise InvalidField(where, "an empty list would let every public address in; name 1 to 5 addresses")
    if len(listed) > WHITELIST_MAX:
        raise InvalidField(where, f"{len(listed)} addresses, at most {WHITELIST_MAX} are allowed")
    if len(set(listed)) != len(listed):
        raise InvalidField(where, "an address is listed twice")
    for text in listed:
        if problem := address_problem(text, allow):
            raise InvalidField(where, problem)
    return listed


@dataclass(frozen=True, slots=True)
class NotebookPatch:
    """The fields of one PUT (Update API, table 2). Raises InvalidField on any broken constraint.

    `allow` is no field: it says which forms of whitelist entries are meant to be sent.
    """

    name: str | None = None
    description: str | None = None
    flavor: str | None = None
    image_id: str | None = None
    storage_new_size: int | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    hooks: Hooks | None = None
    allow: tuple[Breadth, ...] = ()

    def __post_init__(self) -> None:
        if self.name is not None:
            _check_name(self.name)
        if self.description is not None:
            _check_description(self.description)
        if self.flavor is not None and not self.flavor:
            raise InvalidField("flavor", "is empty; name a flavor such as modelarts.vm.cpu.2u")
        if self.image_id is not None:
            require_uuid("image_id", self.image_id)
        if self.storage_new_size is not None:
            _check_size(self.storage_new_size)
        if self.endpoints is not None:
            _check_endpoints(self.endpoints, self.allow)
        if self.hooks is not None and self.hooks == Hooks():
            raise InvalidField("hooks", "neither pre_start nor post_start is given")

    def fields(self) -> tuple[str, ...]:
        """Names of the fields that this patch changes."""
        return tuple(name for name in _FIELDS if getattr(self, name) is not None)

    def only(self, names: Iterable[str]) -> NotebookPatch:
        """The part of this patch that concerns `names`."""
        kept = set(names)
        left_out: dict[str, Any] = {name: None for name in self.fields() if name not in kept}
        return replace(self, **left_out)

    def __bool__(self) -> bool:
        return bool(self.fields())


_FIELDS = tuple(field.name for field in fields(NotebookPatch) if field.name != "allow")


def _check_name(name: str) -> None:
    if not name or len(name) > NAME_MAX:
        raise InvalidField("name", f"{len(name)} characters, 1 to {NAME_MAX} are allowed")
    if not _NAME.fullmatch(name):
        raise InvalidField("name", "only letters, digits, '-' and '_' are allowed")


def _check_description(text: str) -> None:
    if len(text) > DESCRIPTION_MAX:
        raise InvalidField("description", f"{len(text)} characters, at most {DESCRIPTION_MAX} are allowed")
    bad = sorted(set(text) & set(DESCRIPTION_FORBIDDEN))
    if bad:
        raise InvalidField("description", f"the characters {' '.join(bad)} are not allowed")


def _check_size(size: int) -> None:
    if not 0 < size <= STORAGE_MAX_GB:
        raise InvalidField("storage_new_size", f"{size} GB is outside 1 to {STORAGE_MAX_GB}")


def _check_endpoints(items: tuple[Endpoint, ...], allow: Collection[Breadth]) -> None:
    if not items:
        raise InvalidField("endpoints", "an empty list would remove every way in")
    for item in items:
        if item.service not in ("NOTEBOOK", "SSH"):
            raise InvalidField("endpoints.service", f"{item.service!r} is neither NOTEBOOK nor SSH")
        if item.allowed_access_ips is not None:  # to carry an open one as it was, leave the list out
            check_whitelist(item.allowed_access_ips, allow)


def opens_to_world(before: Sequence[Endpoint], after: Iterable[Endpoint]) -> str | None:
    """Says which endpoint a write would open to every address, or None.

    An endpoint that is open already may stay as it is. One with a whitelist must keep one, a new one must
    have one, and none may vanish from the list, since nobody knows whether the cloud merges or replaces.
    """
    written = list(after)
    for service in sorted({item.service for item in (*before, *written)}):
        was = [item for item in before if item.service == service]
        will = [item for item in written if item.service == service]
        if len(will) < len(was):
            return f"the {service} endpoint would be left out of the list"
        if sum(item.open for item in will) > sum(item.open for item in was):
            return f"the {service} endpoint would have no whitelist and be open to the world"
    return None


def to_body(patch: NotebookPatch) -> dict[str, Any]:
    """The JSON body of the PUT: exactly the fields that change. An absent whitelist stays absent."""
    body: dict[str, Any] = {name: getattr(patch, name) for name in patch.fields()}
    if patch.endpoints is not None:
        body["endpoints"] = endpoints_json(patch.endpoints)
    if patch.hooks is not None:
        body["hooks"] = {"container_hooks": _hooks_json(patch.hooks)}
    return body


def from_body(body: Mapping[str, Any], allow: Iterable[Breadth] = ()) -> NotebookPatch:
    """The patch that `to_body` wrote. Raises InvalidField for an unknown field or a broken constraint."""
    values = dict(body)
    for name, value in body.items():
        if name not in _FIELDS:
            raise InvalidField(name, f"is not a field of the update; known are {', '.join(sorted(_FIELDS))}")
        try:
            values[name] = _FROM_BODY[name](value)
        except (TypeError, KeyError, ValueError, AttributeError):
            raise InvalidField(name, "does not have the shape that the update takes") from None
    return NotebookPatch(**values, allow=tuple(allow))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def endpoints_of(rows: Any) -> tuple[Endpoint, ...]:
    """Endpoint items from the form of the PUT body."""
    return tuple(_endpoint(row) for row in rows)


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    keys, ips = row.get("key_pair_names"), row.get("allowed_access_ips")
    return Endpoint(
        service=_text(row["service"]),
        key_pair_names=None if keys is None else tuple(map(_text, keys)),
        allowed_access_ips=None if ips is None else tuple(map(_text, ips)),
    )


def _hooks(value: Mapping[str, Any]) -> Hooks:
    return Hooks(
        **{
            when: Hook(_text(item["script"]), HookType(item["type"]))
            for when, item in value["container_hooks"].items()
        }
    )


_FROM_BODY: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "description": _text,
    "flavor": _text,
    "image_id": _text,
    "storage_new_size": _size,
    "endpoints": endpoints_of,
    "hooks": _hooks,
}


def _hooks_json(hooks: Hooks) -> dict[str, Any]:
    named = {"pre_start": hooks.pre_start, "post_start": hooks.post_start}
    return {k: {"script": h.script, "type": h.type.value} for k, h in named.items() if h is not None}


def endpoints_json(items: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """Endpoint items as the PUT takes them; keys that were absent stay absent."""
    rows = []
    for item in items:
        row: dict[str, Any] = {"service": item.service}
        if item.key_pair_names is not None:
            row["key_pair_names"] = list(item.key_pair_names)
        if item.allowed_access_ips:
            row["allowed_access_ips"] = list(item.allowed_access_ips)
        rows.append(row)
    return rows


# Where the present value of a patch field is found on the notebook, in the form of the body.
# Hooks are missing: no answer of the cloud carries them, so they can be neither compared nor undone.
_READERS: Mapping[str, Callable[[Notebook], Any]] = {
    "name": lambda notebook: notebook.name,
    "description": lambda notebook: notebook.description,
    "flavor": lambda notebook: notebook.flavor,
    "image_id": lambda notebook: notebook.image.id,
    "storage_new_size": lambda notebook: notebook.volume.capacity if notebook.volume else 0,
    "endpoints": lambda notebook: endpoints_json(notebook.endpoints),
}


def read_field(notebook: Notebook, field: str) -> Any:
    """The present value of a patch field in the form of the PUT body; None when no answer carries it."""
    reader = _READERS.get(field)
    return None if reader is None else reader(notebook)


def readable(field: str) -> bool:
    """Whether the cloud shows the field's value, so that a write can be proven."""
    return field in _READERS


def with_patch(notebook: Notebook, patch: NotebookPatch) -> Notebook:
    """The notebook as it will be read once `patch` has been made to it; what no answer shows stays."""
    plain = ("name", "description", "flavor", "endpoints")
    values: dict[str, Any] = {name: getattr(patch, name) for name in plain if name in patch.fields()}
    if patch.image_id is not None and patch.image_id != notebook.image.id:
        values["image"] = Image(patch.image_id)
    if patch.storage_new_size is not None and notebook.volume is not None:
        values["volume"] = structs.replace(notebook.volume, capacity=patch.storage_new_size)
    return structs.replace(notebook, **values)


class When(StrEnum):
    """The run state that a field may be sent in."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    ANY = "ANY"

    def allows(self, status: Status) -> bool:
        return self is When.ANY or self._value_ == status._value_


# The Update API page says "stopped" for everything; the error code 6347 is worded per field and state, and
# the vendor's own tools rename running notebooks and grow running disks. So: first try here, and a
# refusal with 6347 moves the field to the other state for the rest of the run.
FIELD_TABLE: Mapping[str, When] = {
    "name": When.ANY,
    "description": When.ANY,
    "storage_new_size": When.RUNNING,
    "flavor": When.STOPPED,
    "image_id": When.STOPPED,
    "endpoints": When.STOPPED,
    "hooks": When.STOPPED,
}
