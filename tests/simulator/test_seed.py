"""Seeded clouds: the same every time, and as varied as a real fleet."""

from __future__ import annotations

from collections import Counter

from fleet.simulator.catalog import fits
from fleet.simulator.cloud import Cloud
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import TRANSITIONAL, Status
from fleet.simulator.views import image_view, render


def bytes_of(cloud: Cloud) -> bytes:
    world = cloud.world
    rows = [render(world, row) for row in world.notebooks.values()]
    images = [repr(image_view(image)).encode() for image in world.images.values()]
    return b"\n".join([*rows, *images, repr(cloud.identity).encode()])


def test_the_same_arguments_give_the_same_bytes(now: float) -> None:
    first, second = (make_cloud(notebooks=300, seed=4, now=now) for _ in range(2))
    assert bytes_of(first) == bytes_of(second)
    assert first.identity == second.identity
    first.settle(now + 3600)
    second.settle(now + 3600)
    assert bytes_of(first) == bytes_of(second)


def test_another_seed_gives_another_fleet(now: float) -> None:
    first, second = (make_cloud(notebooks=10, seed=seed, now=now) for seed in (1, 2))
    assert first.world.notebooks.keys().isdisjoint(second.world.notebooks)
    assert first.identity.secret_key != second.identity.secret_key


def test_fifty_notebooks_have_every_status_and_fewer_only_two(now: float) -> None:
    statuses = {row.status for row in make_cloud(notebooks=50, seed=4, now=now).world.notebooks.values()}
    assert statuses == set(Status)
    small = make_cloud(notebooks=49, seed=4, now=now).world.notebooks.values()
    assert {row.status for row in small} == {Status.RUNNING, Status.STOPPED}


def test_a_fleet_is_as_varied_as_a_real_one(now: float) -> None:
    cloud = make_cloud(notebooks=1000, seed=4, now=now)
    rows = list(cloud.world.notebooks.values())
    assert len(rows) == 1000
    assert {row.project for row in rows} == {project.id for project in cloud.identity.projects}
    assert {(row.lease.type, row.lease.enable) for row in rows} >= {
        ("TIMING", True),
        ("IDLE", True),
        ("TIMING", False),
    }
    assert {row.volume["category"] for row in rows} == {"EVS", "EFS", "SFS", "OBS", "OBSFS"}
    assert {row.workspace_id for row in rows} == {w["id"] for w in cloud.world.workspaces}
    assert {row.feature for row in rows} == {"NOTEBOOK", "DEFAULT"}
    assert len({row.user.id for row in rows}) == 8
    assert any(row.pool for row in rows)
    assert any(row.custom_spec for row in rows)
    assert any(row.image.type == "DEDICATED" for row in rows)
    flavors = {cloud.world.flavors[row.flavor] for row in rows if not row.custom_spec}
    assert {(flavor.category, flavor.arch) for flavor in flavors} == {
        ("CPU", "x86_64"),
        ("GPU", "x86_64"),
        ("CPU", "aarch64"),
        ("ASCEND", "aarch64"),
    }
    ssh = [e for row in rows for e in row.endpoints if e["service"] == "SSH"]
    assert all(endpoint["key_pair_names"] for endpoint in ssh)
    assert {"allowed_access_ips" in endpoint for endpoint in ssh} == {True, False}
    assert {image.status for image in cloud.world.images.values()} == {
        "INIT",
        "CREATING",
        "CREATE_FAILED",
        "ERROR",
        "DELETED",
        "ACTIVE",
    }


def test_a_third_sits_on_the_old_family_and_the_new_one_fits_them_all(now: float) -> None:
    cloud = make_cloud(notebooks=1000, seed=4, now=now)
    old = [
        row
        for row in cloud.world.notebooks.values()
        if row.image.name.startswith("pytorch1.8") and row.feature == "NOTEBOOK"
    ]
    assert 280 <= len(old) <= 390
    new = [image for image in cloud.world.images.values() if image.name.startswith("pytorch2.6")]
    assert {image.status for image in new} == {"ACTIVE", "CREATING"}
    for row in old:
        if row.custom_spec is None:
            flavor = cloud.world.flavors[row.flavor]
            assert any(image.status == "ACTIVE" and fits(image, flavor) for image in new)


def test_every_notebook_is_on_an_image_and_flavor_that_go_together(now: float) -> None:
    cloud = make_cloud(notebooks=400, seed=4, now=now)
    for row in cloud.world.notebooks.values():
        if row.custom_spec is None:
            assert fits(row.image, cloud.world.flavors[row.flavor])
        assert row.image.status == "ACTIVE"
        assert not cloud.world.is_sold_out(row.flavor, now)


def test_no_lease_ends_by_itself_within_two_hours_unless_asked(now: float) -> None:
    cloud = make_cloud(notebooks=500, seed=4, now=now)
    running = [row for row in cloud.world.notebooks.values() if row.status is Status.RUNNING]
    ends = [end - now for row in running if (end := row.lease.end()) is not None]
    assert min(ends) >= 2 * 3600
    assert max(ends) <= 24 * 3600
    cloud.settle(now + 7199)
    assert {row.status for row in running} == {Status.RUNNING}
    short = make_cloud(notebooks=500, seed=4, now=now, lease_hours=(0.1, 0.2))
    short.settle(now + 3600)
    assert Counter(row.status for row in short.world.notebooks.values())[Status.STOPPED] > 400


def test_seeded_transitional_notebooks_arrive(now: float) -> None:
    cloud = make_cloud(notebooks=200, seed=4, now=now)
    cloud.settle(now + 1.9 * 3600)
    left = {row.status for row in cloud.world.notebooks.values()} & TRANSITIONAL
    assert left == set()
