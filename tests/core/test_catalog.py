"""Which images are meant by a name, and why one does not fit a notebook."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.catalog import (
    Catalog,
    architecture,
    change_misfits,
    flavor_misfits,
    misfits,
    mismatches,
    out_of_stock,
    sight_remark,
    start_problem,
    switch_remark,
)
from fleet.core.notebook import Endpoint, Flavor, Image, Notebook, Status, Volume

CPU = Flavor("modelarts.vm.cpu.2u", arch="x86_64", category="CPU")
NPU = Flavor("modelarts.vm.ascend.snt9b.1", arch="aarch64", category="ASCEND", accelerator_type="snt9b")
IMAGE = Image(
    "new",
    name="pytorch2.6-cuda12.4",
    arch="X86_64",
    status="ACTIVE",
    resource_categories=("GPU", "CPU"),
    dev_services=("NOTEBOOK", "SSH"),
)
PRIVATE = replace(IMAGE, type="DEDICATED", visibility="PRIVATE")
ASCEND = replace(IMAGE, arch="AARCH64", resource_categories=("ASCEND",), flavor_type="ASCEND_SNT9B")
NOTEBOOK = Notebook(
    "nb",
    Status.RUNNING,
    flavor=CPU.id,
    image=Image("old", arch="x86_64"),
    endpoints=(Endpoint("NOTEBOOK"), Endpoint("SSH")),
)


def test_an_image_that_has_everything_fits() -> None:
    assert misfits(NOTEBOOK, IMAGE, CPU) == ()
    assert misfits(NOTEBOOK, IMAGE, None) == ()
    assert misfits(NOTEBOOK, ASCEND, NPU) == ()


@pytest.mark.parametrize(
    ("image", "flavor", "reason"),
    [
        (replace(IMAGE, status="CREATING"), CPU, "its status is CREATING, not ACTIVE"),
        (replace(IMAGE, status=""), CPU, "its status is unknown, not ACTIVE"),
        (replace(IMAGE, arch="AARCH64"), CPU, "it is for aarch64, the notebook runs on x86_64"),
        (replace(IMAGE, arch="AARCH64"), None, "it is for aarch64, the notebook runs on x86_64"),
        (replace(IMAGE, arch=""), CPU, "it is for an unknown architecture, the notebook runs on x86_64"),
        (
            replace(IMAGE, resource_categories=("GPU",)),
            CPU,
            "it does not support the category CPU of modelarts.vm.cpu.2u",
        ),
        (
            replace(ASCEND, flavor_type="ASCEND_SNT9"),
            NPU,
            "it is for ASCEND_SNT9, modelarts.vm.ascend.snt9b.1 has snt9b",
        ),
        (
            replace(IMAGE, dev_services=("NOTEBOOK",)),
            CPU,
            "it does not offer SSH, which the notebook has an endpoint for",
        ),
    ],
)
def test_one_difference_is_one_reason(image: Image, flavor: Flavor | None, reason: str) -> None:
    assert misfits(NOTEBOOK, image, flavor) == (reason,)


def test_an_image_for_ssh_only_needs_an_ssh_endpoint() -> None:
    image = replace(IMAGE, dev_services=("SSH",))
    assert misfits(replace(NOTEBOOK, endpoints=()), image, CPU) == (
        "it can be reached by SSH only, and the notebook has no SSH endpoint",
    )
    assert misfits(replace(NOTEBOOK, endpoints=(Endpoint("SSH"),)), image, CPU) == ()


@pytest.mark.parametrize(
    ("image", "mine", "its", "reason", "remark"),
    [
        (
            PRIVATE,
            "0",
            "1",
            "it is private to workspace 1, the notebook is in 0",
            False,
        ),
        (PRIVATE, "0", "0", "", True),
        (PRIVATE, "", "1", "", True),
        (PRIVATE, "0", "", "", True),
        (replace(IMAGE, visibility=""), "0", "1", "", True),
        (replace(IMAGE, visibility="PUBLIC"), "0", "1", "", False),
        (replace(PRIVATE, type="BUILD_IN"), "0", "1", "", False),
    ],
)
def test_a_private_image_is_for_its_workspace_and_perhaps_not_for_everybody_there(
    image: Image, mine: str, its: str, reason: str, remark: bool
) -> None:
    notebook, offered = replace(NOTEBOOK, workspace_id=mine), replace(image, workspace_id=its)
    assert misfits(notebook, offered, CPU) == ((reason,) if reason else ())
    assert ("does not tell whether the notebook's owner may" in sight_remark(notebook, offered)) is remark


def test_an_architecture_that_nobody_knows_is_a_misfit() -> None:
    unknown = replace(NOTEBOOK, image=Image("old"))
    assert misfits(unknown, IMAGE, None) == ("the notebook's architecture is unknown",)


def test_the_flavor_tells_the_architecture_before_the_present_image() -> None:
    assert architecture(NOTEBOOK, NPU) == "aarch64"
    assert architecture(NOTEBOOK, None) == "x86_64"
    assert architecture(NOTEBOOK, replace(NPU, arch="")) == "x86_64"


@pytest.mark.parametrize(
    ("offered", "wanted", "fits"),
    [
        ("ASCEND_SNT9", "ascend-snt9", True),
        ("ASCEND_SNT9", "Snt9", True),
        ("ASCEND_SNT9", "snt9b", False),
        ("ASCEND_SNT9B", "snt9", False),
        ("ASCEND_SNT3", "snt9", False),
        ("", "snt9", True),
        ("ASCEND_SNT9", "", True),
        ("ASCEND_SNT9", "something new", True),
    ],
)
def test_ascend_types_are_compared_however_they_are_spelled(offered: str, wanted: str, fits: bool) -> None:
    flavor = replace(NPU, accelerator_type=wanted)
    assert (misfits(NOTEBOOK, replace(ASCEND, flavor_type=offered), flavor) == ()) is fits


def catalog(*names: str) -> Catalog:
    return Catalog({f"id-{n}": Image(f"id-{n}", name=name) for n, name in enumerate(names)})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pytorch2.6", ["pytorch2.6-cann", "pytorch2.6-cuda", "pytorch2.6.1", "pytorch2.6_x"]),
        ("pytorch2.6-cuda", ["pytorch2.6-cuda"]),
        ("pytorch2.60", ["pytorch2.60-cuda"]),
        (
            "pytorch2",
            ["pytorch2.6-cann", "pytorch2.6-cuda", "pytorch2.60-cuda", "pytorch2.6.1", "pytorch2.6_x"],
        ),
        ("conda3", ["conda3", "conda3"]),
        ("torch2.6", []),
        ("pytorch2.6-", []),
    ],
)
def test_a_name_is_exact_or_a_family(name: str, found: list[str]) -> None:
    offered = catalog(
        "pytorch2.6-cuda", "pytorch2.6-cann", "pytorch2.60-cuda", "pytorch2.6.1", "pytorch2.6_x", "conda3",
        "conda3-ubuntu", "conda3",
    )  # fmt: skip
    assert sorted(image.name for image in offered.find_images(name)) == sorted(found)


_NAMES = st.from_regex(r"[a-c][a-c0-1.-]{0,6}", fullmatch=True)


@given(st.lists(_NAMES, max_size=8), _NAMES)
def test_an_exact_name_never_brings_in_its_family(names: list[str], wanted: str) -> None:
    found = [image.name for image in catalog(*names).find_images(wanted)]
    if wanted in names:
        assert set(found) == {wanted}
        assert len(found) == names.count(wanted)
    else:
        assert all(name.startswith(wanted) and not name[len(wanted)].isalnum() for name in found)


def test_spelling_advice_knows_names_and_families() -> None:
    assert catalog("pytorch2.6-cuda", "conda3").names() == ("conda3", "pytorch2.6", "pytorch2.6-cuda")


# --- flavors ---------------------------------------------------------------------------------------------

LARGE = replace(CPU, id="large")
GPU = Flavor("gpu", arch="x86_64", category="GPU")
SCARCE = replace(CPU, id="scarce", sold_out=True)
POOL = replace(CPU, id="pool-only")
OFFERED = (CPU, LARGE, SCARCE, NPU, POOL)
WHOLE = Catalog(
    {
        image.id: image
        for image in (IMAGE, replace(ASCEND, id="ascend"), replace(IMAGE, id="broken", status="ERROR"))
    },
    {flavor.id: flavor for flavor in (CPU, LARGE, SCARCE, NPU, GPU)},
)


@pytest.mark.parametrize(
    ("wanted", "switchable", "reasons"),
    [
        ("large", OFFERED, ()),
        ("pool-only", OFFERED, ()),
        (CPU.id, (), ()),  # it is on that one
        ("large", None, ("whether the notebook can be switched to large is not known",)),
        ("large", (), ("large is not offered to this notebook",)),
        ("gpu", OFFERED, ("gpu is not offered to this notebook",)),
        ("none", OFFERED, ("none is not offered to this notebook, and the scope does not list it",)),
        ("scarce", OFFERED, ("scarce is sold out",)),
        ("large", (replace(LARGE, sold_out=True),), ("large is sold out",)),
        ("scarce", (replace(SCARCE, sold_out=False),), ("scarce is sold out",)),  # by the catalogue
        (
            NPU.id,
            OFFERED,
            (
                f"{IMAGE.name} cannot run on {NPU.id}: it is for x86_64, {NPU.id} is aarch64",
                f"{IMAGE.name} cannot run on {NPU.id}: it does not support the category ASCEND of {NPU.id}",
            ),
        ),
    ],
)
def test_a_flavor_must_be_offered_in_stock_and_fit_the_image(
    wanted: str, switchable: tuple[Flavor, ...] | None, reasons: tuple[str, ...]
) -> None:
    assert flavor_misfits(NOTEBOOK, WHOLE.flavors.get(wanted), wanted, IMAGE, switchable) == reasons


ON_NPU = replace(
    NOTEBOOK,
    feature="NOTEBOOK",
    flavor=NPU.id,
    image=replace(ASCEND, id="old"),
    volume=Volume("EVS"),
)
EVERY_DISK = replace(LARGE, storages=("EVS", "EFS"))


@pytest.mark.parametrize(
    ("notebook", "listed", "image", "reason"),
    [
        (ON_NPU, EVERY_DISK, IMAGE, ""),
        (ON_NPU, replace(EVERY_DISK, storages=("evs",)), IMAGE, ""),
        (ON_NPU, None, IMAGE, "large is not offered to this notebook, and the scope does not list it"),
        (ON_NPU, EVERY_DISK, ASCEND, "large is not offered to this notebook"),
        (ON_NPU, replace(EVERY_DISK, storages=("OBS",)), IMAGE, "large is not offered to this notebook"),
        (ON_NPU, replace(EVERY_DISK, storages=()), IMAGE, "large is not offered to this notebook"),
        (replace(ON_NPU, volume=None), EVERY_DISK, IMAGE, "large is not offered to this notebook"),
        (replace(ON_NPU, feature="DEFAULT"), EVERY_DISK, IMAGE, "large is not offered to this notebook"),
        (ON_NPU, replace(EVERY_DISK, free=True), IMAGE, "large is not offered to this notebook"),
        (ON_NPU, replace(EVERY_DISK, sold_out=True), IMAGE, "large is sold out"),
        # The present image does not explain why it is not offered, so something unknown does.
        (replace(ON_NPU, image=replace(IMAGE, id="old")), EVERY_DISK, IMAGE, "large is not offered"),
        (replace(ON_NPU, image=Image("old", arch="aarch64")), EVERY_DISK, IMAGE, "large is not offered"),
        (replace(ON_NPU, image=replace(ASCEND, arch="")), EVERY_DISK, IMAGE, "large is not offered"),
    ],
)
def test_what_the_present_image_hides_is_judged_by_the_catalogue(
    notebook: Notebook, listed: Flavor | None, image: Image, reason: str
) -> None:
    reasons = flavor_misfits(notebook, listed, "large", image, (NPU,))
    assert len(reasons) == bool(reason)
    assert all(one.startswith(reason) for one in reasons)


def test_whoever_is_judged_by_the_catalogue_is_remarked() -> None:
    catalog = dataclasses.replace(WHOLE, flavors={"large": EVERY_DISK, NPU.id: NPU})
    remark = (
        f"large is not offered on the present image, and by the catalogue it goes with {IMAGE.name}: the "
        "cloud tells what a notebook can be switched to on its present image only"
    )
    assert switch_remark(catalog, ON_NPU, "new", "large", (NPU,)) == remark
    assert switch_remark(catalog, ON_NPU, "new", "large", (NPU, LARGE)) == ""
    assert switch_remark(catalog, ON_NPU, "new", None, (NPU,)) == ""
    assert switch_remark(catalog, ON_NPU, "new", NPU.id, ()) == ""


def test_an_image_and_a_flavor_of_unknown_architecture_do_not_go_together() -> None:
    assert mismatches(replace(IMAGE, arch=""), CPU) == (
        f"it is for an unknown architecture, {CPU.id} is x86_64",
    )
    assert mismatches(IMAGE, replace(CPU, arch="")) == (f"it is for x86_64, {CPU.id} is of an unknown one",)
    assert mismatches(replace(IMAGE, arch=""), replace(CPU, arch=""))


@pytest.mark.parametrize(
    ("image", "flavor", "reason"),
    [
        ("new", None, ""),
        (None, "large", ""),
        ("new", "large", ""),
        ("lost", None, "this scope has no image lost"),
        ("lost", "large", "this scope has no image lost"),
        ("broken", None, f"{IMAGE.name}: its status is ERROR, not ACTIVE"),
        ("ascend", None, f"{IMAGE.name}: it is for aarch64, the notebook runs on x86_64"),
        ("ascend", NPU.id, ""),
        ("new", "scarce", "scarce is sold out"),
    ],
)
def test_a_change_is_judged_by_image_and_flavor_as_they_will_be_together(
    image: str | None, flavor: str | None, reason: str
) -> None:
    found = replace(NOTEBOOK, image=Image("new"))  # as in a listing: no more than an id
    reasons = change_misfits(WHOLE, found, image, flavor, OFFERED)
    assert reasons[:1] == ((reason,) if reason else ())


def test_a_machine_is_known_by_the_catalogue_its_own_specification_or_what_is_offered() -> None:
    spec = Flavor("custom", arch="aarch64", category="CPU")
    custom = replace(NOTEBOOK, flavor="custom", custom_spec=spec)
    assert WHOLE.machine(NOTEBOOK) is CPU
    assert WHOLE.machine(custom) is spec
    assert WHOLE.machine(replace(custom, flavor="pool-only")) is None
    assert WHOLE.machine(replace(custom, flavor="pool-only"), OFFERED) is POOL


def test_a_notebook_whose_machine_is_sold_out_or_whose_image_is_broken_may_stay_down() -> None:
    assert not out_of_stock(WHOLE, NOTEBOOK, None)
    assert out_of_stock(WHOLE, replace(NOTEBOOK, flavor="scarce"), None)
    assert not out_of_stock(WHOLE, replace(NOTEBOOK, flavor="nobody knows"), None)
    assert start_problem(WHOLE, NOTEBOOK) == ""
    assert start_problem(WHOLE, replace(NOTEBOOK, image=Image("broken"))) == (
        f"its image {IMAGE.name} is ERROR, so it could not be started again"
    )


def test_a_catalogue_is_true_when_it_holds_anything() -> None:
    assert (bool(Catalog()), bool(WHOLE), bool(Catalog(flavors=WHOLE.flavors))) == (False, True, True)
