"""What the cloud answers, row by row, into values of the core.

The models are lenient about what is missing, null or new, and strict about what is there: a list of
endpoints that is no list must not pass for an empty one. Rows are never cleaned, since a value that was
read may have to be written back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Endpoint, Flavor, Image, Lease, LeaseType, Notebook, Status, Volume
from fleet.core.planning.quota import Quota
from fleet.core.scope import Project, Workspace
from fleet.core.text import clean

T = TypeVar("T")

KIB_PER_MIB = 1024


@lru_cache(maxsize=4096)
def once(value: T) -> T:
    """The value, in the object of an equal one read before: a large fleet repeats a few images and words."""
    return value


def _or(default: Any) -> BeforeValidator:
    """Null means the same as absent."""
    return BeforeValidator(lambda value: default() if value is None else value)


Text = Annotated[str, _or(str)]
Number = Annotated[int, _or(int), Field(ge=-(2**63), lt=2**63)]
Flag = Annotated[bool, _or(bool)]
Words = Annotated[tuple[str, ...], _or(tuple)]
Keys = tuple[str, ...] | None


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Image(_Row):
    id: Text = ""
    name: Text = ""
    arch: Text = ""
    status: Text = ""
    type: Text = ""
    service_type: Text = ""
    namespace: Text = ""
    origin: Text = ""
    visibility: Text = ""
    flavor_type: Text = ""
    tag: Text = ""
    swr_path: Text = ""
    description: Text = ""
    workspace_id: Text = ""
    size: Number = 0
    create_at: Number = 0
    update_at: Number = 0
    resource_categories: Words = ()
    support_res_categories: Words = ()
    dev_services: Words = ()

    def value(self) -> Image:
        fields = dict(vars(self))
        shown = fields.pop("support_res_categories")  # the name that ShowImage uses
        fields["resource_categories"] = self.resource_categories or shown
        return Image(**fields)


_LEASE_TYPES = {"": LeaseType.TIMING, **{kind.value: kind for kind in LeaseType}}


def lease_type(word: str) -> LeaseType:
    """The type of a lease; `condition` tells of one that is not documented."""
    return _LEASE_TYPES.get(word, LeaseType.TIMING)


@lru_cache(maxsize=256)
def condition(word: str, lease: str | None) -> tuple[Status, str]:
    """The status for the cloud's word and the type of the lease, if there is one; what to show if strange.

    A lease that we could not give back is strange, too: the notebook must not be stopped.
    """
    status, word = Status.of(word), word or "no status"
    if lease is not None and lease not in _LEASE_TYPES:
        status, word = Status.STRANGE, f"{word} with lease type {lease}"
    return status, clean(word, 60) if status is Status.STRANGE else ""


def key_names(names: Keys, ssh_keys: Keys) -> Keys:
    """The key pairs of an endpoint, which editions of the API name differently."""
    keys = names or ssh_keys
    return names if keys is None else keys


class _Lease(_Row):
    enable: Flag = False
    type: Text = ""
    create_at: Number = 0
    duration: Number = 0
    update_at: Number = 0

    def value(self) -> Lease:
        return Lease(self.enable, lease_type(self.type), self.create_at, self.duration, self.update_at)


class _Endpoint(_Row):
    """Editions of the API name the same two fields differently."""

    service: Text = ""
    dev_service: Text = ""
    key_pair_names: Keys = None
    ssh_keys: Keys = None
    allowed_access_ips: tuple[str, ...] | None = None
    uri: Text = ""

    def value(self) -> Endpoint:
        return Endpoint(
            once(self.service or self.dev_service),
            once(key_names(self.key_pair_names, self.ssh_keys)),
            once(self.allowed_access_ips),
            self.uri,
        )


class _Volume(_Row):
    category: Text = ""
    capacity: Number = 0
    ownership: Text = ""
    mount_path: Text = ""
    status: Text = ""

    def value(self) -> Volume:
        return Volume(**vars(self))


class _CustomSpec(_Row):
    arch: Text = ""
    category: Text = ""

    def value(self, flavor: str) -> Flavor:
        return Flavor(flavor, arch=self.arch, category=self.category)


class _Named(_Row):
    id: Text = ""
    name: Text = ""


class _Tag(_Row):
    key: str
    value: Text = ""


NO_TAGS: Mapping[str, str] = {}  # one for all: most notebooks have none


class _Notebook(_Row):
    id: str
    status: Text = ""
    name: Text = ""
    description: Text = ""
    fail_reason: Text = ""
    feature: Text = ""
    flavor: Text = ""
    custom_spec: _CustomSpec | None = None
    image: Annotated[_Image, _or(_Image)] = _Image()
    lease: _Lease | None = None
    pool: Annotated[_Named, _or(_Named)] = _Named()
    volume: _Volume | None = None
    endpoints: Annotated[tuple[_Endpoint, ...], _or(tuple)] = ()
    workspace_id: Text = ""
    user: Annotated[_Named, _or(_Named)] = _Named()
    user_id: Text = ""
    tags: Annotated[tuple[_Tag, ...], _or(tuple)] = ()
    create_at: Number = 0
    update_at: Number = 0
    current_time: Number = 0

    def value(self) -> Notebook:
        status, word = condition(self.status, None if self.lease is None else self.lease.type)
        return Notebook(
            id=self.id,
            status=status,
            status_word=word,
            name=self.name,
            description=self.description,
            fail_reason=clean(self.fail_reason),
            feature=once(self.feature),
            flavor=once(self.flavor),
            custom_spec=None if self.custom_spec is None else once(self.custom_spec.value(self.flavor)),
            image=once(self.image.value()),
            lease=None if self.lease is None else self.lease.value(),
            pool_id=once(self.pool.id),
            pool_name=once(self.pool.name),
            volume=None if self.volume is None else once(self.volume.value()),
            endpoints=tuple(endpoint.value() for endpoint in self.endpoints),
            workspace_id=once(self.workspace_id),
            owner=once(self.user.name),
            owner_id=once(self.user.id or self.user_id),
            tags={tag.key: tag.value for tag in self.tags} if self.tags else NO_TAGS,
            create_at=self.create_at,
            update_at=self.update_at,
            current_time=self.current_time,
        )


class _Gpu(_Row):
    gpu: Number = 0
    type: Text = ""


class _Ascend(_Row):
    npu: Number = 0
    type: Text = ""


class _Flavor(_Row):
    id: str
    name: Text = ""
    arch: Text = ""
    category: Text = ""
    vcpus: Number = 0
    memory: Number = 0
    gpu: _Gpu | None = None
    ascend: _Ascend | None = None
    sold_out: Flag = False
    free: Flag = False
    storages: Words = ()

    def value(self) -> Flavor:
        accelerators, kind = 0, ""
        if self.gpu is not None:
            accelerators, kind = self.gpu.gpu, self.gpu.type
        elif self.ascend is not None:
            accelerators, kind = self.ascend.npu, self.ascend.type
        return Flavor(
            id=self.id,
            name=self.name,
            arch=self.arch,
            category=self.category,
            vcpus=self.vcpus,
            memory_mib=self.memory // KIB_PER_MIB,
            accelerators=accelerators,
            accelerator_type=kind,
            sold_out=self.sold_out,
            free=self.free,
            storages=self.storages,
        )


class _Feature(_Row):
    quota: int
    used: int


class _Project(_Row):
    id: str
    name: Text = ""
    enabled: Annotated[bool, _or(lambda: True)] = True


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and how many the cloud says there are; None when it does not say.

    The rows are as the cloud wrote them, or notebooks where `reading` has read them.
    """

    rows: Sequence[Any]
    total: int | None

    def ids(self) -> Iterator[str]:
        """The ids of the rows that have one."""
        for row in self.rows:
            found = row.get("id") if isinstance(row, dict) else getattr(row, "id", None)
            if isinstance(found, str):
                yield found


