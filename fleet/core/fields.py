"""What a selector may ask of a notebook: every field with its type, its meaning and how it is read.

The one table behind type checking, evaluation (`selector`), the list a person sees, and spelling advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.core.notebook import Endpoint, LeaseType, Notebook, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subject:
    """The notebook that a selector is asked about, the scope that holds it, and wall time in ms."""

    notebook: Notebook
    scope: str
    now: int


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `type` is CEL's name for it; `words` are all the values it can have, where that is closed.

    `read` gives None when the notebook has no value; `absent` then says why and what to ask first.
    """

    name: str
    type: str
    meaning: str
    read: Callable[[Subject], Any]
    absent: str = ""
    words: tuple[str, ...] = ()


def _moment(ms: int) -> datetime | None:
    """The instant, or None when the cloud gave none or nonsense: year one would pass for "very old"."""
    try:
        return _EPOCH + timedelta(milliseconds=ms) if ms > 0 else None
    except OverflowError:
        return None


def _left(subject: Subject) -> timedelta | None:
    notebook, lease = subject.notebook, subject.notebook.lease
    if lease is None or not lease.enable:
        return None
    try:
        return timedelta(milliseconds=lease.left(notebook.current_time or subject.now))
    except OverflowError:
        return None


def _created(subject: Subject) -> datetime | None:
    lease = subject.notebook.lease
    return _moment(subject.notebook.create_at or (lease.create_at if lease else 0))


def _updated(subject: Subject) -> datetime | None:
    lease = subject.notebook.lease
    return _moment(subject.notebook.update_at or (lease.update_at if lease else 0))


def _ssh(subject: Subject) -> Iterator[Endpoint]:
    return (endpoint for endpoint in subject.notebook.endpoints if endpoint.service == "SSH")


def _keys(subject: Subject) -> list[str]:
    return [key for endpoint in _ssh(subject) for key in endpoint.key_pair_names or ()]


def _whitelist(subject: Subject) -> list[str]:
    return [address for endpoint in _ssh(subject) for address in endpoint.allowed_access_ips or ()]


def _lease_word(subject: Subject) -> str:
    return subject.notebook.lease.type.value if subject.notebook.lease else ""


def _volume(attribute: str) -> Callable[[Subject], Any]:
    return lambda subject: getattr(subject.notebook.volume, attribute) if subject.notebook.volume else ""


def _capacity(subject: Subject) -> int | None:
    return subject.notebook.volume.capacity if subject.notebook.volume else None


_NO_TIME = "the cloud's answer carries no such time"

