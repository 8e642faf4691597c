"""Moves notebooks to other images: all to one, to one for each processor architecture, or by a map.

A name is exact, or a family: pytorch2.6 stands for the one usable image of that family that fits the
notebook. `newest` stands for the newest version of what the notebook is on. What fits is decided by
`fleet.core.catalog` before anything is stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from fleet.core.catalog import Catalog, architecture, misfits
from fleet.core.changing.saved_image import ORGANIZATION, image_path, organization_problem
from fleet.core.errors import UsageError
from fleet.core.image_family import age, newest_first
from fleet.core.job import Context, Facts, JobSpec, Skip, Wants
from fleet.core.notebook import Flavor, Image, Notebook
from fleet.core.patch import NotebookPatch, require_uuid
from fleet.core.selecting.selector import Selector
from fleet.core.spelling import similar

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,511}")
_PATTERN = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,511}")
_SAVED = "IMAGE_SAVE"  # origin of an image that a notebook was saved as (ListImage API)
_SHOWN = 3  # images named in one message


def _image_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("an image name has only letters, digits, '.', '-' and '_'")
    return text


def _image_pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError("a pattern has only letters, digits, '.', '-', '_', and * and ? for anything")
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
ImagePattern = Annotated[
    str,
    AfterValidator(_image_pattern),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN.pattern}$"}),
]


def _organization(text: str) -> str:
    if problem := organization_problem(text):
        raise ValueError(problem)
    return text


Organization = Annotated[
    str,
    AfterValidator(_organization),
    WithJsonSchema({"type": "string", "pattern": f"^{ORGANIZATION.pattern}$"}),
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

    def problems(self, where: str, context: Context) -> Iterator[str]:
        """That the scope has no such image, or none that is ACTIVE."""
        found = self.candidates(context.catalog)
        if not found:
            near = ", ".join(similar(self.name or "", context.catalog.names()))
            advice = f"the nearest are {near}" if near else "check the id or name"
            word = self.name or self.id
            yield f"with.{where}: scope {context.scope} has no image {word}; {advice}"
        elif all(image.status != "ACTIVE" for image in found):
            statuses = ", ".join(f"{image.name} is {image.status or 'of unknown status'}" for image in found)
            yield f"with.{where}: no ACTIVE image in scope {context.scope}: {statuses}; take another"


class Destination(_Choice):
    """One image for all, by id or name, one for each processor architecture, or the newest of each family."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["id"]},
                {"required": ["name"]},
                {"required": ["newest"]},
                {"anyOf": [{"required": ["x86_64"]}, {"required": ["aarch64"]}]},
            ]
        }
    )

    id: ImageId | None = None
    name: ImageName | None = None
    newest: Literal[True] | None = Field(None, description="The newest version of the present image.")
    x86_64: Target | None = None
    aarch64: Target | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Destination:
        by_architecture = self.x86_64 is not None or self.aarch64 is not None
        given = (self.id is not None, self.name is not None, self.newest is not None, by_architecture)
        if sum(given) != 1:
            raise ValueError("give id, or name, or newest: true, or an image for x86_64 and aarch64 each")
        return self

    def problems(self, where: str, context: Context) -> Iterator[str]:
        """The images that the scope does not have or that are not ACTIVE."""
        for arch, target in self.targets().items():
            yield from target.problems(f"{where}.{arch}" if arch else where, context)

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


