"""Rotates the addresses that may connect to notebooks, so that nobody is locked out on the way.

New addresses are added everywhere first; after a soak the old ones are removed. A list never becomes empty,
as that would let everybody in, and of an endpoint nothing changes but its list. What may stand in a list at
all is decided by `fleet.core.whitelist`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from msgspec.structs import replace
from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from fleet.core.errors import UsageError
from fleet.core.job import Context, JobSpec, Proposal, Skip, Staged, Wants
from fleet.core.jobfiles.job_values import Duration
from fleet.core.notebook import Endpoint, Notebook
from fleet.core.patch import WHITELIST_MAX, NotebookPatch
from fleet.core.whitelist import Breadth, address_problem

DAY = 86_400.0
_SHOWN = 5  # addresses named in one sentence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Addresses:
    """A list of addresses: given in the job file, or in a file of its own with one on each line."""

    given: tuple[str, ...] = ()
    file: str = ""

    def read(self, context: Context) -> tuple[str, ...]:
        """The addresses. Raises UsageError for a line that is none."""
        return _in_file(context.files[self.file], self.file) if self.file else self.given


@lru_cache(maxsize=64)
def _in_file(text: str, path: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        try:
            if word:
                found[_canonical(word)] = None
        except ValueError as problem:
            raise UsageError(f"{path}, line {number}: {problem}") from None
    if not found:
        raise UsageError(f"{path}: holds no address; give one on each line")
    return tuple(found)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network | None:
    """What the text stands for; None for no address. A single address is a network of one."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _canonical(text: str) -> str:
    """The usual spelling; a range of one is that address. Raises ValueError for what is neither."""
    network = _network(text)
    if network is None:
        raise ValueError(f"{text[:60]!r} is not an address such as 203.0.113.9")
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _usual(text: str) -> str:
    """The usual spelling of what the cloud shows; unchanged where it is no address."""
    return text if _network(text) is None else _canonical(text)


def _addresses(value: object) -> Addresses:
    if isinstance(value, dict):
        if value.keys() != {"file"} or not isinstance(value["file"], str) or not value["file"]:
            raise ValueError("must be a list of addresses, or {file: PATH}")
        return Addresses(file=value["file"])
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError("must be a list of addresses, or {file: PATH}")
    if not value:
        raise ValueError("must not be empty; leave it out where there is nothing to name")
    return Addresses(tuple(dict.fromkeys(map(_canonical, value))))


def _single(text: str) -> str:
    if "/" in text:
        raise ValueError("must be one address, not a range")
    return _canonical(text)


AddressList = Annotated[
    Addresses,
    PlainValidator(_addresses),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "minLength": 1}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


@dataclass(frozen=True, slots=True)
class Lists:
    """One endpoint's addresses as they are, with the new ones added, and with the old ones removed, too."""

    before: tuple[str, ...]
    added: tuple[str, ...]
    final: tuple[str, ...]


