"""What every seeded cloud has on the shelf: flavors and images.

Names follow the vendor's. The families pytorch1.8 (old) and pytorch2.6 (new) exist for both
processor architectures; one image that looks like the newest of the new family is not ACTIVE.
"""

from __future__ import annotations

from random import Random

from fleet.simulator.world import HOUR_MS, Flavor, Image, to_uuid

_GIB = 1024 * 1024  # in KiB, the unit of the flavor list
_DISKS = ("EVS", "EFS", "SFS", "OBS", "OBSFS")


def _cpu(flavor: str, arch: str, vcpus: int, gib: int, *, sold_out: bool = False) -> Flavor:
    name = f"CPU: {vcpus} vCPUs {gib} GB"
    return Flavor(flavor, name, arch, "CPU", vcpus, gib * _GIB, _DISKS, sold_out=sold_out)


def _gpu(flavor: str, kind: str, vcpus: int, gib: int, *, sold_out: bool = False) -> Flavor:
    name = f"GPU: 1*{kind}|CPU: {vcpus} vCPUs {gib} GB"
    gpu = (kind, 1, 16_384)
    return Flavor(flavor, name, "x86_64", "GPU", vcpus, gib * _GIB, _DISKS, gpu=gpu, sold_out=sold_out)


def _ascend(flavor: str, kind: str, vcpus: int, gib: int) -> Flavor:
    name = f"Ascend: 1*{kind}|ARM: {vcpus} vCPUs {gib} GB"
    return Flavor(
        flavor,
        name,
        "aarch64",
        "ASCEND",
        vcpus,
        gib * _GIB,
        _DISKS,
        ascend=(kind.lower(), 1, 32_768),
        flavor_type=f"ASCEND_{kind.upper()}",
    )


FLAVORS = (
    _cpu("modelarts.vm.cpu.2u", "x86_64", 2, 8),
    _cpu("modelarts.vm.cpu.4u", "x86_64", 4, 16),
    _cpu("modelarts.vm.cpu.8u", "x86_64", 8, 32),
    _cpu("modelarts.vm.cpu.16u", "x86_64", 16, 64),
    _cpu("modelarts.vm.cpu.64u", "x86_64", 64, 512, sold_out=True),
    _gpu("modelarts.vm.gpu.t4", "T4", 8, 32),
    _gpu("modelarts.vm.gpu.v100", "V100", 8, 64),
    _gpu("modelarts.vm.gpu.a100", "A100", 12, 96, sold_out=True),
    _cpu("modelarts.vm.arm.cpu.4u", "aarch64", 4, 16),
    _cpu("modelarts.vm.arm.cpu.8u", "aarch64", 8, 32),
    _ascend("modelarts.vm.ascend.snt9.1", "Snt9", 24, 96),
    _ascend("modelarts.vm.ascend.snt9b.1", "Snt9b", 24, 192),
    Flavor(
        "modelarts.vm.free.cpu.2u",
        "CPU: 2 vCPUs 4 GB (free)",
        "x86_64",
        "CPU",
        2,
        4 * _GIB,
        ("EVS",),
        feature="DEFAULT",
    ),
    Flavor(
        "modelarts.pool.cpu.12u",
        "CPU: 12 vCPUs 48 GB (dedicated pools)",
        "x86_64",
        "CPU",
        12,
        48 * _GIB,
        _DISKS,
        pool_only=True,
    ),
)

# name, arch, categories, kind of accelerator, status
_BUILT_IN: tuple[tuple[str, str, tuple[str, ...], str | None, str], ...] = (
    ("pytorch1.8-cuda10.2-cudnn7-ubuntu18.04", "x86_64", ("GPU", "CPU"), None, "ACTIVE"),
    ("pytorch1.8-cann5.1-py3.7-euler2.8.3", "aarch64", ("ASCEND", "CPU"), None, "ACTIVE"),
    ("pytorch2.6-cuda12.4-cudnn9-ubuntu22.04", "x86_64", ("GPU", "CPU"), None, "ACTIVE"),
    ("pytorch2.6-cann8.1-py3.11-hce2.0", "aarch64", ("ASCEND", "CPU"), None, "ACTIVE"),
    ("pytorch2.6-cuda12.6-cudnn9-ubuntu24.04", "x86_64", ("GPU", "CPU"), None, "CREATING"),
    ("tensorflow2.1-cuda10.1-cudnn7-ubuntu18.04", "x86_64", ("GPU", "CPU"), None, "ACTIVE"),
    ("mindspore1.7.0-cann5.1-py3.7-euler2.8.3", "aarch64", ("ASCEND",), "ASCEND_SNT9", "ACTIVE"),
    ("mindspore2.5-cann8.1-py3.11-hce2.0", "aarch64", ("ASCEND",), "ASCEND_SNT9B", "ACTIVE"),
    ("conda3-ubuntu22.04", "x86_64", ("CPU",), None, "ACTIVE"),
    ("conda3-euler2.8.3", "aarch64", ("CPU",), None, "ACTIVE"),
)
_SAVED_STATUSES = ("ACTIVE", "INIT", "CREATING", "CREATE_FAILED", "ERROR", "DELETED")


def stock_images(draw: Random, now: int, projects: tuple[str, ...]) -> list[Image]:
    """The built-in images, and each project's own: some usable, one of every other status."""
    images = []
    for name, arch, categories, kind, status in _BUILT_IN:
        images.append(_image(draw, now, name, arch, categories, kind, status))
    ssh_only = _image(draw, now, "ssh-toolbox-ubuntu22.04", "x86_64", ("CPU",), None, "ACTIVE")
    ssh_only.dev_services = ("SSH",)
    images.append(ssh_only)
    for project in projects:
        for arch, categories in (("x86_64", ("GPU", "CPU")), ("aarch64", ("ASCEND", "CPU"))):
            images.append(_saved(draw, now, project, f"team-torch-{arch}", arch, categories))
        for status in _SAVED_STATUSES:
            name = f"snapshot-{status.lower().replace('_', '-')}"
            image = _saved(draw, now, project, name, "x86_64", ("CPU",))
            image.status = status
            images.append(image)
    return images


def _saved(draw: Random, now: int, project: str, name: str, arch: str, categories: tuple[str, ...]) -> Image:
    image = _image(draw, now, name, arch, categories, None, "ACTIVE")
    image.type, image.origin, image.namespace = "DEDICATED", "IMAGE_SAVE", "lab"
    image.visibility, image.project = "PRIVATE", project
    return image


def _image(
    draw: Random,
    now: int,
    name: str,
    arch: str,
    categories: tuple[str, ...],
    flavor_type: str | None,
    status: str,
) -> Image:
    made = now - draw.randrange(24, 24 * 900) * HOUR_MS
    return Image(
        id=to_uuid(draw.getrandbits(128)),
        name=name,
        tag="3.3.2-release_v1",
        arch=arch,
        categories=categories,
        dev_services=("NOTEBOOK", "SSH"),
        type="BUILD_IN",
        status=status,
        create_at=made,
        update_at=made,
        size=draw.randrange(2_000_000, 12_000_000),
        flavor_type=flavor_type,
    )