def page(payload: Mapping[str, Any] | Page, *names: str) -> Page:
    """The rows under the first of `names` that holds any. Raises CallError (ODD) when none is a list."""
    if isinstance(payload, Page):
        return payload
    lists = [payload[name] for name in names if isinstance(payload.get(name), list)]
    if not lists:
        raise _odd(f"the answer holds no list named {' or '.join(names)}")
    total = next((payload[name] for name in ("total", "total_count") if name in payload), None)
    if total is not None and (type(total) is not int or total < 0):
        raise _odd("the answer's total is not a number of rows")
    return Page(next((rows for rows in lists if rows), []), total)


def notebook(row: Any) -> Notebook:
    """One notebook. Raises CallError (ODD) when the row is not usable, as all functions below.

    An id that is no UUID is kept for the report; `operations` refuses to act on it. One that `reading` has
    read stays as it is.
    """
    if type(row) is Notebook:
        return row
    return _read(_Notebook, row, "notebook").value()


def image(row: Any) -> Image:
    """One image."""
    return _read(_Image, row, "image").value()


def volume(row: Any) -> Volume:
    """The storage of a notebook."""
    return _read(_Volume, row, "volume").value()


def custom_spec(row: Any, flavor: str) -> Flavor:
    """The machine of a notebook that has no flavor of the catalogue."""
    return _read(_CustomSpec, row, "custom specification").value(flavor)


def flavor(row: Any) -> Flavor:
    """One flavor; the API states memory in KiB."""
    return _read(_Flavor, row, "flavor").value()


def quota(row: Any) -> Quota:
    """The quota of instances (ListFeatures API)."""
    found = _read(_Feature, row, "quota")
    return Quota(found.quota, found.used)


def project(row: Any) -> Project:
    """One project of the account."""
    return Project(**dict(_read(_Project, row, "project")))


def workspace(row: Any) -> Workspace:
    """One workspace of a project."""
    return Workspace(**dict(_read(_Named, row, "workspace")))


def unique(values: Iterable[T], key: Callable[[T], str]) -> list[T]:
    """The values, each key once: the first stays."""
    found: dict[str, T] = {}
    for value in values:
        found.setdefault(key(value), value)
    return list(found.values())


R = TypeVar("R", bound=_Row)


def _read(model: type[R], row: Any, what: str) -> R:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _odd(f"the answer's {what} is not as documented: {place or 'row'}: {first['msg']}") from None


def _odd(text: str) -> CallError:
    return CallError(Meaning.ODD, clean(text))
