"""UpdateNotebook: PUT /v1/{project_id}/notebooks/{id}.

Theory of operation. A PUT is all or nothing and goes through four gates in this order:

1. shape: every value obeys the constraints of the Update API, tables 2 to 6 (``validation``);
2. state: every field that is named may be sent in the status that the notebook is in (6357 busy,
   6347 wrong state, 6326 frozen);
3. sense: image and flavor exist, are in stock, go together and with the notebook's ways in; the
   disk is one that can grow;
4. it is applied. The reply holds only the few fields that the vendor's sample shows.

The SDK knows five more fields than the page. ``custom_spec`` and ``affinity`` are accepted for
notebooks in a dedicated pool, ``dew_secret_name`` for OBS volumes; ``data_volumes`` and
``public_network_config`` are refused, like unknown keys and explicit nulls (0104).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fleet.simulator import life, validation
from fleet.simulator.catalog import (
    check_fit,
    check_image,
    find_image,
    machine,
    switchable_flavors,
)
from fleet.simulator.messages import Answer, Call, answer
from fleet.simulator.refusals import Refusal, bad_parameter, busy, frozen, sold_out, wrong_state
from fleet.simulator.rules import Rules
from fleet.simulator.states import TRANSITIONAL, Status
from fleet.simulator.views import endpoint_view
from fleet.simulator.world import CUSTOM_FLAVOR, Notebook, World, ms

_ANYWHERE = frozenset(Status) - {Status.DELETING, Status.DELETED, Status.FROZEN}
_STOPPED = frozenset({Status.STOPPED})
_RUNNING = frozenset({Status.RUNNING})

SENDABLE_IN: Mapping[str, Mapping[str, frozenset[Status]]] = {
    "seed": {},
    "observed": {
        "name": _ANYWHERE,
        "description": _ANYWHERE,
        "storage_new_size": _RUNNING,
    },
}
"""Rule -> field -> statuses in which a PUT may name it; fields that are not listed: STOPPED."""


Wanted = Mapping[str, Any]
"""The fields of a PUT after the first gate."""


def update(world: World, call: Call) -> Answer:
    notebook = world.find_changeable(call.project, call.target)
    wanted = _checked(world, notebook, call.body)
    _check_states(world.rules, notebook, wanted)
    for check in _CHECKS:
        check(world, notebook, wanted, call)
    _apply(world, notebook, wanted, call.now)
    return answer(
        {
            "description": notebook.description,
            "flavor": notebook.flavor,
            "name": notebook.name,
            "endpoints": [endpoint_view(endpoint) for endpoint in notebook.endpoints],
        }
    )


def _checked(world: World, notebook: Notebook, body: Mapping[str, Any]) -> dict[str, Any]:
    """Gate 1: the body with every value checked by itself."""
    for field in body:
        if field not in _SHAPES:
            raise bad_parameter(f"The parameter {field} is not supported.")
    return {field: _SHAPES[field](body[field], world, notebook) for field in body}


def _growth(value: object, world: World, notebook: Notebook) -> int:
    capacity = notebook.growing_to or notebook.volume.get("capacity") or 0
    return validation.disk_size(value, "storage_new_size", capacity)


_SHAPES: Mapping[str, Callable[[object, World, Notebook], Any]] = {
    "name": lambda value, world, _: validation.name(value, world.rules),
    "description": lambda value, _, __: validation.description(value),
    "flavor": lambda value, _, __: validation.text(value, "flavor"),
    "image_id": lambda value, _, __: validation.uuid(value, "image_id"),
    "storage_new_size": _growth,
    "endpoints": lambda value, world, _: validation.endpoints(value, world.key_pairs, world.rules),
    "hooks": lambda value, _, __: validation.hooks(value),
    "custom_spec": lambda value, _, __: validation.custom_spec(value),
    "affinity": lambda value, _, __: dict(
        validation.mapping(
            value,
            "affinity",
            (
                "required_during_scheduling_ignored_during_execution",
                "preferred_during_scheduling_ignored_during_execution",
            ),
        )
    ),
    "dew_secret_name": lambda value, _, __: validation.secret_name(value),
}


def _check_states(rules: Rules, notebook: Notebook, fields: Mapping[str, Any]) -> None:
    """Gate 2: may these fields be sent now?"""
    status = notebook.status
    if status is Status.FROZEN:
        raise frozen()
    if status is Status.START_FAILED and rules.start_failed == "stopped":
        status = Status.STOPPED
    for field in fields:
        if status in SENDABLE_IN[rules.rules].get(field, _STOPPED):
            continue
        if status in TRANSITIONAL:
            raise busy(notebook.name)
        raise wrong_state(notebook.status, field)
    if "storage_new_size" in fields and notebook.growing_to is not None:
        raise busy(notebook.name)


def _check_machine(world: World, notebook: Notebook, wanted: Wanted, call: Call) -> None:
    """Gate 3: image, flavor and endpoints as they will be together."""
    image = notebook.image
    if "image_id" in wanted:
        image = find_image(world, call.project, wanted["image_id"], notebook.workspace_id)
    if "image_id" in wanted or "endpoints" in wanted:
        services = {endpoint["service"] for endpoint in _endpoints(world, notebook, wanted)}
        check_image(image, tuple(services))
    flavor_id = wanted.get("flavor", notebook.flavor)
    if flavor_id != notebook.flavor:
        if flavor_id not in world.flavors:
            raise Refusal("ModelArts.6323", f"The flavor {flavor_id} is not supported.")
        if world.flavors[flavor_id].feature != notebook.feature:
            raise Refusal(
                "ModelArts.6870", f"The flavor {flavor_id} is not for {notebook.feature} instances."
            )
        if world.flavors[flavor_id] not in switchable_flavors(world, notebook, image):
            raise Refusal("ModelArts.6792", f"The instance cannot be switched to {flavor_id}.")
        if world.is_sold_out(flavor_id, call.now):
            raise sold_out(flavor_id, world.rules.sold_out)
    if not wanted.keys().isdisjoint(("image_id", "flavor", "custom_spec")):
        target = machine(world, *_machine(notebook, wanted))
        if target is not None:
            check_fit(image, target)


def _machine(notebook: Notebook, wanted: Wanted) -> tuple[str, dict[str, Any] | None]:
    """Flavor and custom specification as they will be: each of them takes the other's place."""
    if "custom_spec" in wanted:
        return CUSTOM_FLAVOR, wanted["custom_spec"]
    flavor_id = wanted.get("flavor", notebook.flavor)
    return flavor_id, notebook.custom_spec if flavor_id == CUSTOM_FLAVOR else None