class Pattern(_Choice):
    """Images by a pattern of their name, by the processor architecture, or by both."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["name"]}, {"required": ["arch"]}]})

    name: ImagePattern | None = Field(None, description="* stands for anything, ? for one character.")
    arch: Literal["x86_64", "aarch64"] | None = None

    @model_validator(mode="after")
    def _something(self) -> Pattern:
        if self.name is None and self.arch is None:
            raise ValueError("give a name, such as pytorch1.8*, or an arch")
        return self

    def matches(self, name: str, arch: str) -> bool:
        """Whether an image of that name on that processor is meant."""
        named = self.name is None or re.fullmatch(_regex(self.name), name) is not None
        return named and self.arch in (None, arch)

    def selector(self) -> str:
        """An expression that lets through at least what is meant: a listing may not tell the processor."""
        return "true" if self.name is None else f'image.name.matches(r"^{_regex(self.name)}$")'


class Rule(_Choice):
    """Where some images lead to."""

    source: Pattern = Field(alias="from")
    to: Destination


class ImageMigration(JobSpec):
    """Move notebooks to other images."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["to"]}, {"required": ["map"], "not": {"required": ["from"]}}],
            "if": {"required": ["save_to"]},
            "then": {"required": ["save_first"], "properties": {"save_first": {"const": True}}},
        }
    )

    source: Source | None = Field(None, alias="from", description="Narrows the selection to these images.")
    to: Destination | None = None
    map: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = Field(
        None, description="Many images to many: the first rule that matches counts."
    )
    save_first: bool = Field(
        False, description="Save the environment of what runs as an image before it is stopped."
    )
    save_to: Organization | None = Field(
        None, description="The organization for these images; default: that of all own images of the scope."
    )

    @model_validator(mode="after")
    def _one_way(self) -> ImageMigration:
        if (self.to is None) == (self.map is None):
            raise ValueError("give either to, or map with a from and a to for each kind of image")
        if self.map is not None and self.source is not None:
            raise ValueError("from goes with to; the rules of a map have their own")
        if self.save_to is not None and not self.save_first:
            raise ValueError("save_to says where to, save_first: true that anything is saved at all")
        return self

    def narrows(self) -> str | None:
        """What `from` means, or all rules together."""
        if self.map is not None:
            return " || ".join(rule.source.selector() for rule in self.map)
        return None if self.source is None else self.source.selector()

    def check(self, context: Context) -> None:
        """Raises UsageError for every image that the scope does not have or that is not ACTIVE."""
        if problems := [*self._problems(context)]:
            raise UsageError("\n".join(problems))

    def _problems(self, context: Context) -> Iterator[str]:
        for number, rule in enumerate(self.map or ()):
            yield from rule.to.problems(f"map[{number}].to", context)
        if self.to is not None:
            yield from self.to.problems("to", context)
        if self.save_first and not self._saves_to(context):
            yield (
                f"with.save_first: nothing tells to which organization of scope {context.scope} to save;"
                " name one that exists, such as save_to: lab"
            )

    def wants(self) -> Wants:
        """What a notebook runs on that no catalogue lists."""
        return Wants(switchable=True)

    def needs_switchable(self, notebook: Notebook, context: Context) -> bool:
        """Flavors of pools and of free instances are in no catalogue."""
        return context.catalog.machine(notebook) is None

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The image that is meant and fits. A notebook that is on one of the images meant stays on it."""
        catalog = context.catalog
        flavor = catalog.machine(notebook, context.facts.get(notebook.id, Facts()).switchable)
        known = catalog.whole(notebook)
        arch = architecture(known, flavor)
        destination = self._destination(known.image.name, arch)
        if destination is None:
            return Skip(
                f"no rule is for {known.image.name or 'its image'} on {arch or 'an unknown processor'}"
            )
        if destination.newest:
            return _newest(known, catalog, flavor)
        targets = destination.targets()
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

    def saves(self, notebook: Notebook, context: Context) -> str:
        """An image of its own for each notebook, in the organization of the others."""
        return image_path(self._saves_to(context), notebook, context.now) if self.save_first else ""

    def saves_by(self, context: Context) -> str:
        """Whether somebody named the organization, or the images that are there did."""
        if self.save_to is not None:
            return "named by save_to"
        return "guessed from the saved images that are there; save_to names another"

    def _saves_to(self, context: Context) -> str:
        """The organization that was named, or the only one that there are images of; empty for none."""
        images = context.catalog.images.values()
        own = {image.namespace for image in images if image.origin == _SAVED and image.namespace}
        return self.save_to or (own.pop() if len(own) == 1 else "")

    def _destination(self, name: str, arch: str) -> Destination | None:
        """Where a notebook on an image of that name and processor is led."""
        if self.map is None:
            return self.to
        return next((rule.to for rule in self.map if rule.source.matches(name, arch)), None)


def _newest(notebook: Notebook, catalog: Catalog, flavor: Flavor | None) -> NotebookPatch | Skip:
    """The newest of the family that fits, unless the notebook is on one at least as new."""
    present = notebook.image
    kin = newest_first(present, catalog.images.values())
    problems = {image: misfits(notebook, image, flavor) for image in kin}
    best = next((image for image in kin if not problems[image]), None)
    if best is None:
        return Skip(_none_fits(problems))
    if age(best, present) <= age(present, present):
        return NotebookPatch(image_id=present.id)
    return NotebookPatch(image_id=best.id)


def _regex(pattern: str) -> str:
    """A glob as a regular expression."""
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


def _too_many(images: list[Image]) -> str:
    listed = ", ".join(f"{image.name} ({image.id})" for image in images[:_SHOWN])
    return f"{len(images)} images fit: {listed}{_more(len(images))}; name one"


def _none_fits(problems: Mapping[Image, tuple[str, ...]]) -> str:
    listed = "; ".join(f"{image.name}: {', '.join(why)}" for image, why in list(problems.items())[:_SHOWN])
    return f"no image fits: {listed}{_more(len(problems))}" if problems else "no such image in this scope"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
