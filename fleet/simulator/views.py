"""Rows as the vendor's JSON: notebooks, leases, images, flavors.

A rendered notebook is kept until it changes, so a list page of a large fleet is a join of bytes.
Replies name an endpoint's service and keys in both spellings that the pages know
(Update API, table 9). Start-up scripts are never shown, as in the real replies.
"""

from __future__ import annotations

from typing import Any

from fleet.simulator.messages import to_json
from fleet.simulator.states import Status
from fleet.simulator.world import Flavor, Image, Lease, Notebook, World, ms

_STEPS = ("prepare storage", "prepare compute resources", "configure network", "initialize instance")
_PROGRESS = {
    Status.INIT: ("WAITING",) * 4,
    Status.CREATING: ("COMPLETED", "PROCESSING", "WAITING", "WAITING"),
    Status.STARTING: ("COMPLETED", "PROCESSING", "WAITING", "WAITING"),
    Status.START_FAILED: ("COMPLETED", "FAILED", "WAITING", "WAITING"),
    Status.CREATE_FAILED: ("FAILED", "WAITING", "WAITING", "WAITING"),
}
_DONE = ("COMPLETED",) * 4


def render(world: World, notebook: Notebook) -> bytes:
    """The notebook as it stands in lists."""
    if notebook.rendered is None:
        notebook.rendered = to_json(notebook_view(world, notebook))
    return notebook.rendered


def render_with_time(world: World, notebook: Notebook, now: float) -> bytes:
    """The notebook as ShowNotebook gives it: with the cloud's time beside it."""
    return render(world, notebook)[:-1] + b',"current_time":%d}' % ms(now)


def notebook_view(world: World, notebook: Notebook) -> dict[str, Any]:
    progress = _PROGRESS.get(notebook.status, _DONE)
    domain_id, domain_name = world.domain
    view: dict[str, Any] = {
        "id": notebook.id,
        "name": notebook.name,
        "description": notebook.description,
        "status": notebook.status.value,
        "feature": notebook.feature,
        "flavor": notebook.flavor,
        "image": _embedded_image(notebook.image),
        "lease": lease_view(notebook.lease),
        "volume": notebook.volume,
        "endpoints": [endpoint_view(endpoint) for endpoint in notebook.endpoints],
        "action_progress": [
            {
                "notebook_id": notebook.id,
                "step": number,
                "status": status,
                "step_description": text,
                "description": text,
            }
            for number, (status, text) in enumerate(zip(progress, _STEPS, strict=True), 1)
        ],
        "workspace_id": notebook.workspace_id,
        "billing_items": billing_items(notebook),
        "user": {
            "id": notebook.user.id,
            "name": notebook.user.name,
            "domain": {"id": domain_id, "name": domain_name},
        },
        "user_id": notebook.user.id,
        "ip": notebook.ip,
        "url": notebook.url,
        "token": notebook.token,
        "is_need_credentials": True,
        "tags": [{"key": key, "value": value} for key, value in notebook.tags.items()],
        "create_at": notebook.create_at,
        "update_at": notebook.update_at,
    }
    for name in ("fail_reason", "pool", "custom_spec", "affinity"):
        value = getattr(notebook, name)
        if value is not None:
            view[name] = value
    return view


def billing_items(notebook: Notebook) -> list[str]:
    """A stopped notebook has released its machine and pays for its disk only."""
    runs = notebook.status in (Status.RUNNING, Status.SNAPSHOTTING, Status.STARTING)
    return ["STORAGE", "COMPUTE"] if runs else ["STORAGE"]


def endpoint_view(endpoint: dict[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {"service": endpoint["service"], "dev_service": endpoint["service"]}
    if "key_pair_names" in endpoint:
        view["key_pair_names"] = view["ssh_keys"] = endpoint["key_pair_names"]
    if "allowed_access_ips" in endpoint:
        view["allowed_access_ips"] = endpoint["allowed_access_ips"]
    if "uri" in endpoint:
        view["uri"] = endpoint["uri"]
    return view


def lease_view(lease: Lease) -> dict[str, Any]:
    return {
        "create_at": lease.create_at,
        "duration": lease.duration,
        "enable": lease.enable,
        "type": lease.type,
        "update_at": lease.update_at,
    }


def _embedded_image(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "swr_path": swr_path(image),
        "tag": image.tag,
        "type": image.type,
        "arch": image.arch,
    }


def swr_path(image: Image) -> str:
    return f"swr.example.com/{image.namespace}/{image.name}:{image.tag}"


def image_view(image: Image) -> dict[str, Any]:
    view: dict[str, Any] = {
        **_embedded_image(image),
        "status": image.status,
        "resource_categories": list(image.categories),
        "dev_services": list(image.dev_services),
        "service_type": image.service_type,
        "namespace": image.namespace,
        "visibility": image.visibility,
        "size": image.size,
        "description": image.description,
        "status_message": image.status_message,
        "workspace_id": image.workspace_id,
        "create_at": image.create_at,
        "update_at": image.update_at,
    }
    if image.origin is not None:
        view["origin"] = image.origin
    if image.flavor_type is not None:
        view["flavor_type"] = image.flavor_type
    return view


def flavor_view(flavor: Flavor, sold_out: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "description": flavor.name,
        "arch": flavor.arch,
        "category": flavor.category,
        "memory": flavor.memory,
        "vcpus": flavor.vcpus,
        "sold_out": sold_out,
        "free": flavor.feature == "DEFAULT",
        "feature": flavor.feature,
        "storages": list(flavor.storages),
        "billing": {"code": flavor.id, "unit_num": 1},
        "grow_support_type": "COMMON",
    }
    if flavor.gpu is not None:
        kind, count, memory = flavor.gpu
        view["gpu"] = {"gpu": count, "gpu_memory": memory, "type": kind}
    if flavor.ascend is not None:
        kind, count, memory = flavor.ascend
        view["ascend"] = {"npu": count, "npu_memory": memory, "type": kind}
    return view
