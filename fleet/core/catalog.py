"""Images and flavors on offer in one scope, and what fits what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from fleet.core.image_family import BUILT_IN
from fleet.core.notebook import Flavor, Image, Notebook

PRIVATE, PUBLIC = "PRIVATE", "PUBLIC"  # who may use an image (ListImage API)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The images (built-in and own) and flavors that one scope offers, by id."""

    images: Mapping[str, Image] = field(default_factory=dict)
    flavors: Mapping[str, Flavor] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is known of what the scope offers."""
        return bool(self.images or self.flavors)

    def find_images(self, name: str) -> tuple[Image, ...]:
        """The images of that very name; if there are none, those of the family, whatever their status.

        The family pytorch2.6 is every name that goes on with neither a letter nor a digit:
        pytorch2.6-cuda12.4, but not pytorch2.60.
        """
        ordered = sorted(self.images.values(), key=lambda image: (image.name, image.id))
        exact = tuple(image for image in ordered if image.name == name)
        return exact or tuple(image for image in ordered if _in_family(image.name, name))

    def whole(self, notebook: Notebook) -> Notebook:
        """The notebook with its image as the catalogue has it: a listing shortens it."""
        return replace(notebook, image=self.images.get(notebook.image.id, notebook.image))

    def machine(self, notebook: Notebook, switchable: Collection[Flavor] | None = None) -> Flavor | None:
        """What the notebook runs on, if the catalogue, the notebook or its `switchable` flavors tell."""
        own = () if notebook.custom_spec is None else (notebook.custom_spec,)
        others = (one for one in (*own, *(switchable or ())) if one.id == notebook.flavor)
        return self.flavors.get(notebook.flavor) or next(others, None)

    def names(self) -> tuple[str, ...]:
        """Every image name and what it begins with up to the first "-", for spelling advice."""
        names = {image.name for image in self.images.values()}
        return tuple(sorted(names | {name.partition("-")[0] for name in names}))


def _in_family(name: str, family: str) -> bool:
    return name.startswith(family) and not name[len(family) : len(family) + 1].isalnum()


def architecture(notebook: Notebook, flavor: Flavor | None) -> str:
    """The processor architecture that the notebook runs on, in lower case; empty when nothing tells."""
    return ((flavor.arch if flavor else "") or notebook.image.arch).lower()


def misfits(notebook: Notebook, image: Image, flavor: Flavor | None) -> tuple[str, ...]:
    """Why this image cannot run on this notebook; empty when it can.

    `flavor` is the notebook's, or None when the catalogue does not have it: then its present image tells
    the architecture. What cannot be told counts as a misfit, since finding out means stopping the notebook.
    """
    return (
        *_unusable(image),
        *_wrong_architecture(image, architecture(notebook, flavor)),
        *(_wrong_machine(image, flavor) if flavor else ()),
        *_missing_services(image, {endpoint.service for endpoint in notebook.endpoints}),
        *_out_of_sight(notebook, image),
    )


def sight_remark(notebook: Notebook, image: Image) -> str:
    """What a person should know of who may use the image; empty when everybody may.

    An image names its organization and its workspace, but nobody whom it belongs to (ListImage API).
    """
    if image.type == BUILT_IN or image.visibility == PUBLIC or _out_of_sight(notebook, image):
        return ""
    kind = "private" if image.visibility == PRIVATE else "of unknown visibility"
    return f"{image.name} is {kind}: the cloud does not tell whether the notebook's owner may use it"


def flavor_misfits(
    notebook: Notebook,
    flavor: Flavor | None,
    wanted: str,
    image: Image,
    switchable: Collection[Flavor] | None,
) -> tuple[str, ...]:
    """Why this notebook cannot be switched to the flavor with the id `wanted`; empty when it can.

    `flavor` is the catalogue's row of it, or None when the catalogue does not have it, as with those of a
    pool. `image` is the one that the notebook will be on. `switchable` are the flavors that the cloud offers
    this notebook (ShowSwitchableFlavors), None when they are not known: that counts as a misfit, as above.
    It offers what goes with the present image; what that alone hides is judged by the catalogue.
    """
    if wanted == notebook.flavor:
        return ()
    if switchable is None:
        return (f"whether the notebook can be switched to {wanted} is not known",)
    offered = next((one for one in switchable if one.id == wanted), None)
    if offered is None and flavor is not None and _is_hidden(notebook, flavor, image):
        offered = flavor
    if offered is None:
        unlisted = "" if flavor else ", and the scope does not list it"
        return (f"{wanted} is not offered to this notebook{unlisted}",)
    return (
        *((f"{wanted} is sold out",) if offered.sold_out or (flavor and flavor.sold_out) else ()),
        *(f"{image.name or image.id} cannot run on {wanted}: {why}" for why in mismatches(image, offered)),
    )


def switch_remark(
    catalog: Catalog,
    notebook: Notebook,
    image_id: str | None,
    flavor: str | None,
    switchable: Collection[Flavor] | None,
) -> str:
    """What a person should know of a switch to a flavor that the cloud does not offer yet; else empty."""
    image = catalog.images.get(image_id or "")
    if (
        image is None
        or flavor in (None, notebook.flavor)
        or any(one.id == flavor for one in switchable or ())
    ):
        return ""
    return (
        f"{flavor} is not offered on the present image, and by the catalogue it goes with {image.name}: the "
        "cloud tells what a notebook can be switched to on its present image only"
    )


def _is_hidden(notebook: Notebook, flavor: Flavor, image: Image) -> bool:
    """Whether the present image, and nothing else that is known, keeps the cloud from offering the flavor.

    `image` takes its place. Of an image that is not in the catalogue nobody knows what it hides.
    """
    present, disk = notebook.image, notebook.volume.category.upper() if notebook.volume else ""
    return (
        bool(present.arch and present.resource_categories and mismatches(present, flavor))
        and not mismatches(image, flavor)
        and flavor.free is (notebook.feature == "DEFAULT")
        and disk in (storage.upper() for storage in flavor.storages)
    )


def mismatches(image: Image, flavor: Flavor) -> tuple[str, ...]:
    """Why the image cannot run on a machine of that flavor; empty when it can."""
    needs, has = image.arch.lower(), flavor.arch.lower()
    if not needs or needs != has:
        wrong = f"it is for {needs or 'an unknown architecture'}, {flavor.id} is {has or 'of an unknown one'}"
        return (wrong, *_wrong_machine(image, flavor))
    return tuple(_wrong_machine(image, flavor))


def change_misfits(
    catalog: Catalog,
    notebook: Notebook,
    image_id: str | None,
    flavor: str | None,
    switchable: Collection[Flavor] | None,
) -> tuple[str, ...]:
    """Why the notebook cannot be given this image, this flavor or both; empty when it can."""
    known, machine = catalog.whole(notebook), catalog.machine(notebook, switchable)
    image = known.image if image_id is None else catalog.images.get(image_id)
    if image is None:
        return (f"this scope has no image {image_id}",)
    reasons: tuple[str, ...] = ()
    if flavor is not None:
        listed = catalog.flavors.get(flavor)
        machine = next((one for one in switchable or () if one.id == flavor), listed or machine)
        reasons = flavor_misfits(known, listed, flavor, image, switchable)
    if image_id is not None and not reasons:
        reasons = tuple(f"{image.name}: {why}" for why in misfits(known, image, machine))
    return reasons


def start_problem(catalog: Catalog, notebook: Notebook) -> str:
    """Why the notebook, once stopped, could not be started again; empty when nothing speaks against it."""
    image = catalog.images.get(notebook.image.id)
    if image is None or not image.status or image.status == "ACTIVE":
        return ""
    return f"its image {image.name} is {image.status}, so it could not be started again"


def out_of_stock(catalog: Catalog, notebook: Notebook, switchable: Collection[Flavor] | None) -> bool:
    """Whether no machine is left of what the notebook runs on: one that stops gives its own away."""
    machine = catalog.machine(notebook, switchable)
    return machine is not None and machine.sold_out


def _unusable(image: Image) -> Iterator[str]:
    if image.status != "ACTIVE":
        yield f"its status is {image.status or 'unknown'}, not ACTIVE"


def _wrong_architecture(image: Image, wanted: str) -> Iterator[str]:
    if not wanted:
        yield "the notebook's architecture is unknown"
    elif image.arch.lower() != wanted:
        yield f"it is for {image.arch.lower() or 'an unknown architecture'}, the notebook runs on {wanted}"


def _wrong_machine(image: Image, flavor: Flavor) -> Iterator[str]:
    supported = {category.upper() for category in image.resource_categories}
    if flavor.category.upper() not in supported:
        yield f"it does not support the category {flavor.category or '(unknown)'} of {flavor.id}"
    wanted, offered = _chip(image.flavor_type), _chip(flavor.accelerator_type)
    if wanted and offered and wanted != offered:
        yield f"it is for {image.flavor_type}, {flavor.id} has {flavor.accelerator_type}"


def _chip(text: str) -> str:
    """SNT9B of ASCEND_SNT9B and of ascend-snt9b: images and flavors spell the Ascend type differently."""
    found = re.search(r"SNT\d+[A-Z]?", text.upper())
    return found[0] if found else ""


def _out_of_sight(notebook: Notebook, image: Image) -> tuple[str, ...]:
    """A private image is seen in its own workspace alone; where either is not told, nobody can say."""
    mine, its = notebook.workspace_id, image.workspace_id
    if image.type == BUILT_IN or image.visibility != PRIVATE or not mine or not its or mine == its:
        return ()
    return (f"it is private to workspace {its}, the notebook is in {mine}",)


def _missing_services(image: Image, services: set[str]) -> Iterator[str]:
    for service in sorted(services - set(image.dev_services)):
        yield f"it does not offer {service}, which the notebook has an endpoint for"
    if "NOTEBOOK" not in image.dev_services and "SSH" not in services:
        yield "it can be reached by SSH only, and the notebook has no SSH endpoint"