class IpWhitelist(JobSpec):
    """Rotate the addresses that may connect."""

    add: AddressList | None = Field(None, description="Addresses that may connect from now on.")
    remove: AddressList | None = Field(None, description="Addresses that may connect no longer.")
    replace: AddressList | None = Field(None, description="The whole list; all others are removed.")
    service: Literal["SSH", "NOTEBOOK"] = Field("SSH", description="Whose endpoints are meant.")
    phases: Literal["both", "add", "remove"] = Field(
        "both", description="Add, remove, or the one and after the soak the other."
    )
    soak: Duration = Field(
        DAY, description="Between adding and removing.", json_schema_extra={"default": "24h"}
    )
    overflow: Literal["skip", "one-step"] = Field(
        "skip", description="Where old and new addresses are too many together: leave, or replace at once."
    )
    close_open: bool = Field(False, description="Give endpoints that are open to everybody the list, too.")
    own_address: Annotated[str, AfterValidator(_single)] | None = Field(
        None, description="An address that every list must hold in the end."
    )
    allow: tuple[Breadth, ...] = Field((), description="Other entries than single IPv4 addresses.")

    @model_validator(mode="after")
    def _sensible(self) -> IpWhitelist:
        new, old = self.replace or self.add, self.replace or self.remove
        if new is None and old is None:
            raise ValueError("give add, remove or both, or replace")
        if self.replace is not None and (self.add is not None or self.remove is not None):
            raise ValueError("give replace alone, or add and remove")
        if new is None and (self.close_open or self.phases == "add"):
            raise ValueError("there is nothing to add; give add or replace")
        if old is None and self.phases == "remove":
            raise ValueError("there is nothing to remove; give remove or replace")
        for address in new.given if new is not None else ():
            if problem := address_problem(address, self.allow):
                raise ValueError(problem)
        return self

    def wants(self) -> Wants:
        """The files that hold addresses."""
        named = (self.add, self.remove, self.replace)
        return Wants(files=tuple(one.file for one in named if one is not None and one.file))

    def pause(self) -> float:
        """The soak between adding and removing."""
        return self.soak

    def check(self, context: Context) -> None:
        """Raises UsageError for addresses that no list may hold, or that are both to be added and removed."""
        if problems := [*self._problems(context)]:
            raise UsageError("\n".join(problems))

    def _problems(self, context: Context) -> Iterator[str]:
        new, old = self._new(context), _read(self.remove, context)
        where = "with.add" if self.replace is None else "with.replace"
        for address in new:
            if problem := address_problem(address, self.allow):
                yield f"{where}: {problem}"
        if len(new) > WHITELIST_MAX:
            yield f"{where}: {len(new)} addresses, a list holds at most {WHITELIST_MAX}"
        if both := [address for address in new if address in old]:
            yield f"with: {_told(both)} cannot be both added and removed"
        own = self.own_address
        removed = self.replace is not None or own in old
        if own is not None and removed and self.phases != "add" and not _covers(new, own):
            yield f"with.own_address: {own} would not be in any list; add it"

    def stages(self, context: Context) -> tuple[str, ...]:
        """What is added and what is removed, where the one follows the other."""
        if not self._staged:
            return ()
        gone = "all others" if self.replace is not None else _told(_read(self.remove, context))
        return f"adds {_told(self._new(context))}", f"removes {gone}"

    def propose(self, notebook: Notebook, context: Context) -> Proposal:
        """The lists with the new addresses, then without the old ones; the rest of an endpoint stays."""
        if all(item.service != self.service for item in notebook.endpoints):
            return Skip(f"has no {self.service} endpoint")
        lists = self._lists(notebook, context)
        if not lists:
            return Skip(f"its {self.service} endpoint is open to every address; {_ADVICE}")
        for one in lists.values():
            if problem := self._problem(one, context):
                return Skip(problem)
        if self.phases == "add":
            return self._patch(notebook, {at: one.added for at, one in lists.items()})
        final = self._patch(notebook, {at: one.final for at, one in lists.items()})
        if not self._staged:
            return final
        if _overflows(lists.values()):  # in one step, when those who could move have moved
            return Staged((NotebookPatch(), final))
        return Staged((self._patch(notebook, {at: one.added for at, one in lists.items()}), final))

    def reason(self, notebook: Notebook, context: Context) -> str:
        """Which addresses come and which go."""
        lists = self._lists(notebook, context).values()
        new = dict.fromkeys(text for one in lists for text in self._aim(one) if text not in one.before)
        gone = dict.fromkeys(text for one in lists for text in one.before if text not in self._aim(one))
        said = (
            f"{verb} {_told(tuple(which))}" for verb, which in (("adds", new), ("removes", gone)) if which
        )
        return ", ".join(said)

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """What becomes of open endpoints, and where old and new addresses do not overlap."""
        return tuple(self._remarks(notebook, self._lists(notebook, context)))

    def _remarks(self, notebook: Notebook, lists: Mapping[int, Lists]) -> Iterator[str]:
        if any(item.service == self.service and _is_open(item) for item in notebook.endpoints):
            become = "is closed" if self._closes else f"stays so; {_ADVICE}"
            yield f"its {self.service} endpoint is open to every address and {become}"
        if self._staged and _overflows(lists.values()):
            yield "old and new addresses are too many together: they are exchanged in one step"

    @property
    def _staged(self) -> bool:
        old = self.replace or self.remove
        return self.phases == "both" and old is not None and (self.replace or self.add) is not None

    @property
    def _closes(self) -> bool:
        return self.close_open and self.phases != "remove"

    def _new(self, context: Context) -> tuple[str, ...]:
        return _read(self.replace or self.add, context)

    def _lists(self, notebook: Notebook, context: Context) -> dict[int, Lists]:
        """The lists that change, by the place of their endpoint."""
        new, old = self._new(context), _read(self.remove, context)

        def stays(text: str) -> bool:
            return _usual(text) in new if self.replace is not None else _usual(text) not in old

        found = {}
        for at, item in enumerate(notebook.endpoints):
            if item.service != self.service or (_is_open(item) and not self._closes):
                continue
            listed = () if _is_open(item) else item.allowed_access_ips or ()
            there = {_usual(text) for text in listed}
            extra = tuple(text for text in new if text not in there)
            kept = tuple(text for text in listed if stays(text))
            found[at] = Lists(listed, (*listed, *extra), (*kept, *extra))
        return found

    def _aim(self, lists: Lists) -> tuple[str, ...]:
        """The list that the job ends with."""
        return lists.added if self.phases == "add" else lists.final

    def _problem(self, lists: Lists, context: Context) -> str:
        """Why these lists must not be written; empty when nothing speaks against it."""
        aim = self._aim(lists)
        there = {_usual(text) for text in lists.before}
        if self.phases == "remove" and (
            missing := [text for text in self._new(context) if text not in there]
        ):
            return f"its list lacks {_told(missing)}, which must be added before others are removed"
        if not aim:
            return "its list would become empty, which lets everybody in"
        if len(aim) > WHITELIST_MAX:
            return f"its list would hold {_too_many(aim)}"
        if self._staged and len(lists.added) > WHITELIST_MAX and self.overflow == "skip":
            return f"old and new are {_too_many(lists.added)}; overflow: one-step exchanges them at once"
        if self.own_address is not None and not _covers(aim, self.own_address):
            return f"its list would not hold own_address {self.own_address}"
        return "" if self.phases == "add" else self._let_in(lists, context)

    def _let_in(self, lists: Lists, context: Context) -> str:
        """Which entry that nobody asked for would still let a removed address in; empty when none does."""
        new = self._new(context)
        left = [text for text in lists.before if text in lists.final and _usual(text) not in new]
        for old in _read(self.remove, context):
            if still := [text for text in left if _overlap(text, old)]:
                gap = f"{_told(still)} would stay and let in what removing {old} shuts out"
                return f"{gap}; remove that too, or add it to keep it"
        return ""

    def _patch(self, notebook: Notebook, lists: Mapping[int, tuple[str, ...]]) -> NotebookPatch:
        """All endpoints of the notebook, with these lists."""
        items = tuple(
            replace(item, allowed_access_ips=lists[at]) if at in lists else item
            for at, item in enumerate(notebook.endpoints)
        )
        return NotebookPatch(endpoints=items, allow=self.allow)


