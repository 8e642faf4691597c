"""The calls on one notebook: create, show, delete, start, stop, lease, save as image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.simulator import life, validation
from fleet.simulator.catalog import check_fit, check_image, find_image
from fleet.simulator.messages import Answer, Call, answer
from fleet.simulator.queries import choice, integer
from fleet.simulator.refusals import Refusal, missing_parameter, sold_out
from fleet.simulator.states import Status
from fleet.simulator.views import image_view, lease_view, notebook_view, render, render_with_time
from fleet.simulator.world import HOUR_MS, Image, Lease, Notebook, World, ms

SHORTEST_LEASE_MS = HOUR_MS
LONGEST_LEASE_MS = 72 * HOUR_MS

_LEASE_TYPES = ("TIMING", "IDLE")
_CATEGORIES = ("SFS", "EVS", "OBS", "OBSFS", "EFS")
_DEFAULT_CAPACITY_GB = {"EVS": 5, "EFS": 50}
_CREATE_FIELDS = frozenset(
    {
        "name", "flavor", "image_id", "volume", "description", "endpoints", "feature", "pool_id",
        "workspace_id", "hooks", "lease", "duration",
    }
)  # fmt: skip


def show(world: World, call: Call) -> Answer:
    notebook = world.find(call.project, call.target)
    return Answer(render_with_time(world, notebook, call.now))


def start(world: World, call: Call) -> Answer:
    """Start API: query ``duration`` in ms (1 h to 72 h, -1: never stop by itself) and ``type``."""
    notebook = world.find_changeable(call.project, call.target)
    kind = choice(call.query, "type", _LEASE_TYPES, "TIMING")
    duration = integer(call.query, "duration", HOUR_MS)
    _check_duration(duration, minus_one=world.rules.duration_minus_one == "accept")
    life.start(world, notebook, call.now)
    notebook.lease.grant(duration, kind, ms(call.now))
    return Answer(render(world, notebook))


def stop(world: World, call: Call) -> Answer:
    notebook = world.find_changeable(call.project, call.target)
    life.stop(world, notebook, call.now)
    return Answer(render(world, notebook))


def delete(world: World, call: Call) -> Answer:
    notebook = world.find_changeable(call.project, call.target)
    life.delete(world, notebook, call.now)
    return Answer(render(world, notebook))


def show_lease(world: World, call: Call) -> Answer:
    return answer(lease_view(_running(world, call).lease))


def renew_lease(world: World, call: Call) -> Answer:
    """Lease API: the query's duration wins over the body and makes the lease a TIMING one."""
    notebook = _running(world, call)
    if "duration" in call.query:
        kind, duration = "TIMING", integer(call.query, "duration", HOUR_MS)
    else:
        body = validation.mapping(call.body, "body", ("duration", "type"))
        kind = validation.one_of(body.get("type", "TIMING"), "type", _LEASE_TYPES)
        duration = validation.integer(body.get("duration", HOUR_MS), "duration")
    _check_duration(duration, minus_one=world.rules.renew_minus_one == "accept")
    notebook.lease.grant(duration, kind, ms(call.now))
    notebook.touch(ms(call.now))
    life.watch_lease(world, notebook, call.now)
    return answer(lease_view(notebook.lease))


def _running(world: World, call: Call) -> Notebook:
    """The notebook of a lease call, which only a running one answers."""
    notebook = world.find_changeable(call.project, call.target)
    if notebook.status not in (Status.RUNNING, Status.SNAPSHOTTING):
        raise Refusal("ModelArts.6327", "The instance is not running.")
    return notebook


def _check_duration(duration: int, *, minus_one: bool) -> None:
    if duration == -1 and minus_one:
        return
    if not SHORTEST_LEASE_MS <= duration <= LONGEST_LEASE_MS:
        raise Refusal(
            "ModelArts.6349",
            f"The duration must be between {SHORTEST_LEASE_MS} and {LONGEST_LEASE_MS} ms.",
        )


