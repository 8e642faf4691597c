"""What a selector may ask that is not in the notebook's own row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fleet.core.catalog import Catalog
from fleet.core.notebook import Flavor, Image, Notebook, Status
from fleet.core.selecting.fields import FIELDS, Offer, Subject
from fleet.core.selecting.selector import Selector, SelectorError

NOW = 1_784_948_034_829
DAY = 24 * 3_600_000
IMAGE_ID = "e1a07296-22a8-4f05-8bc8-e936c8e54090"
NOTEBOOK = Notebook(
    id="f9937afa-4451-42db-a76b-72d624749f66",
    status=Status.RUNNING,
    flavor="modelarts.vm.cpu.2u",
    image=Image(IMAGE_ID, "pytorch", "X86_64", type="BUILD_IN", size=2048),
    create_at=NOW - 10 * DAY,
)
GPU = Flavor(NOTEBOOK.flavor, "", "X86_64", "gpu", 8, 65_535, 2, "V100", sold_out=True)
NPU = replace(GPU, category="ASCEND", accelerator_type="SNT9B")
LISTED = Image(IMAGE_ID, "other", "AARCH64", type="DEDICATED", visibility="PUBLIC", size=9)
CATALOG = Catalog(images={IMAGE_ID: LISTED}, flavors={GPU.id: GPU})


def matches(text: str, notebook: Notebook = NOTEBOOK, catalog: Catalog = CATALOG) -> bool:
    return Selector.parse(text).matches(notebook, "lab-a", NOW, catalog)


@pytest.mark.parametrize(
    ("text", "flavor"),
    [
        ('flavor == "modelarts.vm.cpu.2u" && flavor.category == "GPU" && flavor.arch == "x86_64"', GPU),
        ("flavor.known && flavor.vcpus == 8 && flavor.memory == 63 && flavor.accelerators == 2", GPU),
        ('flavor.gpu == "V100" && flavor.npu == "" && flavor.sold_out && !flavor.free', GPU),
        ('flavor.npu == "SNT9B" && flavor.gpu == ""', NPU),
        ("flavor.free && !flavor.sold_out", replace(GPU, sold_out=False, free=True)),
    ],
)
def test_what_the_catalogue_says_of_a_flavor_can_be_asked(text: str, flavor: Flavor) -> None:
    assert matches(text, catalog=Catalog(flavors={flavor.id: flavor}))


def test_a_flavor_that_the_catalogue_lacks_has_no_words_and_no_numbers() -> None:
    nothing = Catalog()
    assert matches('!flavor.known && flavor.category == "" && flavor.gpu == ""', catalog=nothing)
    assert matches("!(flavor.known && flavor.vcpus > 2)", catalog=nothing)
    for text in ("flavor.vcpus > 2", "flavor.memory > 2", "flavor.sold_out", "!flavor.free"):
        with pytest.raises(SelectorError, match=r"the catalogue lacks its flavor; ask flavor\.known first"):
            matches(text, catalog=nothing)


@pytest.mark.parametrize(
    ("field", "short", "own"),
    [
        ("image.type", "DEDICATED", "BUILD_IN"),
        ("image.arch", "aarch64", "x86_64"),
        ("image.visibility", "PUBLIC", "PUBLIC"),
        ("image.size", 9, 2048),
        ("image.name", "pytorch", "pytorch"),
    ],
)
def test_an_image_is_looked_up_where_the_row_is_short(field: str, short: object, own: object) -> None:
    bare = replace(NOTEBOOK, image=Image(IMAGE_ID, "pytorch"))
    assert FIELDS[field].read(Subject(bare, "lab-a", NOW, CATALOG)) == short
    assert FIELDS[field].read(Subject(NOTEBOOK, "lab-a", NOW, CATALOG)) == own


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ('image.name == "x" && image.id != "" && flavor == "x" && age > duration("1h")', set()),
        ('status == "RUNNING" || image.type == "x"', {Offer.IMAGES}),
        ('flavor.category == "x"', {Offer.FLAVORS}),
        ('image.tag == "x" && flavor.free', {Offer.IMAGES, Offer.FLAVORS}),
    ],
)
def test_a_selector_names_the_parts_of_the_catalogue_that_it_asks_of(text: str, offers: set[Offer]) -> None:
    assert Selector.parse(text).offers == offers


def test_the_age_counts_from_creation() -> None:
    assert matches('age == duration("240h")')
    with pytest.raises(SelectorError, match="age has no value, the cloud's answer carries no such time"):
        matches('age > duration("1h")', replace(NOTEBOOK, create_at=0))
