"""People as faults: somebody at the console acts on notebooks while a client works on them.

They call the cloud's own operations, past gateway and faults, and the log shows them as the user
``SOMEBODY``. Before each act on a notebook they wait until it is not between two states: whoever
wants to start one that is STOPPING does so in the very instant in which it is STOPPED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from fleet.simulator.faults.notebooks import OfNotebooks
from fleet.simulator.faults.occasions import Scene
from fleet.simulator.states import TRANSITIONAL
from fleet.simulator.world import Notebook

Act = Literal["stop", "start", "update", "delete", "create"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person(OfNotebooks):
    """Somebody ``does`` one thing after the other: stop, start, update (a PUT of ``set``), delete,
    create (a new notebook with the old one's name, image and flavor)."""

    kind: Literal["person"] = "person"
    does: Annotated[tuple[Act, ...], Field(min_length=1)]
    set: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        OfNotebooks.__post_init__(self)
        if ("update" in self.does) != bool(self.set):
            raise ValueError("set (the fields and their values) goes with update in does, and only with it")

    def befall(self, scene: Scene, notebook: Notebook, now: float) -> None:
        self._go_on(scene, notebook, self.does, now)

    def _go_on(self, scene: Scene, notebook: Notebook, acts: Sequence[Act], now: float) -> None:
        if acts[0] != "create" and notebook.status in TRANSITIONAL:
            due, rest = notebook.transition_end, acts
        else:
            method, path, body = self._call(notebook, acts[0])
            scene.act(method, f"/v1/{notebook.project}/notebooks{path}", body, now)
            due, rest = now, acts[1:]
        if rest:
            scene.later(due, lambda scene, now: self._go_on(scene, notebook, rest, now))

    def _call(self, notebook: Notebook, act: Act) -> tuple[str, str, Mapping[str, Any]]:
        """Method, end of the path and body."""
        if act == "create":
            return "POST", "", creation_like(notebook)
        if act == "update":
            return "PUT", f"/{notebook.id}", self.set
        if act == "delete":
            return "DELETE", f"/{notebook.id}", {}
        return "POST", f"/{notebook.id}/{act}", {}


def creation_like(notebook: Notebook) -> dict[str, Any]:
    """The body that creates a notebook like this one, under the same name."""
    volume = notebook.volume
    return {
        "name": notebook.name,
        "flavor": notebook.flavor,
        "image_id": notebook.image.id,
        "feature": notebook.feature,
        "workspace_id": notebook.workspace_id,
        "volume": {
            key: volume[key] for key in ("category", "ownership", "uri", "dew_secret_name") if key in volume
        },
    }