_ADVICE = "close_open: true would give it the list"


def _read(addresses: Addresses | None, context: Context) -> tuple[str, ...]:
    return () if addresses is None else addresses.read(context)


def _is_open(item: Endpoint) -> bool:
    """Whether everybody may connect: without a list, or by an entry that stands for every address."""
    networks = map(_network, item.allowed_access_ips or ())
    return item.open or any(network is not None and network.prefixlen == 0 for network in networks)


def _covers(listed: Collection[str], address: str) -> bool:
    """Whether the list lets `address` in."""
    wanted = ipaddress.ip_address(address)
    return any((network := _network(text)) is not None and wanted in network for text in listed)


def _overlap(one: str, other: str) -> bool:
    """Whether an address belongs to both."""
    networks = _network(one), _network(other)
    match networks:
        case ipaddress.IPv4Network() as a, ipaddress.IPv4Network() as b:
            return a.overlaps(b)
        case ipaddress.IPv6Network() as a, ipaddress.IPv6Network() as b:
            return a.overlaps(b)
    return False


def _overflows(lists: Iterable[Lists]) -> bool:
    return any(len(one.added) > WHITELIST_MAX for one in lists)


def _too_many(addresses: Sequence[str]) -> str:
    listed = ", ".join(addresses)
    return f"{len(addresses)} addresses, at most {WHITELIST_MAX} are allowed: {listed}"


def _told(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return ", ".join(addresses[:_SHOWN]) + more
