"""Images and flavors: what there is, and which go together.

List and show calls of the image and flavor APIs, and the checks that an update and a creation make
before they accept a combination.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleet.simulator.messages import Answer, Call, answer
from fleet.simulator.queries import choice, flag, page, sort
from fleet.simulator.refusals import Refusal, image_unusable
from fleet.simulator.views import flavor_view, image_view
from fleet.simulator.world import CUSTOM_FLAVOR, Flavor, Image, Notebook, World

CATEGORIES = ("CPU", "GPU", "ASCEND")
SERVICE_TYPES = ("COMMON", "INFERENCE", "TRAIN", "DEV", "UNKNOWN")

_IMAGE_KEYS: Mapping[str, Callable[[Image], object]] = {
    "updateTime": lambda image: (image.update_at, image.id),
    "update_at": lambda image: (image.update_at, image.id),
    "create_at": lambda image: (image.create_at, image.id),
    "name": lambda image: (image.name, image.id),
}
_FLAVOR_KEYS: Mapping[str, Callable[[Flavor], object]] = {
    "id": lambda flavor: flavor.id,
    "vcpus": lambda flavor: (flavor.vcpus, flavor.id),
    "memory": lambda flavor: (flavor.memory, flavor.id),
}


def list_images(world: World, call: Call) -> Answer:
    """GET /images: built-in ones unless ``type=DEDICATED`` asks for the saved ones, by their workspace."""
    query = call.query
    kind = choice(query, "type", ("BUILD_IN", "DEDICATED"), "BUILD_IN")
    name = query.get("name", "")
    fuzzy = flag(query, "name_fuzzy_match", default=True)
    service = choice(query, "service_type", SERVICE_TYPES, "")
    namespace = query.get("namespace", "")
    zero = kind == "DEDICATED" and world.rules.workspace_default == "zero"
    workspace = query.get("workspace_id", "0" if zero else "")
    images = [
        image
        for image in world.images.values()
        if image.type == kind
        and image.project in (None, call.project)
        and (name in image.name if fuzzy else name in ("", image.name))
        and service in ("", image.service_type)
        and namespace in ("", image.namespace)
        and workspace in ("", image.workspace_id)
    ]
    if "sort_key" in query:
        images = sort(images, query, _IMAGE_KEYS)
    cut = page(query, default_limit=200)
    rows = [image_view(image) for image in cut.cut(images)]
    return answer({"data": rows, **cut.numbers(len(images), first=0)})


def show_image(world: World, call: Call) -> Answer:
    image = find_image(world, call.project, call.target)
    view = image_view(image)
    return answer({**view, "support_res_categories": view["resource_categories"]})


def find_image(world: World, project: str, image_id: str, workspace: str | None = None) -> Image:
    """The image of that id; with a workspace, only if a notebook there may use it."""
    image = world.images.get(image_id)
    if image is None or image.project not in (None, project):
        raise Refusal("ModelArts.6797", f"The image {image_id} is not found.")
    if workspace is not None and image.visibility == "PRIVATE" and image.workspace_id != workspace:
        raise Refusal("ModelArts.6797", f"The image {image_id} is not found.")
    return image


def list_flavors(world: World, call: Call) -> Answer:
    query = call.query
    category = choice(query, "category", CATEGORIES, "")
    feature = choice(query, "feature", ("NOTEBOOK", "DEFAULT"), "NOTEBOOK")
    pool_type = choice(query, "type", ("MANAGED", "DEDICATED"), "MANAGED")
    flavor_type = query.get("flavor_type", "")
    flavors = [
        flavor
        for flavor in world.flavors.values()
        if pool_type == "MANAGED"
        and not flavor.pool_only
        and category in ("", flavor.category)
        and feature == flavor.feature
        and flavor_type in ("", flavor.flavor_type)
    ]
    return _flavor_page(world, call, flavors)


def show_switchable_flavors(world: World, call: Call) -> Answer:
    notebook = world.find(call.project, call.target)
    return _flavor_page(world, call, switchable_flavors(world, notebook, notebook.image))


def _flavor_page(world: World, call: Call, flavors: Sequence[Flavor]) -> Answer:
    """The same rows twice, under ``data`` and ``flavors``, as the real list has them."""
    if "sort_key" in call.query:
        flavors = sort(flavors, call.query, _FLAVOR_KEYS)
    cut = page(call.query, default_limit=0)
    rows = [flavor_view(f, world.is_sold_out(f.id, call.now)) for f in cut.cut(flavors)]
    return answer({"data": rows, "flavors": rows, **cut.numbers(len(flavors), first=1)})


def switchable_flavors(world: World, notebook: Notebook, image: Image) -> list[Flavor]:
    """What the notebook may be switched to once it is on this image; sold-out ones included."""
    return [
        flavor
        for flavor in world.flavors.values()
        if fits(image, flavor)
        and flavor.feature == notebook.feature
        and notebook.volume["category"] in flavor.storages
        and (notebook.pool is not None or not flavor.pool_only)
    ]


def machine(world: World, flavor_id: str, custom_spec: Mapping[str, Any] | None) -> Flavor | None:
    """The flavor of that id; for a custom specification the flavor that it describes."""
    if flavor_id != CUSTOM_FLAVOR or custom_spec is None:
        return world.flavors.get(flavor_id)
    return Flavor(
        id=flavor_id,
        name=flavor_id,
        arch=custom_spec["arch"],
        category=custom_spec["category"],
        vcpus=round(custom_spec["cpu"]),
        memory=custom_spec["memory"] * 1024,
        storages=(),
    )


def fits(image: Image, flavor: Flavor) -> bool:
    """Same processor architecture (in any case of letters), category, and accelerator where both name it."""
    kinds = (image.flavor_type, flavor.flavor_type)
    return (
        image.arch.lower() == flavor.arch.lower()
        and flavor.category in image.categories
        and (flavor.category != "ASCEND" or None in kinds or kinds[0] == kinds[1])
    )


def check_image(image: Image, services: Sequence[str]) -> None:
    """Raise when the image cannot be used, or not by the ways in that the notebook has."""
    if image.status != "ACTIVE":
        raise image_unusable(image.id, image.status)
    if "NOTEBOOK" not in image.dev_services and "SSH" not in services:
        raise Refusal(
            "ModelArts.6768",
            f"SSH configuration is missing: the image {image.name} only supports SSH.",
        )
    for service in services:
        if service not in image.dev_services:
            raise Refusal("ModelArts.6768", f"The image {image.name} does not support {service}.")


def check_fit(image: Image, flavor: Flavor) -> None:
    if not fits(image, flavor):
        raise Refusal(
            "ModelArts.6330",
            f"The image {image.name} ({image.arch}, {'/'.join(image.categories)}) does not match "
            f"the flavor {flavor.id} ({flavor.arch}, {flavor.category}).",
        )
