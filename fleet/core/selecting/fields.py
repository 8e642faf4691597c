"""What a selector may ask of a notebook: every field with its type, its meaning and how it is read.

The one table behind type checking, evaluation (`selector`), the list a person sees, and spelling advice.
Some fields are not in the notebook's own row but in the scope's catalogue; it is read only for who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from fleet.core.catalog import Catalog
from fleet.core.notebook import Endpoint, Flavor, LeaseType, Notebook, Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Offer(StrEnum):
    """A part of what a scope offers, which a field may have to be looked up in."""

    IMAGES = "images"
    FLAVORS = "flavors"


UNREAD = Catalog()  # for selectors that ask nothing of it


@dataclass(frozen=True, slots=True)
class Subject:
    """The notebook that a selector is asked about, its scope with the catalogue, and wall time in ms."""

    notebook: Notebook
    scope: str
    now: int
    catalog: Catalog = UNREAD

    @property
    def flavor(self) -> Flavor | None:
        """The notebook's flavor as the catalogue has it."""
        return self.catalog.flavors.get(self.notebook.flavor)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `type` is CEL's name for it; `words` are all the values it can have, where that is closed.

    `read` gives None when the notebook has no value; `absent` then says why and what to ask first.
    `offer` is the part of the catalogue that must have been read for it.
    """

    name: str
    type: str
    meaning: str
    read: Callable[[Subject], Any]
    absent: str = ""
    words: tuple[str, ...] = ()
    offer: Offer | None = None


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


def _age(subject: Subject) -> timedelta | None:
    created, now = _created(subject), _moment(subject.now)
    return now - created if created is not None and now is not None else None


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


def _of_image(attribute: str) -> Callable[[Subject], Any]:
    """A value of the notebook's image: of its own row, or of the catalogue where the row is short."""

    def read(subject: Subject) -> Any:
        image = subject.notebook.image
        value = getattr(image, attribute)
        return value or getattr(subject.catalog.images.get(image.id, image), attribute)

    return read


def _image(name: str, attribute: str, meaning: str, words: tuple[str, ...] = ()) -> Field:
    return Field(f"image.{name}", "string", meaning, _of_image(attribute), words=words, offer=Offer.IMAGES)


def _image_arch(subject: Subject) -> str:
    return str(_of_image("arch")(subject)).lower()


def _image_list(name: str, meaning: str) -> Field:
    read = _of_image(name)
    return Field(f"image.{name}", "list(string)", meaning, lambda s: list(read(s)), offer=Offer.IMAGES)


def _image_time(name: str, attribute: str, meaning: str) -> Field:
    read = _of_image(attribute)
    return Field(
        f"image.{name}",
        "timestamp",
        meaning,
        lambda s: _moment(read(s)),
        absent=_NO_TIME,
        offer=Offer.IMAGES,
    )


def _flavor(
    name: str, type: str, meaning: str, read: Callable[[Flavor], Any], words: tuple[str, ...] = ()
) -> Field:
    """A fact about the notebook's flavor. What the catalogue lacks is "" as text, and no number at all."""
    nothing = "" if type == "string" else None
    return Field(
        f"flavor.{name}",
        type,
        meaning,
        lambda s: nothing if s.flavor is None else read(s.flavor),
        absent="the catalogue lacks its flavor; ask flavor.known first",
        words=words,
        offer=Offer.FLAVORS,
    )


def _accelerator(category: str) -> Callable[[Flavor], str]:
    return lambda flavor: flavor.accelerator_type if flavor.category.upper() == category else ""


_NO_TIME = "the cloud's answer carries no such time"
_ARCHITECTURES = ("x86_64", "aarch64", "")

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
    Field(
        "flavor.known",
        "bool",
        "whether the catalogue has its flavor",
        lambda s: s.flavor is not None,
        offer=Offer.FLAVORS,
    ),
    _flavor("category", "string", "CPU, GPU or ASCEND", lambda flavor: flavor.category.upper()),
    _flavor(
        "arch",
        "string",
        "processor architecture, in lower case",
        lambda flavor: flavor.arch.lower(),
        words=_ARCHITECTURES,
    ),
    _flavor("vcpus", "int", "number of virtual processors", lambda flavor: flavor.vcpus),
    _flavor("memory", "int", "memory in GB, rounded down", lambda flavor: flavor.memory_mib // 1024),
    _flavor("accelerators", "int", "number of GPUs or NPUs", lambda flavor: flavor.accelerators),
    _flavor("gpu", "string", "type of its GPUs; empty if it has none", _accelerator("GPU")),
    _flavor("npu", "string", "type of its Ascend NPUs; empty if it has none", _accelerator("ASCEND")),
    _flavor("sold_out", "bool", "whether no machine of it is left", lambda flavor: flavor.sold_out),
    _flavor("free", "bool", "whether it costs nothing", lambda flavor: flavor.free),
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
        _image_arch,
        words=_ARCHITECTURES,
        offer=Offer.IMAGES,
    ),
    _image("status", "status", "ACTIVE when it can be used"),
    _image("type", "type", "BUILD_IN or DEDICATED (one you saved)"),
    _image("tag", "tag", "image tag"),
    _image("namespace", "namespace", "SWR organization"),
    _image("origin", "origin", "CUSTOMIZE or IMAGE_SAVE"),
    _image("swr_path", "swr_path", "SWR image path"),
    _image("service_type", "service_type", "COMMON, DEV, TRAIN ..."),
    _image("visibility", "visibility", "PRIVATE or PUBLIC"),
    _image("flavor_type", "flavor_type", "Ascend type, such as ASCEND_SNT9"),
    _image("description", "description", "image description"),
    _image("workspace", "workspace_id", "workspace ID of the image"),
    Field("image.size", "int", "image size in KB", _of_image("size"), offer=Offer.IMAGES),
    _image_list("resource_categories", "CPU, GPU, ASCEND"),
    _image_list("dev_services", "NOTEBOOK, SSH"),
    _image_time("created", "create_at", "when the image was created"),
    _image_time("updated", "update_at", "when the image was last updated"),
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
    Field("age", "duration", "time since the instance was created", _age, absent=_NO_TIME),
    Field("updated", "timestamp", "when the instance was last updated", _updated, absent=_NO_TIME),
    Field("now", "timestamp", "the present moment", lambda s: _moment(s.now), absent=_NO_TIME),
)

FIELDS: Mapping[str, Field] = {field.name: field for field in _TABLE}
