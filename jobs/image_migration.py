"""Moves notebooks to another image: to one by id or name, or to one for each processor architecture.

A name is exact, or a family: pytorch2.6 stands for the one usable image of that family that fits the
notebook. What fits is decided by `fleet.core.catalog` before anything is stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from fleet.core.catalog import Catalog, architecture, misfits
from fleet.core.errors import UsageError
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Image, Notebook
from fleet.core.patch import NotebookPatch, require_uuid
from fleet.core.selector import Selector
from fleet.core.spelling import similar

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,511}")
_SHOWN = 3  # images named in one message


def _image_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("an image name has only letters, digits, '.', '-' and '_'")
    return text


def _image_id(text: str) -> str:
    try:
        return require_uuid("an image id", text)
    except UsageError:
        raise ValueError("an image id is a UUID such as 278e88d1-5b71-4766-8502-b3ba72e824d9") from None


def _selector(text: str) -> str:
    try:
        return Selector.parse(text).text
    except UsageError as error:
        raise ValueError(str(error)) from None


ImageId = Annotated[str, AfterValidator(_image_id), WithJsonSchema({"type": "string", "format": "uuid"})]
ImageName = Annotated[
    str, AfterValidator(_image_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]


class _Choice(BaseModel):
    """One way out of several to say which image."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Target(_Choice):
    """One image, by id or by name."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["id"]}, {"required": ["name"]}]})

    id: ImageId | None = None
    name: ImageName | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Target:
        if (self.id is None) == (self.name is None):
            raise ValueError("give either id or name")
        return self

    def candidates(self, catalog: Catalog) -> tuple[Image, ...]:
        """The images that are meant, whatever their status."""
        if self.name is not None:
            return catalog.find_images(self.name)
        return tuple(image for image in (catalog.images.get(self.id or ""),) if image is not None)

    def check(self, where: str, context: Context) -> None:
        """Raises UsageError when the scope has no such image, or none that is ACTIVE."""
        found = self.candidates(context.catalog)
        if not found:
            near = ", ".join(similar(self.name or "", context.catalog.names()))
            advice = f"the nearest are {near}" if near else "check the id or name"
            word = self.name or self.id
            raise UsageError(f"with.{where}: scope {context.scope} has no image {word}; {advice}")
        if all(image.status != "ACTIVE" for image in found):
            statuses = ", ".join(f"{image.name} is {image.status or 'of unknown status'}" for image in found)
            raise UsageError(
                f"with.{where}: no ACTIVE image in scope {context.scope}: {statuses}; take another"
            )


class Destination(_Choice):
    """One image for all, by id or name, or one for each processor architecture."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["id"]},
                {"required": ["name"]},
                {"anyOf": [{"required": ["x86_64"]}, {"required": ["aarch64"]}]},
            ]
        }
    )

    id: ImageId | None = None
    name: ImageName | None = None
    x86_64: Target | None = None
    aarch64: Target | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Destination:
        by_architecture = self.x86_64 is not None or self.aarch64 is not None
        if (self.id is not None) + (self.name is not None) + by_architecture != 1:
            raise ValueError("give id, or name, or an image for x86_64 and aarch64 each")
        return self

    def targets(self) -> Mapping[str, Target]:
        """What is meant by architecture; "" stands for every one."""
        if self.id is not None or self.name is not None:
            return {"": Target(id=self.id, name=self.name)}
        given = {"x86_64": self.x86_64, "aarch64": self.aarch64}
        return {arch: target for arch, target in given.items() if target is not None}


class Source(_Choice):
    """The images to move away from: one by id, a name or family, or a selector."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [key]} for key in ("id", "name", "select")]}
    )

    id: ImageId | None = None
    name: ImageName | None = None
    select: Annotated[str, AfterValidator(_selector)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Source:
        if (self.id is not None) + (self.name is not None) + (self.select is not None) != 1:
            raise ValueError("give id, name or select, one of them")
        return self

    def selector(self) -> str:
        """The same as an expression."""
        if self.id is not None:
            return f'image.id == "{self.id}"'
        if self.name is not None:
            return f'image.name.matches(r"^{re.escape(self.name)}([^A-Za-z0-9]|$)")'
        return self.select or "false"


class ImageMigration(JobSpec):
    """Move notebooks to another image."""

    source: Source | None = Field(None, alias="from", description="Narrows the selection to these images.")
    to: Destination

    def narrows(self) -> str | None:
        """What `from` means."""
        return None if self.source is None else self.source.selector()

    def check(self, context: Context) -> None:
        """Raises UsageError for an image that the scope does not have or that is not ACTIVE."""
        for arch, target in self.to.targets().items():
            target.check(f"to.{arch}" if arch else "to", context)

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The image that is meant and fits. A notebook that is on one of the images meant stays on it."""
        catalog = context.catalog
        flavor = catalog.flavors.get(notebook.flavor)
        # A listing may shorten the image; the catalogue tells its architecture.
        known = replace(notebook, image=catalog.images.get(notebook.image.id, notebook.image))
        arch = architecture(known, flavor)
        targets = self.to.targets()
        target = targets.get("") or targets.get(arch)
        if target is None:
            return Skip(f"no image is given for {arch or 'an unknown architecture'}")
        candidates = target.candidates(catalog)
        if any(image.id == notebook.image.id for image in candidates):
            return NotebookPatch(image_id=notebook.image.id)
        problems = {image: misfits(known, image, flavor) for image in candidates}
        fitting = [image for image, reasons in problems.items() if not reasons]
        if len(fitting) == 1:
            return NotebookPatch(image_id=fitting[0].id)
        return Skip(_too_many(fitting) if fitting else _none_fits(problems))


def _too_many(images: list[Image]) -> str:
    listed = ", ".join(f"{image.name} ({image.id})" for image in images[:_SHOWN])
    return f"{len(images)} images fit: {listed}{_more(len(images))}; name one"


def _none_fits(problems: Mapping[Image, tuple[str, ...]]) -> str:
    listed = "; ".join(f"{image.name}: {', '.join(why)}" for image, why in list(problems.items())[:_SHOWN])
    return f"no image fits: {listed}{_more(len(problems))}" if problems else "no such image in this scope"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
