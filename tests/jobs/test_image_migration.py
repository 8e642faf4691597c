"""The image migration: cases as data, its parameters, and the example file."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from msgspec import structs
from pydantic import ValidationError

from fleet.core.catalog import Catalog
from fleet.core.errors import UsageError
from fleet.core.job import Context, Facts, JobSpec, Skip
from fleet.core.jobfiles.jobfile import read_job, schema
from fleet.core.notebook import Endpoint, Flavor, Image, Notebook, Status
from fleet.core.patch import NotebookPatch
from fleet.core.selecting.selector import Selector
from jobs.image_migration import ImageMigration

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "jobs" / "examples" / "image-migration.yaml"
DATA = yaml.safe_load(Path(__file__).with_name("image_migration.yaml").read_text())


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _image(number: int, name: str, arch: str, categories: list[str], **more: Any) -> Image:
    return Image(
        uuid(number),
        name,
        arch,
        status=more.get("status", "ACTIVE"),
        flavor_type=more.get("flavor_type", ""),
        resource_categories=tuple(categories),
        dev_services=tuple(more.get("services", ("NOTEBOOK", "SSH"))),
        type=more.get("type", "BUILD_IN"),
        namespace=more.get("namespace", ""),
        create_at=more.get("create_at", 0),
    )


CATALOG = Catalog(
    {uuid(number): _image(number, **image) for number, image in DATA["images"].items()},
    {id: Flavor(id, **flavor) for id, flavor in DATA["flavors"].items()},
)
CONTEXT = Context("lab-a", CATALOG, now=0)
ID_B = "b0000000-0000-4000-8000-000000000099"


def notebook(image: int, flavor: str, services: tuple[str, ...] = ("SSH",)) -> Notebook:
    endpoints = tuple(Endpoint(service) for service in services)
    # As in a listing, the image is no more than an id.
    return Notebook(uuid(99), Status.STOPPED, flavor=flavor, image=Image(uuid(image)), endpoints=endpoints)


def with_uuids(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {key: uuid(item) if key == "id" else with_uuids(item) for key, item in parameters.items()}
    if isinstance(parameters, list):
        return [with_uuids(item) for item in parameters]
    return parameters


def migration(parameters: Any) -> ImageMigration:
    return ImageMigration.model_validate(with_uuids(parameters))


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: case["name"].replace(" ", "-"))
def test_case(case: dict[str, Any]) -> None:
    proposal = migration(case["with"]).propose(notebook(**case["notebook"]), CONTEXT)
    if "image" in case:
        assert proposal == NotebookPatch(image_id=uuid(case["image"]))
    else:
        assert proposal == Skip(case["skip"].replace("{6}", uuid(6)).replace("{7}", uuid(7)))


def test_what_a_notebook_runs_on_is_asked_only_where_no_catalogue_tells() -> None:
    job = migration({"to": {"id": 3}})
    assert job.wants().switchable
    assert not job.needs_switchable(notebook(1, "gpu"), CONTEXT)
    assert job.needs_switchable(notebook(1, "of a pool"), CONTEXT)
    custom = structs.replace(
        notebook(1, "custom"), custom_spec=Flavor("custom", arch="x86_64", category="CPU")
    )
    assert not job.needs_switchable(custom, CONTEXT)


@pytest.mark.parametrize(("category", "fits"), [("GPU", True), ("ASCEND", False)])
def test_a_machine_that_no_catalogue_lists_counts_by_what_the_cloud_offers(category: str, fits: bool) -> None:
    found = notebook(1, "of a pool")
    offered = Flavor("of a pool", arch="x86_64", category=category)
    context = replace(CONTEXT, facts={found.id: Facts((offered,))})
    proposal = migration({"to": {"id": 3}}).propose(found, context)
    assert isinstance(proposal, NotebookPatch) is fits


def test_a_long_list_of_images_is_cut() -> None:
    images = {uuid(n): _image(n, f"conda3-{n}", "x86_64", ["CPU"]) for n in range(5)}
    context = Context("lab-a", Catalog(images, CATALOG.flavors), now=0)
    proposal = migration({"to": {"name": "conda3"}}).propose(notebook(9, "cpu"), context)
    assert isinstance(proposal, Skip)
    assert proposal.reason.startswith("5 images fit: conda3-0 (")
    assert proposal.reason.endswith(f"conda3-2 ({uuid(2)}) and 2 more; name one")


@pytest.mark.parametrize(
    "to", [{"name": "pytorch2.6"}, {"id": 3}, {"x86_64": {"name": "conda3"}, "aarch64": {"id": 4}}]
)
def test_images_that_the_scope_has_pass_the_check(to: Any) -> None:
    migration({"to": to}).check(CONTEXT)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (
            {"name": "pytorch2.7"},
            (
                "with.to: scope lab-a has no image pytorch2.7; "
                "the nearest are pytorch2.6, pytorch2.10, pytorch1.8"
            ),
        ),
        ({"name": "zzzzzz"}, "with.to: scope lab-a has no image zzzzzz; check the id or name"),
        ({"id": 77}, f"with.to: scope lab-a has no image {uuid(77)}; check the id or name"),
        (
            {"id": 5},
            f"with.to: no ACTIVE image in scope lab-a: {DATA['images'][5]['name']} is CREATING; take another",
        ),
        (
            {"x86_64": {"name": "conda3"}, "aarch64": {"name": "mindspore1.6"}},
            (
                "with.to.aarch64: scope lab-a has no image mindspore1.6; "
                "the nearest are mindspore1.7, mindspore2.5, mindspore2.5-cann8.1"
            ),
        ),
    ],
)
def test_an_image_that_cannot_be_right_stops_the_job_before_any_notebook(to: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        migration({"to": to}).check(CONTEXT)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("source", "matching"),
    [
        ({"id": 1}, {"a-1.8-x"}),
        ({"name": "a-1.8"}, {"a-1.8", "a-1.8-x", "a-1.8.1"}),
        ({"select": 'image.name.endsWith("x")'}, {"a-1.8-x"}),
    ],
)
def test_from_narrows_the_selection(source: Any, matching: set[str]) -> None:
    text = migration({"from": source, "to": {"id": 3}}).narrows()
    assert text is not None
    selector = Selector.parse(text)
    names = ("a-1.8", "a-1.8-x", "a-1.8.1", "a-1.80", "a-1_8-y", "aa-1.8")
    fleet = [
        Notebook("n", Status.RUNNING, image=Image(uuid(number), name)) for number, name in enumerate(names)
    ]
    assert {row.image.name for row in fleet if selector.matches(row, "lab-a", 0)} == matching


def test_a_map_selects_what_any_of_its_rules_may_mean() -> None:
    rules = [
        {"from": {"name": "a-1.?"}, "to": {"id": 3}},
        {"from": {"name": "*-z", "arch": "x86_64"}, "to": {"id": 4}},
    ]
    text = migration({"map": rules}).narrows()
    assert text is not None
    names = ("a-1.8", "a-1.80", "b-z", "b-zz")
    fleet = [Notebook("n", Status.RUNNING, image=Image(uuid(n), name)) for n, name in enumerate(names)]
    selector = Selector.parse(text)
    assert {row.image.name for row in fleet if selector.matches(row, "lab-a", 0)} == {"a-1.8", "b-z"}


def test_an_image_of_a_map_that_cannot_be_right_is_told_with_its_place() -> None:
    job = migration({"map": [{"from": {"arch": "x86_64"}, "to": {"name": "pytorch2.7"}}]})
    with pytest.raises(UsageError, match=r"with\.map\[0\]\.to: scope lab-a has no image pytorch2\.7"):
        job.check(CONTEXT)


def own(*organizations: str) -> Context:
    """A scope whose images were saved in these organizations."""
    images = {
        uuid(number): Image(uuid(number), "saved", status="ACTIVE", origin="IMAGE_SAVE", namespace=name)
        for number, name in enumerate(organizations, start=50)
    }
    return replace(CONTEXT, catalog=Catalog({**CATALOG.images, **images}, CATALOG.flavors))


def test_environments_are_saved_only_if_asked_for_each_under_a_name_of_its_own() -> None:
    one, other = (
        structs.replace(notebook(1, "gpu"), name="A"),
        structs.replace(notebook(1, "gpu"), id=ID_B, name="A"),
    )
    assert migration({"to": {"id": 3}}).saves(one, own("lab")) == ""
    job = migration({"to": {"id": 3}, "save_first": True})
    assert job.saves(one, own("lab", "lab")) == "lab/before-a-00000000-19700101-000000"
    assert job.saves(other, own("lab")) == "lab/before-a-b0000000-19700101-000000"
    named = migration({"to": {"id": 3}, "save_first": True, "save_to": "mine"})
    assert named.saves(one, own("lab")).startswith("mine/before-a-")


@pytest.mark.parametrize("organizations", [(), ("",), ("lab", "research")])
def test_where_to_save_is_asked_for_where_nothing_tells(organizations: tuple[str, ...]) -> None:
    job = migration({"to": {"id": 3}, "save_first": True})
    with pytest.raises(UsageError, match=r"with\.save_first: nothing tells to which organization"):
        job.check(own(*organizations))
    migration({"to": {"id": 3}, "save_first": True, "save_to": "mine"}).check(own(*organizations))
    job.check(own("lab"))


def test_without_from_nothing_is_narrowed() -> None:
    assert migration({"to": {"id": 3}}).narrows() is None


_WRONG: list[Any] = [
    {},
    {"map": []},
    {"map": [{"from": {}, "to": {"id": 3}}]},
    {"map": [{"from": {"name": "a("}, "to": {"id": 3}}]},
    {"map": [{"from": {"name": "a"}, "to": {"id": 3}}], "to": {"id": 3}},
    {"map": [{"from": {"name": "a"}, "to": {"id": 3}}], "from": {"id": 3}},
    {"to": {"newest": False}},
    {"to": {"newest": True, "id": 3}},
    {"to": {}},
    {"to": {"name": "a b"}},
    {"to": {"name": ""}},
    {"to": {"nam": "x"}},
    {"to": {"name": "x", "id": 3}},
    {"to": {"name": "x", "x86_64": {"name": "y"}}},
    {"to": {"riscv": {"name": "y"}}},
    {"to": {"x86_64": {}}},
    {"to": {"x86_64": {"x86_64": {"name": "y"}}}},
    {"to": "x"},
    {"to": {"id": 3}, "from": {}},
    {"to": {"id": 3}, "from": {"id": 1, "name": "x"}},
    {"to": {"id": 3}, "source": {"id": 1}},
    {"to": {"id": 3}, "save_to": "lab"},
    {"to": {"id": 3}, "save_first": False, "save_to": "lab"},
    {"to": {"id": 3}, "save_first": True, "save_to": "Lab/x"},
    {"to": {"id": 3}, "save_first": "lab"},
]


@pytest.mark.parametrize("parameters", _WRONG)
def test_wrong_parameters_are_refused_by_the_model_and_by_the_schema(parameters: Any) -> None:
    with pytest.raises(ValidationError):
        migration(parameters)
    job = {"job": "image-migration", "name": "x", "select": "true", "with": with_uuids(parameters)}
    assert not Draft202012Validator(schema({"image-migration": ImageMigration})).is_valid(job)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{to: {id: x}}", "with.to.id: an image id is a UUID such as 278e88d1-5b71-4766-8502-b3ba72e824d9"),
        ("{to: {nme: x}}", "with.to.nme: unknown key; did you mean name?"),
        ("{to: {}}", "with.to: give id, or name, or newest: true, or an image for x86_64 and aarch64 each"),
        ("{to: {x86_64: {}}}", "with.to.x86_64: give either id or name"),
        ("{to: {name: x}, from: {}}", "with.from: give id, name or select, one of them"),
        ("{to: {name: x}, form: {id: x}}", "with.form: unknown key; did you mean from?"),
        (
            "{to: {name: x}, from: {select: nam}}",
            "with.from.select: no field 'nam'; did you mean name?\n  nam\n  ^",
        ),
    ],
)
def test_a_wrong_parameter_is_told_with_its_place(parameters: str, message: str) -> None:
    text = f"job: image-migration\nname: x\nselect: 'true'\nwith: {parameters}"
    with pytest.raises(UsageError) as caught:
        read_job(text, "x.yaml", lambda _: ImageMigration)
    assert str(caught.value) == f"x.yaml:4: {message}"


def test_the_example_is_a_valid_job_file_for_reader_and_editor() -> None:
    job, spec = read_job(EXAMPLE.read_text(), EXAMPLE.name, lambda _: ImageMigration)
    spec.check(CONTEXT)
    assert spec.propose(notebook(1, "gpu"), CONTEXT) == NotebookPatch(image_id=uuid(3))
    editor = Draft202012Validator(schema({"image-migration": ImageMigration}))
    editor.validate(job.document.data)


def test_the_job_type_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="fleet.jobs", name="image-migration")
    assert found.load() is ImageMigration
    assert issubclass(ImageMigration, JobSpec)