def _check_disk(world: World, notebook: Notebook, wanted: Wanted, call: Call) -> None:
    volume = notebook.volume
    if "storage_new_size" in wanted and (volume["category"] != "EVS" or volume["ownership"] != "MANAGED"):
        raise Refusal("ModelArts.6324", f"A volume of type {volume['category']} cannot be expanded.")
    if "dew_secret_name" in wanted and volume["category"] not in ("OBS", "OBSFS"):
        raise bad_parameter("The parameter dew_secret_name needs an OBS volume.")


def _check_pool(world: World, notebook: Notebook, wanted: Wanted, call: Call) -> None:
    for field in ("custom_spec", "affinity"):
        if field in wanted and notebook.pool is None:
            raise bad_parameter(f"The parameter {field} needs a dedicated resource pool.")


_CHECKS = (_check_machine, _check_disk, _check_pool)


def _endpoints(world: World, notebook: Notebook, wanted: Wanted) -> list[dict[str, Any]]:
    """The endpoints as they will be, under the rules on omitted items and keys."""
    said: Mapping[str, Mapping[str, Any]] | None = wanted.get("endpoints", None)
    if said is None:
        return notebook.endpoints
    rules = world.rules
    there = {endpoint["service"]: endpoint for endpoint in notebook.endpoints}
    result = []
    for service, present in there.items():
        if service in said:
            result.append(_merged(rules, present, said[service]))
        elif rules.endpoints == "merge":
            result.append(present)
    for service, entry in said.items():
        if service not in there:
            result.append(life.new_endpoint(world.region, service, entry, notebook.create_at))
    return result


def _merged(rules: Rules, present: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    omitted = {"key_pair_names": rules.omitted_keys, "allowed_access_ips": rules.omitted_ips}
    kept = {
        key: value for key, value in present.items() if key not in said and omitted.get(key, "keep") == "keep"
    }
    return {"service": present["service"], **kept, **said}


def _apply(world: World, notebook: Notebook, wanted: Wanted, now: float) -> None:
    """Gate 4."""
    before = _state(notebook)
    notebook.endpoints = _endpoints(world, notebook, wanted)
    notebook.name = wanted.get("name", notebook.name)
    notebook.description = wanted.get("description", notebook.description)
    flavor, notebook.custom_spec = _machine(notebook, wanted)
    if flavor != notebook.flavor:
        notebook.machines.append((now, notebook.flavor))
        notebook.flavor = flavor
    notebook.hooks = wanted.get("hooks", notebook.hooks)
    notebook.affinity = wanted.get("affinity", notebook.affinity)
    if "image_id" in wanted:
        notebook.image = world.images[wanted["image_id"]]
    if "dew_secret_name" in wanted:
        notebook.volume["dew_secret_name"] = wanted["dew_secret_name"]
    if "storage_new_size" in wanted:
        life.grow_volume(world, notebook, wanted["storage_new_size"], now)
    if _state(notebook) != before or world.rules.same_value == "touch":
        notebook.touch(ms(now))


def _state(notebook: Notebook) -> tuple[Any, ...]:
    return (
        notebook.name,
        notebook.description,
        notebook.flavor,
        notebook.image.id,
        notebook.endpoints,
        notebook.hooks,
        notebook.custom_spec,
        notebook.affinity,
        notebook.growing_to,
        notebook.volume.get("dew_secret_name"),
    )