def save_image(world: World, call: Call) -> Answer:
    """CreateImage: the notebook is SNAPSHOTTING until the new image is ACTIVE, or has failed."""
    notebook = world.find_changeable(call.project, call.target)
    body = call.body
    for field in ("name", "namespace"):
        if field not in body:
            raise missing_parameter(field)
    base = notebook.image
    image = Image(
        id=world.fresh_uuid(),
        name=validation.image_name(body["name"]),
        tag=validation.text(body.get("tag", "1.0.0"), "tag"),
        arch=base.arch,
        categories=base.categories,
        dev_services=base.dev_services,
        type="DEDICATED",
        status="CREATING",
        create_at=ms(call.now),
        update_at=ms(call.now),
        namespace=validation.namespace(body["namespace"]),
        description=validation.text(body.get("description", ""), "description"),
        origin="IMAGE_SAVE",
        size=base.size,
        visibility="PRIVATE",
        workspace_id=validation.workspace(body.get("workspace_id", "0"), world.workspaces),
        flavor_type=base.flavor_type,
        project=call.project,
    )
    life.save_image(world, notebook, image, call.now)
    world.images[image.id] = image
    return answer(image_view(image))


def create(world: World, call: Call) -> Answer:
    """Create API, with the fields that a fleet tool needs; the other ones are refused."""
    body = validation.mapping(call.body, "body", _CREATE_FIELDS)
    for field in ("name", "flavor", "image_id", "volume"):
        if field not in body:
            raise missing_parameter(field)
    workspace = validation.text(body.get("workspace_id", "0"), "workspace_id")
    image = find_image(world, call.project, validation.uuid(body["image_id"], "image_id"), workspace)
    flavor = world.flavors.get(validation.text(body["flavor"], "flavor"))
    if flavor is None:
        raise Refusal("ModelArts.6323", f"The flavor {body['flavor']} is not supported.")
    said = validation.endpoints(body.get("endpoints", []), world.key_pairs, world.rules)
    check_image(image, tuple(said))
    check_fit(image, flavor)
    if world.is_sold_out(flavor.id, call.now):
        raise sold_out(flavor.id, world.rules.sold_out)
    at = ms(call.now)
    notebook = Notebook(
        id=world.fresh_uuid(),
        project=call.project,
        name=validation.name(body["name"], world.rules),
        description=validation.description(body.get("description", "")),
        status=Status.CREATING,
        flavor=flavor.id,
        image=image,
        lease=_first_lease(world, body, at),
        volume=_first_volume(body["volume"]),
        endpoints=[life.new_endpoint(world.region, service, entry, at) for service, entry in said.items()],
        user=call.user,
        workspace_id=workspace,
        create_at=at,
        update_at=at,
        feature=validation.one_of(body.get("feature", "NOTEBOOK"), "feature", ("NOTEBOOK", "DEFAULT")),
        hooks=validation.hooks(body.get("hooks", {})),
        pulled_image=image.id,
    )
    world.add([notebook])
    life.settle_in(world, notebook, call.now)
    return answer(notebook_view(world, notebook))


def _first_lease(world: World, body: Mapping[str, Any], at: int) -> Lease:
    """``duration`` wins over ``lease`` and makes it a TIMING one."""
    said = validation.mapping(body.get("lease", {}), "lease", ("duration", "type"))
    kind = validation.one_of(said.get("type", "TIMING"), "lease.type", _LEASE_TYPES)
    duration = validation.integer(said.get("duration", HOUR_MS), "lease.duration")
    if "duration" in body:
        kind, duration = "TIMING", validation.integer(body["duration"], "duration")
    _check_duration(duration, minus_one=world.rules.duration_minus_one == "accept")
    lease = Lease(type=kind, enable=True, create_at=at, duration=0, update_at=at)
    lease.grant(duration, kind, at)
    return lease


def _first_volume(value: object) -> dict[str, Any]:
    known = ("category", "ownership", "capacity", "uri", "id", "mount_path", "dew_secret_name")
    said = validation.mapping(value, "volume", known)
    if "category" not in said or "ownership" not in said:
        raise missing_parameter("volume.category and volume.ownership")
    category = validation.one_of(said["category"], "volume.category", _CATEGORIES)
    ownership = validation.one_of(said["ownership"], "volume.ownership", ("MANAGED", "DEDICATED"))
    if category in ("OBS", "OBSFS"):
        if ownership == "MANAGED":
            raise Refusal("ModelArts.6702", f"{category} volumes must be DEDICATED.")
        if "dew_secret_name" not in said:
            raise Refusal("ModelArts.6967", "The parameter dew_secret_name is empty.")
    volume: dict[str, Any] = {
        "category": category,
        "ownership": ownership,
        "mount_path": validation.text(said.get("mount_path", "/home/ma-user/work/"), "volume.mount_path"),
    }
    if category in _DEFAULT_CAPACITY_GB:
        capacity = said.get("capacity", _DEFAULT_CAPACITY_GB[category])
        volume["capacity"] = validation.disk_size(capacity, "volume.capacity", present=0)
        volume["status"] = "IN_USE"
    return volume