_TABLE = (
    Field("id", "string", "instance ID", lambda s: s.notebook.id),
    Field("name", "string", "instance name", lambda s: s.notebook.name),
    Field("scope", "string", "the scope that holds it", lambda s: s.scope),
    Field(
        "status",
        "string",
        "RUNNING, STOPPED and so on; ? for a word that is not documented",
        lambda s: s.notebook.status.value,
        words=tuple(Status),
    ),
    Field(
        "status_word",
        "string",
        "the cloud's own word for the status",
        lambda s: s.notebook.status_word or s.notebook.status.value,
    ),
    Field("description", "string", "instance description", lambda s: s.notebook.description),
    Field(
        "fail_reason",
        "string",
        "why the instance failed; empty if it did not",
        lambda s: s.notebook.fail_reason,
    ),
    Field("feature", "string", "NOTEBOOK (billed) or DEFAULT (free CodeLab)", lambda s: s.notebook.feature),
    Field(
        "flavor", "string", "machine specifications, such as modelarts.vm.cpu.2u", lambda s: s.notebook.flavor
    ),
    Field("owner", "string", "name of the IAM user", lambda s: s.notebook.owner),
    Field("owner_id", "string", "ID of the IAM user", lambda s: s.notebook.owner_id),
    Field("workspace", "string", "workspace ID; 0 is the default one", lambda s: s.notebook.workspace_id),
    Field("pool.id", "string", "dedicated pool ID; empty in the public pool", lambda s: s.notebook.pool_id),
    Field("pool.name", "string", "dedicated pool name", lambda s: s.notebook.pool_name),
    Field(
        "tags",
        "map(string, string)",
        "tags by key; has(tags.keep) asks for one",
        lambda s: dict(s.notebook.tags),
    ),
    Field("image.id", "string", "image ID", lambda s: s.notebook.image.id),
    Field("image.name", "string", "image name", lambda s: s.notebook.image.name),
    Field(
        "image.arch",
        "string",
        "processor architecture, in lower case",
        lambda s: s.notebook.image.arch.lower(),
        words=("x86_64", "aarch64", ""),
    ),
    Field("image.status", "string", "ACTIVE when it can be used", lambda s: s.notebook.image.status),
    Field("image.type", "string", "BUILD_IN or DEDICATED (one you saved)", lambda s: s.notebook.image.type),
    Field("image.tag", "string", "image tag", lambda s: s.notebook.image.tag),
    Field("image.namespace", "string", "SWR organization", lambda s: s.notebook.image.namespace),
    Field("image.origin", "string", "CUSTOMIZE or IMAGE_SAVE", lambda s: s.notebook.image.origin),
    Field("image.swr_path", "string", "SWR image path", lambda s: s.notebook.image.swr_path),
    Field("image.service_type", "string", "COMMON, DEV, TRAIN ...", lambda s: s.notebook.image.service_type),
    Field("image.visibility", "string", "PRIVATE or PUBLIC", lambda s: s.notebook.image.visibility),
    Field(
        "image.flavor_type",
        "string",
        "Ascend type, such as ASCEND_SNT9",
        lambda s: s.notebook.image.flavor_type,
    ),
    Field("image.description", "string", "image description", lambda s: s.notebook.image.description),
    Field("image.workspace", "string", "workspace ID of the image", lambda s: s.notebook.image.workspace_id),
    Field("image.size", "int", "image size in KB", lambda s: s.notebook.image.size),
    Field(
        "image.resource_categories",
        "list(string)",
        "CPU, GPU, ASCEND",
        lambda s: list(s.notebook.image.resource_categories),
    ),
    Field(
        "image.dev_services", "list(string)", "NOTEBOOK, SSH", lambda s: list(s.notebook.image.dev_services)
    ),
    Field(
        "image.created",
        "timestamp",
        "when the image was created",
        lambda s: _moment(s.notebook.image.create_at),
        absent=_NO_TIME,
    ),
    Field(
        "image.updated",
        "timestamp",
        "when the image was last updated",
        lambda s: _moment(s.notebook.image.update_at),
        absent=_NO_TIME,
    ),
    Field(
        "lease.enabled",
        "bool",
        "whether auto stop is on",
        lambda s: s.notebook.lease is not None and s.notebook.lease.enable,
    ),
    Field("lease.type", "string", "TIMING or IDLE", _lease_word, words=(*LeaseType, "")),
    Field(
        "lease.left",
        "duration",
        "time until auto stop",
        _left,
        absent="auto stop is off; ask lease.enabled first",
    ),
    Field("volume.category", "string", "SFS, EVS, OBS, OBSFS or EFS", _volume("category")),
    Field("volume.capacity", "int", "storage capacity in GB", _capacity, absent="it has no volume"),
    Field("volume.ownership", "string", "MANAGED or DEDICATED", _volume("ownership")),
    Field("volume.mount_path", "string", "where it is mounted", _volume("mount_path")),
    Field("volume.status", "string", "RESIZING while it grows", _volume("status")),
    Field(
        "endpoints",
        "list(string)",
        "ways of remote access: NOTEBOOK, SSH",
        lambda s: [endpoint.service for endpoint in s.notebook.endpoints],
    ),
    Field(
        "ssh.open",
        "bool",
        "whether every public address may connect by SSH",
        lambda s: any(endpoint.open for endpoint in _ssh(s)),
    ),
    Field("ssh.keys", "list(string)", "names of the SSH key pairs", _keys),
    Field("ssh.whitelist", "list(string)", "addresses that may connect by SSH; empty when open", _whitelist),
    Field("created", "timestamp", "when the instance was created", _created, absent=_NO_TIME),
    Field("updated", "timestamp", "when the instance was last updated", _updated, absent=_NO_TIME),
    Field("now", "timestamp", "the present moment", lambda s: _moment(s.now), absent=_NO_TIME),
)

FIELDS: Mapping[str, Field] = {field.name: field for field in _TABLE}
