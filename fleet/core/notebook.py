"""What the cloud says about a notebook, in the vendor's words.

Values only. Times are UTC milliseconds as the cloud sends them; capacities are GB. The login token of a
notebook is a secret and has no place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec


class Status(StrEnum):
    """The fourteen documented statuses (Update API, table 7), and one for a word we do not know."""

    INIT = "INIT"
    CREATING = "CREATING"
    STARTING = "STARTING"
    STOPPING = "STOPPING"
    DELETING = "DELETING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SNAPSHOTTING = "SNAPSHOTTING"
    CREATE_FAILED = "CREATE_FAILED"
    START_FAILED = "START_FAILED"
    DELETE_FAILED = "DELETE_FAILED"
    ERROR = "ERROR"
    DELETED = "DELETED"
    FROZEN = "FROZEN"
    STRANGE = "?"

    @classmethod
    def of(cls, word: str) -> Status:
        """The status for the cloud's word; a word that is not documented is never taken as safe."""
        try:
            return cls(word)
        except ValueError:
            return cls.STRANGE

    @property
    def heading(self) -> Status | None:
        """Where a transitional status leads if nothing goes wrong; None for all others."""
        return _HEADING.get(self)

    @property
    def broken(self) -> bool:
        """Whether nobody can work in the notebook and it does not get better by itself."""
        return self in _BROKEN


_HEADING = {
    Status.INIT: Status.RUNNING,
    Status.CREATING: Status.RUNNING,
    Status.STARTING: Status.RUNNING,
    Status.SNAPSHOTTING: Status.RUNNING,
    Status.STOPPING: Status.STOPPED,
}
_BROKEN = frozenset(
    {Status.CREATE_FAILED, Status.START_FAILED, Status.DELETE_FAILED, Status.ERROR, Status.FROZEN}
)


class LeaseType(StrEnum):
    """Auto stop type (Update API, table 11)."""

    TIMING = "TIMING"
    IDLE = "IDLE"


class Lease(msgspec.Struct, frozen=True, gc=False):
    """Countdown to auto stop (Update API, table 11): `duration` runs from `create_at`, both in ms."""

    enable: bool
    type: LeaseType = LeaseType.TIMING
    create_at: int = 0
    duration: int = 0
    update_at: int = 0

    def left(self, now: int) -> int:
        """Milliseconds until auto stop at wall time `now` (ms); may be negative."""
        return self.create_at + self.duration - now

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """A plan holds leases, and pydantic, which reads and writes its file, does not know a Struct."""
        from pydantic_core import core_schema  # for nobody else: it is slow to import

        written = core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins)
        read = partial(msgspec.convert, type=cls)
        return core_schema.no_info_plain_validator_function(read, serialization=written)


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One way of remote access (Update API, tables 3 and 9).

    `allowed_access_ips` is None when the cloud sent no list. None and an empty list both mean that every
    public address may connect.
    """

    service: str
    key_pair_names: tuple[str, ...] | None = None
    allowed_access_ips: tuple[str, ...] | None = None
    uri: str = ""

    @property
    def open(self) -> bool:
        """True when nothing restricts who may connect."""
        return not self.allowed_access_ips


class Image(msgspec.Struct, frozen=True, gc=False):
    """An image, as catalogue row or as part of a notebook (Update API, table 10). `size` is in KB."""

    id: str
    name: str = ""
    arch: str = ""
    status: str = ""
    type: str = ""
    service_type: str = ""
    namespace: str = ""
    origin: str = ""
    visibility: str = ""
    flavor_type: str = ""
    tag: str = ""
    swr_path: str = ""
    description: str = ""
    workspace_id: str = ""
    size: int = 0
    create_at: int = 0
    update_at: int = 0
    resource_categories: tuple[str, ...] = ()
    dev_services: tuple[str, ...] = ()


class Flavor(msgspec.Struct, frozen=True, gc=False):
    """Machine specifications. `memory_mib` is computed: the API states KiB."""

    id: str
    name: str = ""
    arch: str = ""
    category: str = ""
    vcpus: int = 0
    memory_mib: int = 0
    accelerators: int = 0
    accelerator_type: str = ""
    sold_out: bool = False
    free: bool = False
    storages: tuple[str, ...] = ()


class Volume(msgspec.Struct, frozen=True, gc=False):
    """Instance storage (Update API, table 13). `capacity` is in GB."""

    category: str = ""
    capacity: int = 0
    ownership: str = ""
    mount_path: str = ""
    status: str = ""


class Notebook(msgspec.Struct, frozen=True, gc=False):
    """One notebook instance as last read from the cloud.

    `custom_spec` is the machine of one in a dedicated pool that has no flavor of the catalogue.
    """

    id: str
    status: Status
    name: str = ""
    description: str = ""
    fail_reason: str = ""
    feature: str = ""
    flavor: str = ""
    custom_spec: Flavor | None = None
    image: Image = Image(id="")
    lease: Lease | None = None
    pool_id: str = ""
    pool_name: str = ""
    volume: Volume | None = None
    endpoints: tuple[Endpoint, ...] = ()
    workspace_id: str = ""
    owner: str = ""
    owner_id: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    create_at: int = 0
    update_at: int = 0
    current_time: int = 0
    status_word: str = ""
