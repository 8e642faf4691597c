"""Reproducible clouds: the same arguments give the same fleet, byte for byte.

A seeded fleet of 50 or more holds every status, so that nothing surprising is met for the first
time in a real account; smaller ones are RUNNING and STOPPED only. About a third of the notebooks
sit on the old built-in image family. Leases are not touched by ``time_scale``.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from random import Random
from typing import Any

from fleet.simulator import life
from fleet.simulator.access import Access, Identity, Project
from fleet.simulator.catalog import fits
from fleet.simulator.cloud import Cloud
from fleet.simulator.faults import Fault, FaultPlan
from fleet.simulator.messages import User
from fleet.simulator.rules import Rules
from fleet.simulator.shelf import FLAVORS, stock_images
from fleet.simulator.states import Status
from fleet.simulator.throttle import Limit, Throttle
from fleet.simulator.world import CUSTOM_FLAVOR, HOUR_MS, Flavor, Image, Lease, Notebook, World, ms, to_uuid

REGION = "cn-north-4"
DOMAIN = "fleet-lab"
ALL_STATUSES_FROM = 50
OLD_FAMILY, OLD_SHARE = "pytorch1.8", 1 / 3

_KEY_PAIRS = tuple(f"kp-{name}" for name in ("ana", "bo", "chen", "dee", "eve", "shared"))
_OWNERS = ("ana", "bo", "chen", "dee", "eve", "faye", "gus")
_TEAMS = ("vision", "speech", "ranking", "forecast", "robotics")
_PURPOSES = ("train", "explore", "label", "eval", "demo")
_RARE = tuple(status for status in Status if status not in (Status.RUNNING, Status.STOPPED))
_FAIL_REASONS = {
    Status.CREATE_FAILED: "Failed to attach the volume.",
    Status.START_FAILED: "Failed to pull the image.",
    Status.DELETE_FAILED: "Failed to release the volume.",
    Status.ERROR: "The node is unreachable.",
}


def make_cloud(
    *,
    notebooks: int,
    seed: int,
    now: float,
    projects: int = 3,
    time_scale: float = 1.0,
    rules: Rules | None = None,
    faults: Sequence[Fault] = (),
    throttle: Sequence[Limit] = (),
    lease_hours: tuple[float, float] = (2.0, 24.0),
    token_seconds: float = 86_400.0,
) -> Cloud:
    """A cloud with a fleet, at the wall second ``now``.

    ``time_scale`` divides how long starts and stops take. ``throttle`` adds to the limits in
    ``rules``. ``lease_hours`` bounds what is left of the leases of running notebooks.
    ``token_seconds`` is the life of an IAM token.
    """
    rules = Rules() if rules is None else rules
    identity = _identity(seed, projects)
    plan = FaultPlan(faults, seed, now)
    world = _world(rules, seed, now, time_scale, identity)
    rows = list(_Fleet(world, identity, now, lease_hours).notebooks(notebooks))
    world.add(rows)
    for row in rows:
        life.settle_in(world, row, now)
    access = Access(identity, rules, seed, token_seconds)
    return Cloud(world, access, Throttle((*rules.throttle, *throttle)), plan)


def _identity(seed: int, projects: int) -> Identity:
    draw = Random(f"{seed}/identity")
    letters = string.ascii_uppercase + string.digits
    names = [REGION, *(f"{REGION}_team-{number}" for number in range(2, projects + 1))]
    return Identity(
        access_key="".join(draw.choices(letters, k=20)),
        secret_key="".join(draw.choices(string.ascii_letters + string.digits, k=40)),
        user="fleet-operator",
        user_id=_hex(draw),
        password="".join(draw.choices(string.ascii_letters + string.digits, k=24)),
        domain=DOMAIN,
        domain_id=_hex(draw),
        region=REGION,
        projects=tuple(Project(_hex(draw), name) for name in names[:projects]),
    )


def _hex(draw: Random) -> str:
    return f"{draw.getrandbits(128):032x}"


def _world(rules: Rules, seed: int, now: float, time_scale: float, identity: Identity) -> World:
    draw = Random(f"{seed}/world")
    project_ids = tuple(project.id for project in identity.projects)
    images = {image.id: image for image in stock_images(draw, ms(now), project_ids)}
    return World(
        rules=rules,
        seed=seed,
        time_scale=time_scale,
        weather=FaultPlan((), seed, now),  # seeded starts meet no faults
        region=REGION,
        domain=(identity.domain_id, identity.domain),
        key_pairs=frozenset(_KEY_PAIRS),
        workspaces=tuple(
            {
                "id": workspace,
                "name": name,
                "description": "",
                "status": "NORMAL",
                "auth_type": "PUBLIC",
                "enterprise_project_id": "0",
            }
            for workspace, name in (("0", "default"), (_hex(draw), "research"))
        ),
        flavors={flavor.id: flavor for flavor in FLAVORS},
        images=images,
    )


class _Fleet:
    """Draws notebooks one after the other."""

    def __init__(
        self, world: World, identity: Identity, now: float, lease_hours: tuple[float, float]
    ) -> None:
        self._draw = Random(f"{world.seed}/fleet")
        self._world = world
        self._now = ms(now)
        self._lease_hours = lease_hours
        self._projects = [project.id for project in identity.projects]
        caller = User(identity.user_id, identity.user)
        self._owners = [caller, *(User(_hex(self._draw), name) for name in _OWNERS)]
        self._pools = [{"id": f"pool-{name}", "name": f"{name}-pool"} for name in ("blue", "green")]
        self._workspaces = [row["id"] for row in world.workspaces]
        self._images = [image for image in world.images.values() if image.status == "ACTIVE"]
        self._flavors = [
            flavor
            for flavor in world.flavors.values()
            if not flavor.sold_out and not flavor.pool_only and flavor.feature == "NOTEBOOK"
        ]

    def notebooks(self, count: int) -> Sequence[Notebook]:
        return [self._notebook(number, status) for number, status in self._statuses(count)]

    def _statuses(self, count: int) -> Sequence[tuple[int, Status]]:
        usual = self._draw.choices((Status.RUNNING, Status.STOPPED), (70, 30), k=count)
        if count >= ALL_STATUSES_FROM:
            rare = _RARE * max(1, count // 1000)
            places = self._draw.sample(range(count), len(rare))
            for place, status in zip(places, rare, strict=True):
                usual[place] = status
        return list(enumerate(usual))

    def _notebook(self, number: int, status: Status) -> Notebook:
        draw, world = self._draw, self._world
        project = draw.choice(self._projects)
        free = number % 50 == 49
        if free:
            flavor = world.flavors["modelarts.vm.free.cpu.2u"]
        else:
            flavor = draw.choices(self._flavors, [_weight(f) for f in self._flavors])[0]
        image = self._image(flavor, project)
        team, purpose = draw.choice(_TEAMS), draw.choice(_PURPOSES)
        created = self._now - draw.randrange(30, 24 * 400) * HOUR_MS - number
        pool = draw.choice(self._pools) if not free and draw.random() < 0.25 else None
        spec = self._custom_spec(flavor) if pool and draw.random() < 0.2 else None
        notebook_id = to_uuid(draw.getrandbits(128))
        notebook = Notebook(
            id=notebook_id,
            project=project,
            name=f"{team}-{purpose}-{number:05d}",
            description=f"{team} {purpose}" if draw.random() < 0.5 else "",
            status=status,
            flavor=flavor.id if spec is None else CUSTOM_FLAVOR,
            image=image,
            lease=self._lease(status, created),
            volume=self._volume(free),
            endpoints=self._endpoints(number),
            user=draw.choices(self._owners, (3, *(1 for _ in _OWNERS)))[0],
            workspace_id=draw.choices(self._workspaces, (85, 15))[0],
            create_at=created,
            update_at=self._now - draw.randrange(HOUR_MS, 24 * HOUR_MS),
            feature="DEFAULT" if free else "NOTEBOOK",
            custom_spec=spec,
            pool=pool,
            tags=self._tags(team),
            fail_reason=_FAIL_REASONS.get(status),
            ip=f"192.168.{number // 250 % 250}.{number % 250 + 1}",
            url=f"https://authoring-{notebook_id[:8]}.{REGION}.example.com/{notebook_id}/lab",
            token=_hex(draw),
            running_since=self._now / 1000 - 3600 if status is Status.RUNNING else None,
            pulled_image=image.id,
        )
        if image.visibility == "PRIVATE":  # it is there only for its own workspace
            notebook.workspace_id = image.workspace_id
        return notebook

    def _image(self, flavor: Flavor, project: str) -> Image:
        """An image that goes with the flavor: of the old family for a third of the fleet."""
        usable = [
            image
            for image in self._images
            if fits(image, flavor) and image.project in (None, project) and "NOTEBOOK" in image.dev_services
        ]
        old = [image for image in usable if image.name.startswith(OLD_FAMILY)]
        others = [image for image in usable if image not in old]
        return self._draw.choice(old if self._draw.random() < OLD_SHARE else others)

    def _lease(self, status: Status, created: int) -> Lease:
        """TIMING, IDLE or off. One that runs has hours left; a stopped one keeps an old object."""
        kind, enable = self._draw.choices(
            (("TIMING", True), ("IDLE", True), ("TIMING", False)), (55, 20, 25)
        )[0]
        left = round(self._draw.uniform(*self._lease_hours) * HOUR_MS)
        set_at = self._now - self._draw.randrange(HOUR_MS, 24 * HOUR_MS)
        if status in (Status.RUNNING, Status.SNAPSHOTTING, Status.STARTING, Status.CREATING):
            duration = self._now - created + left
        else:
            duration = set_at - created
        return Lease(kind, enable, created, duration if enable else -1, set_at)

    def _volume(self, free: bool) -> dict[str, Any]:
        draw = self._draw
        category, ownership = draw.choices(
            (
                ("EVS", "MANAGED"),
                ("EFS", "DEDICATED"),
                ("EFS", "MANAGED"),
                ("SFS", "MANAGED"),
                ("OBSFS", "DEDICATED"),
                ("OBS", "DEDICATED"),
            ),
            (70, 8, 7, 7, 4, 4),
        )[0]
        if free:
            category, ownership = "EVS", "MANAGED"
        volume: dict[str, Any] = {
            "category": category,
            "ownership": ownership,
            "mount_path": "/home/ma-user/work/",
            "id": to_uuid(draw.getrandbits(128)),
        }
        if category in ("EVS", "EFS"):
            volume["capacity"] = draw.choice((50, 100, 200) if category == "EFS" else (5, 20, 50))
            volume["status"] = "IN_USE"
        if category in ("OBS", "OBSFS"):
            volume["uri"] = f"obs://lab-data/{draw.choice(_TEAMS)}/"
            volume["dew_secret_name"] = "lab-obs"
        return volume

    def _endpoints(self, number: int) -> list[dict[str, Any]]:
        """Half are reachable by SSH: most of these for a few addresses, some for everybody."""
        draw = self._draw
        endpoints: list[dict[str, Any]] = []
        if draw.random() < 0.4:
            endpoints.append({"service": "NOTEBOOK"})
        if draw.random() < 0.55:
            ssh: dict[str, Any] = {
                "service": "SSH",
                "key_pair_names": draw.sample(_KEY_PAIRS, draw.choice((1, 1, 2))),
                "uri": life.ssh_uri(REGION, number),
            }
            if draw.random() < 0.65:
                hosts = draw.sample(range(1, 255), draw.choice((1, 2, 3, 5)))
                ssh["allowed_access_ips"] = [f"203.0.113.{host}" for host in hosts]
            endpoints.append(ssh)
        return endpoints

    def _custom_spec(self, flavor: Flavor) -> dict[str, Any]:
        return {
            "cpu": float(flavor.vcpus),
            "memory": flavor.memory // 1024,
            "arch": flavor.arch.upper(),
            "category": flavor.category,
        }

    def _tags(self, team: str) -> dict[str, str]:
        draw = self._draw
        tags = {}
        if draw.random() < 0.6:
            tags = {"team": team, "env": draw.choice(("dev", "prod"))}
        if draw.random() < 0.05:
            tags["keep"] = "true"
        return tags


def _weight(flavor: Flavor) -> int:
    """How common a flavor is."""
    if flavor.arch == "aarch64":
        return 6
    return 10 if flavor.category == "CPU" else 15
