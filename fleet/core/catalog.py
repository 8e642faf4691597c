"""Images and flavors on offer in one scope, and what fits what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fleet.core.notebook import Flavor, Image, Notebook


@dataclass(frozen=True, slots=True)
class Catalog:
    """The images (built-in and own) and flavors that one scope offers, by id."""

    images: Mapping[str, Image] = field(default_factory=dict)
    flavors: Mapping[str, Flavor] = field(default_factory=dict)

    def find_images(self, name: str) -> tuple[Image, ...]:
        """The images of that very name; if there are none, those of the family, whatever their status.

        The family pytorch2.6 is every name that goes on with neither a letter nor a digit:
        pytorch2.6-cuda12.4, but not pytorch2.60.
        """
        ordered = sorted(self.images.values(), key=lambda image: (image.name, image.id))
        exact = tuple(image for image in ordered if image.name == name)
        return exact or tuple(image for image in ordered if _in_family(image.name, name))

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
    )


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


def _missing_services(image: Image, services: set[str]) -> Iterator[str]:
    for service in sorted(services - set(image.dev_services)):
        yield f"it does not offer {service}, which the notebook has an endpoint for"
    if "NOTEBOOK" not in image.dev_services and "SSH" not in services:
        yield "it can be reached by SSH only, and the notebook has no SSH endpoint"
