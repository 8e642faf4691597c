"""The ModelArts API of one scope, in the words of the core: by its shape, the `Cloud` of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from fleet.client import operations, rows
from fleet.client.caller import Caller
from fleet.client.listing import OnPage, Pass, unwatched
from fleet.client.metrics import Source
from fleet.client.operations import BUILT_IN, IMAGE_PAGE_SIZE, OWN, PAGE_SIZE, Operations
from fleet.client.wire import Request
from fleet.core.calls import Rank, Reading, Receipt, SavedImage, Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Flavor, Image, Notebook, Status
from fleet.core.pacing.limits import Limit, Rate, Shut
from fleet.core.planning.quota import Quota
from fleet.core.scope import Project, ScopeSpec, Workspace

FLAVOR_TYPES = ("MANAGED", "DEDICATED")
DEFAULT_WORKSPACE = "0"

T = TypeVar("T")


class ModelArts:
    """One scope of the cloud. Every method raises CallError when it gives up."""

    def __init__(
        self,
        spec: ScopeSpec,
        caller: Caller,
        iam: Caller,
        calls: Counter[str],
        metrics: Source | None = None,
    ) -> None:
        self.spec = spec
        self.metrics = metrics  # where the usage of its notebooks is measured
        self.calls = calls  # requests sent so far, by kind: get, list, put, stop, start, lease, login ...
        self._caller = caller
        self._iam = iam
        self._operations = Operations(spec.project_id)
        self._workspaces = spec.workspaces

    @property
    def limits(self) -> dict[str, tuple[Limit, ...]]:
        """The limits that are kept at present, by throttle key and class."""
        return self._caller.limits

    @property
    def waits(self) -> dict[str, str]:
        """What requests wait for at this moment, by throttle key and class."""
        return self._caller.waits

    @property
    def shut(self) -> dict[str, Shut]:
        """Where nothing may leave for a while, by throttle key and class."""
        return self._caller.shut

    def set_rate(self, rate: Rate) -> None:
        """Sets the rate of this scope's throttle key at once; other scopes may share it."""
        self._caller.set_rate(rate)

    async def turn(self, rank: Rank = Rank.NEW) -> Turn:
        """Waits until shortly before the next write may leave."""
        return await self._caller.turn(rank)

    async def look(self, notebook_id: str, rank: Rank = Rank.NEW) -> Reading:
        """The notebook as it is now (ShowNotebook)."""
        answer = await self._caller.call(self._operations.show(notebook_id), rank=rank)
        return Reading(rows.notebook(answer.payload), answer.request_id, answer.sends)

    async def put(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        """UpdateNotebook. The reply is not read: it is sparse, only a look proves the change."""
        return await self._write(self._operations.update(notebook_id, body), turn)

    async def save(self, notebook_id: str, body: Mapping[str, Any], turn: Turn) -> Receipt:
        """CreateImage with `name`, `namespace` and `workspace_id` of the new image. The reply is not read."""
        return await self._write(self._operations.create_image(notebook_id, body), turn)

    async def saved(self, body: Mapping[str, Any], rank: Rank = Rank.NEW) -> SavedImage:
        """The image that a body of `save` names, found by its name (ListImage)."""
        name, namespace = body["name"], body["namespace"]
        answer = await self._caller.call(self._operations.find_image(body), rank=rank)
        listed = map(rows.image, rows.page(answer.payload, "data").rows)
        found = rows.unique(listed, lambda image: image.id)
        images = [image for image in found if (image.name, image.namespace) == (name, namespace)]
        if not images:
            return SavedImage(sends=answer.sends)
        newest = max(images, key=lambda image: image.create_at)
        touched_at = max(newest.create_at, newest.update_at)
        return SavedImage(newest.status or "of unknown status", touched_at, answer.sends)

    async def stop(self, notebook_id: str, turn: Turn) -> Receipt:
        """StopNotebook."""
        return await self._write(self._operations.stop(notebook_id), turn)

    async def start(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        """StartNotebook with `duration` in ms (-1 switches auto stop off) and `type`."""
        return await self._write(self._operations.start(notebook_id, query), turn)

    async def renew_lease(self, notebook_id: str, query: Mapping[str, Any], turn: Turn) -> Receipt:
        """RenewLease with `duration` in ms and `type`."""
        return await self._write(self._operations.renew_lease(notebook_id, query), turn)

    async def poll(self, statuses: Collection[Status], rank: Rank = Rank.AWAY) -> frozenset[str]:
        """The ids of the notebooks in one of the statuses, as one pass over each sees it."""
        workspaces = await self._all_workspaces()
        found: set[str] = set()
        for status in statuses:
            listed = await self._list(workspaces, {"status": status.value}, rank=rank)
            found.update(row.id for row in listed if row.status is status)
        return frozenset(found)

    async def list_pass(self, filters: Mapping[str, str], on_page: OnPage = unwatched) -> list[Notebook]:
        """One full pass over the notebooks that the server's `filters` let through, each of them once.

        `on_page` is told of every page of the list of a workspace.
        Raises CallError (ODD) when the listing ends early or never; ValueError for an unknown filter.
        """
        if "workspace_id" in filters:
            return await self._list((filters["workspace_id"],), filters, on_page=on_page)
        workspaces = self.spec.workspaces or await self._every_workspace()
        self._workspaces = workspaces
        return await self._list(workspaces, filters, on_page=on_page)

    async def images(self) -> list[Image]:
        """Every image on offer: the built-in ones, and those that each workspace has of its own."""
        own = [{"type": OWN, "workspace_id": workspace} for workspace in await self._all_workspaces()]
        found: list[Image] = []
        for filters in ({"type": BUILT_IN}, *own):
            pages = partial(self._operations.list_images, filters)
            found += await self._rows("images", IMAGE_PAGE_SIZE, pages, "data", rows.image)
        return rows.unique(found, lambda image: image.id)

    async def image(self, image_id: str) -> Image:
        """One image (ShowImage)."""
        return rows.image((await self._caller.call(self._operations.show_image(image_id))).payload)

    async def flavors(self) -> list[Flavor]:
        """Every flavor on offer, of public and dedicated pools."""
        found: list[Any] = []
        for resource in FLAVOR_TYPES:
            answer = await self._caller.call(self._operations.list_flavors(resource))
            found += rows.page(answer.payload, "flavors", "data").rows
        return rows.unique(map(rows.flavor, found), lambda flavor: flavor.id)

    async def switchable_flavors(self, notebook_id: str) -> list[Flavor]:
        """The flavors that this notebook can be switched to (ShowSwitchableFlavors)."""
        answer = await self._caller.call(self._operations.switchable_flavors(notebook_id))
        found = rows.page(answer.payload, "flavors", "data").rows
        return rows.unique(map(rows.flavor, found), lambda flavor: flavor.id)

    async def quota(self) -> Quota:
        """How many instances the account may have, and how many it has (ListFeatures)."""
        return rows.quota((await self._caller.call(self._operations.show_feature())).payload)

    async def workspaces(self) -> list[Workspace]:
        """The workspaces of the project."""
        pages = self._operations.list_workspaces
        found = await self._rows("workspaces", PAGE_SIZE, pages, "workspaces", rows.workspace)
        return rows.unique(found, lambda workspace: workspace.id)

    async def projects(self) -> list[Project]:
        """The projects of the account in this region, as IAM lists them."""
        answer = await self._iam.call(operations.list_projects(self.spec.region))
        return [rows.project(row) for row in rows.page(answer.payload, "projects").rows]

    async def _write(self, request: Request, turn: Turn) -> Receipt:
        answer = await self._caller.call(request, turn)
        return Receipt(answer.status, answer.request_id, answer.sends)

    async def _all_workspaces(self) -> tuple[str, ...]:
        """Those of the scope, as they were when they were last listed."""
        if not self._workspaces:
            self._workspaces = await self._every_workspace()
        return self._workspaces

    async def _every_workspace(self) -> tuple[str, ...]:
        try:
            listed = await self.workspaces()
        except CallError as error:
            raise _unlisted(error, self.spec.name) from None
        return tuple(dict.fromkeys([DEFAULT_WORKSPACE, *(workspace.id for workspace in listed)]))

    async def _list(
        self,
        workspaces: Sequence[str],
        filters: Mapping[str, str],
        rank: Rank = Rank.NEW,
        on_page: OnPage = unwatched,
    ) -> list[Notebook]:
        found: list[Notebook] = []
        for query in _queries(self.spec.features, workspaces, filters):
            pages = partial(self._operations.list_notebooks, self.spec.listing, query)
            found += await self._rows("notebooks", PAGE_SIZE, pages, "data", rows.notebook, rank, on_page)
        return rows.unique(found, lambda notebook: notebook.id)

    async def _rows(
        self,
        what: str,
        page_size: int,
        request_at: Callable[[int], Request],
        name: str,
        read: Callable[[Any], T],
        rank: Rank = Rank.NEW,
        on_page: OnPage = unwatched,
    ) -> list[T]:
        """The rows of one pass over a paged listing, each page read as it comes: raw rows are large."""
        walk = Pass(f"{what} of scope {self.spec.name}", page_size, on_page)
        found: list[T] = []
        while not walk.done:
            answer = await self._caller.call(request_at(walk.offset), rank=rank)
            page = rows.page(answer.payload, name)
            walk.take(page)
            found += map(read, page.rows)
        return found


def _queries(
    features: Sequence[str], workspaces: Sequence[str], filters: Mapping[str, str]
) -> list[dict[str, str]]:
    """One query a feature and workspace: without them the server looks at NOTEBOOK in workspace 0 only."""
    asked = (filters["feature"],) if "feature" in filters else features
    return [{**filters, "feature": f, "workspace_id": w} for f in asked for w in workspaces]


def _unlisted(error: CallError, scope: str) -> CallError:
    """A listing without all workspaces would have a hole, so the person must say which ones to list."""
    if error.meaning not in (Meaning.FORBIDDEN, Meaning.WRONG_ADDRESS):
        return error
    text = f'cannot list the workspaces of scope {scope}; name them there, such as workspaces = ["0"]'
    return CallError(
        Meaning.FORBIDDEN, text, status=error.status, code=error.code, request_id=error.request_id
    )
