"""The constraints on what a caller may send: lengths, characters, sizes, addresses, scripts.

Each function takes one value as it came and returns it in the shape that is stored, or raises the
refusal. Sources: Update API, tables 2 to 6; the tag and custom specification pages.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Any

from fleet.simulator.refusals import Refusal, bad_character, bad_parameter, missing_parameter
from fleet.simulator.rules import Rules

MOST_ADDRESSES = 5
LARGEST_DISK_GB = 4096

_NAME = {"ascii": re.compile(r"[A-Za-z0-9_-]+\Z"), "any": re.compile(r"[\w-]+\Z")}
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_IMAGE_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,126}[a-z0-9])?\Z")
_NAMESPACE = re.compile(r"[a-z][A-Za-z0-9_.-]{0,63}\Z")
_SECRET_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_TAG_KEY = re.compile(r"[\w .:=+@-]{1,128}\Z")
_TAG_VALUE = re.compile(r"[\w .:=+@/-]{0,255}\Z")
_FORBIDDEN_IN_DESCRIPTION = frozenset("&<>\"'/")
_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise bad_parameter(f"The parameter {field} must be a string.")
    return value


def integer(value: object, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_parameter(f"The parameter {field} must be an integer.")
    return value


def mapping(value: object, field: str, allowed: Collection[str]) -> dict[str, Any]:
    """An object with no other keys than the allowed ones."""
    if not isinstance(value, dict):
        raise bad_parameter(f"The parameter {field} must be an object.")
    for key in value:
        if key not in allowed:
            raise bad_parameter(f"The parameter {field} has an unknown key {key}.")
    return value


def sequence(value: object, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_parameter(f"The parameter {field} must be an array.")
    return value


def texts(value: object, field: str) -> list[str]:
    return [text(item, field) for item in sequence(value, field)]


def one_of(value: object, field: str, allowed: Collection[str]) -> str:
    """An enumeration value; the real service is not strict about the case of letters."""
    chosen = text(value, field).upper()
    if chosen not in allowed:
        raise bad_parameter(f"The parameter {field} must be one of {', '.join(allowed)}.")
    return chosen


def name(value: object, rules: Rules) -> str:
    """At most 128 letters, digits, hyphens and underscores; names may repeat."""
    chosen = text(value, "name")
    if not 1 <= len(chosen) <= 128:
        raise bad_parameter("The parameter name must have 1 to 128 characters.")
    if not _NAME[rules.names].match(chosen):
        raise bad_character("name")
    return chosen


def description(value: object) -> str:
    chosen = text(value, "description")
    if len(chosen) > 512:
        raise bad_parameter("The parameter description must have at most 512 characters.")
    if not _FORBIDDEN_IN_DESCRIPTION.isdisjoint(chosen):
        raise bad_character("description")
    return chosen


def uuid(value: object, field: str) -> str:
    chosen = text(value, field)
    if not _UUID.match(chosen):
        raise bad_parameter(f"The parameter {field} must be a UUID.")
    return chosen


def disk_size(value: object, field: str, present: int) -> int:
    """A new total in GB: larger than now, at most 4096."""
    size = integer(value, field)
    if not present < size <= LARGEST_DISK_GB:
        raise Refusal(
            "ModelArts.6331",
            f"The EVS size must be larger than {present} and at most {LARGEST_DISK_GB} GB.",
        )
    return size


def endpoints(value: object, key_pairs: Collection[str], rules: Rules) -> dict[str, dict[str, list[str]]]:
    """Service -> what was said about it (Update API, table 3); older spellings are understood.

    A key that the caller left out is left out here too: what that means is for the update to say.
    """
    said: dict[str, dict[str, list[str]]] = {}
    known = ("service", "dev_service", "key_pair_names", "ssh_keys", "allowed_access_ips", "uri")
    for raw in sequence(value, "endpoints"):
        item = mapping(raw, "endpoints", known)
        service = one_of(
            item.get("service", item.get("dev_service", "SSH")),
            "endpoints.service",
            ("NOTEBOOK", "SSH"),
        )
        if service in said:
            raise bad_parameter(f"The parameter endpoints names {service} twice.")
        said[service] = entry = {}
        keys = item.get("key_pair_names", item.get("ssh_keys"))
        if "key_pair_names" in item or "ssh_keys" in item:
            entry["key_pair_names"] = _key_pairs(keys, key_pairs)
        if "allowed_access_ips" in item:
            entry["allowed_access_ips"] = addresses(item["allowed_access_ips"], rules)
    return said


def _key_pairs(value: object, known: Collection[str]) -> list[str]:
    names = texts(value, "endpoints.key_pair_names")
    for key_pair in names:
        if key_pair not in known:
            raise Refusal("ModelArts.6789", f"No permission to use the key pair {key_pair}.")
    return names


def addresses(value: object, rules: Rules) -> list[str]:
    """At most five public IPv4 addresses, and where the rules say so ranges and IPv6."""
    items = texts(value, "endpoints.allowed_access_ips")
    if len(items) > MOST_ADDRESSES:
        raise bad_parameter(f"At most {MOST_ADDRESSES} allowed_access_ips are supported.")
    for item in items:
        if not _is_public(item, rules):
            raise bad_parameter(f"The allowed_access_ips item {item} is no public IP address.")
    return items


def _is_public(item: str, rules: Rules) -> bool:
    if "/" in item and rules.cidr == "refuse":
        return False
    try:
        network = ipaddress.ip_network(item)
    except ValueError:
        return False
    if isinstance(network, ipaddress.IPv6Network):
        return rules.ipv6 == "accept" and network.subnet_of(_GLOBAL_UNICAST)
    return not any(network.overlaps(private) for private in _NOT_PUBLIC)


def hooks(value: object) -> dict[str, Any]:
    """Start-up scripts (Update API, tables 4 to 6)."""
    outer = mapping(value, "hooks", ("container_hooks",))
    if "container_hooks" not in outer:
        return {}
    inner = mapping(outer["container_hooks"], "container_hooks", ("pre_start", "post_start"))
    return {"container_hooks": {moment: _script(config) for moment, config in inner.items()}}


def _script(value: object) -> dict[str, str]:
    config = mapping(value, "hooks", ("script", "type", "mode"))
    if "script" not in config:
        raise missing_parameter("hooks.script")
    script = text(config["script"], "hooks.script")
    kind = one_of(config.get("type", "SCRIPT"), "hooks.type", ("COMMAND", "SCRIPT"))
    mode = one_of(config.get("mode", "ASYNC"), "hooks.mode", ("BLOCK", "ASYNC"))
    if kind == "SCRIPT" and not script.startswith("/"):
        raise bad_parameter("The hook script must be an absolute path.")
    if kind == "COMMAND" and not _is_base64(script):
        raise bad_parameter("The hook script must be Base64-encoded.")
    return {"script": script, "type": kind, "mode": mode}


def _is_base64(script: str) -> bool:
    try:
        return base64.b64decode(script, validate=True) != b""
    except (binascii.Error, ValueError):
        return False


def custom_spec(value: object) -> dict[str, Any]:
    """Machine specification of a notebook in a dedicated pool (SDK model)."""
    known = ("cpu", "memory", "arch", "category", "gpu", "gpu_type", "resource_flavor")
    spec = mapping(value, "custom_spec", known)
    cpu = spec.get("cpu", 1)
    if isinstance(cpu, bool) or not isinstance(cpu, int | float) or cpu < 0.4:
        raise bad_parameter("The parameter custom_spec.cpu must be a number of at least 0.4.")
    memory = integer(spec.get("memory", 1024), "custom_spec.memory")
    if memory < 513:
        raise bad_parameter("The parameter custom_spec.memory must be at least 513.")
    arch = one_of(spec.get("arch", "X86_64"), "custom_spec.arch", ("X86_64", "AARCH64"))
    categories = ("CPU", "GPU", "ASCEND")
    category = one_of(spec.get("category", "CPU"), "custom_spec.category", categories)
    return {**spec, "cpu": cpu, "memory": memory, "arch": arch, "category": category}


def image_name(value: object) -> str:
    """At most 128 lowercase letters, digits, hyphens, underscores, periods; no such sign at either end."""
    chosen = text(value, "name")
    if not _IMAGE_NAME.match(chosen):
        raise bad_parameter("The parameter name is no image name.")
    return chosen


def namespace(value: object) -> str:
    """At most 64 letters, digits, hyphens, underscores, periods, after a lowercase letter."""
    chosen = text(value, "namespace")
    if not _NAMESPACE.match(chosen):
        raise bad_parameter("The parameter namespace is no organization.")
    return chosen


def workspace(value: object, known: Collection[Mapping[str, Any]]) -> str:
    """One of the workspaces that there are."""
    chosen = text(value, "workspace_id")
    if not any(row["id"] == chosen for row in known):
        raise Refusal("ModelArts.0102", f"The workspace {chosen} does not exist.")
    return chosen


def secret_name(value: object) -> str:
    chosen = text(value, "dew_secret_name")
    if not _SECRET_NAME.match(chosen):
        raise bad_parameter("The parameter dew_secret_name is malformed.")
    return chosen


def tags(body: Mapping[str, Any]) -> dict[str, str]:
    """The ``tags`` array of a tag call as key -> value."""
    if "tags" not in body:
        raise missing_parameter("tags")
    found: dict[str, str] = {}
    for raw in sequence(body["tags"], "tags"):
        item = mapping(raw, "tags", ("key", "value"))
        key, value = text(item.get("key"), "tags.key"), text(item.get("value", ""), "tags.value")
        if not _TAG_KEY.match(key) or key != key.strip() or key.startswith("_sys_"):
            raise bad_parameter("The parameter tags.key is malformed.")
        if not _TAG_VALUE.match(value) or value != value.strip():
            raise bad_parameter("The parameter tags.value is malformed.")
        found[key] = value
    return found
