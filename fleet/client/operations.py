"""One function an API operation: the request that it is, with every id checked before it becomes a path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from fleet.client import reading
from fleet.client.wire import ITEM_CAP, PAGE_CAP, Kind, Request, canonical_query, nothing_read
from fleet.core.errors import UsageError
from fleet.core.patch import check_whitelist, require_uuid
from fleet.core.scope import ListMode, PasswordLogin
from fleet.core.whitelist import Breadth

PAGE_SIZE = 50  # the largest of 10, 20 and 50 that ListNotebooks takes
IMAGE_PAGE_SIZE = 200
BUILT_IN, OWN = "BUILD_IN", "DEDICATED"  # types of images (ListImage API)

Query = Mapping[str, str | int]

# What ListNotebooks and ListAllNotebooks can filter by.
FILTERS = frozenset(
    (
        "billing", "description", "feature", "flavor", "id", "image_id", "ip", "name", "owner", "pool_id",
        "pool_name", "status", "swr_path", "tags", "username", "workspace_id",
    )
)  # fmt: skip

_ENCODER = msgspec.json.Encoder()
_PROJECT_ID = re.compile(r"[0-9a-f]{32}")


def require_project_id(project_id: str) -> str:
    """The project id as given. Raises UsageError unless it is 32 hexadecimal digits: it goes into a URL."""
    if not _PROJECT_ID.fullmatch(project_id):
        raise UsageError(
            f"project_id: {project_id[:60]!r} is not 32 hexadecimal digits in lower case;"
            " the console shows it under My Credentials"
        )
    return project_id


class Operations:
    """The ModelArts operations of one project."""

    def __init__(self, project_id: str) -> None:
        self._root = f"/v1/{require_project_id(project_id)}"

    @property
    def prefix(self) -> str:
        """What the path of every request starts with."""
        return f"{self._root}/"

    def list_notebooks(self, mode: ListMode, filters: Mapping[str, str], offset: int) -> Request:
        """ListNotebooks or ListAllNotebooks: one page. Raises ValueError for a filter that does not exist."""
        unknown = filters.keys() - FILTERS
        if unknown:
            raise ValueError(f"ListNotebooks has no filter {', '.join(sorted(unknown))}")
        every = "/all" if mode is ListMode.ALL else ""
        query: Query = {**filters, "limit": PAGE_SIZE, "offset": offset}
        return self._get("list", f"/notebooks{every}", query, PAGE_CAP, reading.notebooks)

    def show(self, notebook_id: str) -> Request:
        """ShowNotebook."""
        path = self._root + self._notebook(notebook_id)
        return Request("get", Kind.READ, "GET", path, read=reading.notebook)

    def update(self, notebook_id: str, body: Mapping[str, Any]) -> Request:
        """UpdateNotebook. Raises InvalidField for a whitelist that would let the world in."""
        for endpoint in body.get("endpoints") or ():
            if "allowed_access_ips" in endpoint:
                check_whitelist(endpoint["allowed_access_ips"], tuple(Breadth))  # the plan knows which
        return self._write("put", "PUT", self._notebook(notebook_id), body=body)

    def stop(self, notebook_id: str) -> Request:
        """StopNotebook."""
        return self._write("stop", "POST", self._notebook(notebook_id, "/stop"))

    def start(self, notebook_id: str, query: Query) -> Request:
        """StartNotebook; `duration` in ms and `type` go into the query."""
        return self._write("start", "POST", self._notebook(notebook_id, "/start"), query=query)

    def renew_lease(self, notebook_id: str, body: Mapping[str, Any]) -> Request:
        """RenewLease in its body form: in the query, `duration` would force the type TIMING."""
        return self._write("lease", "PATCH", self._notebook(notebook_id, "/lease"), body=body)

    def create_image(self, notebook_id: str, body: Mapping[str, Any]) -> Request:
        """CreateImage: saves the environment of a running notebook."""
        return self._write("save", "POST", self._notebook(notebook_id, "/create-image"), body=body)

    def find_image(self, body: Mapping[str, Any]) -> Request:
        """ListImage for exactly the image that such a body of `create_image` names."""
        query: Query = {
            **body,
            "type": OWN,
            "name_fuzzy_match": "false",
            "limit": IMAGE_PAGE_SIZE,
            "offset": 0,
        }
        return self._get("images", "/images", query, PAGE_CAP)

    def list_images(self, filters: Mapping[str, str], offset: int) -> Request:
        """ListImage of one type, and of own images of one workspace (without: 0): one page."""
        query: Query = {**filters, "limit": IMAGE_PAGE_SIZE, "offset": offset}
        return self._get("images", "/images", query, PAGE_CAP)

    def show_feature(self) -> Request:
        """ListFeatures of NOTEBOOK: the quota of instances and its use."""
        return self._get("quota", "/authoring/features/NOTEBOOK")

    def show_image(self, image_id: str) -> Request:
        """ShowImage."""
        return self._get("images", f"/images/{require_uuid('image_id', image_id)}")

    def list_flavors(self, resource: str) -> Request:
        """ListFlavors of one type, MANAGED or DEDICATED. Without a limit all come at once."""
        return self._get("flavors", "/notebooks/flavors", {"type": resource}, PAGE_CAP)

    def switchable_flavors(self, notebook_id: str) -> Request:
        """ShowSwitchableFlavors."""
        return self._get("flavors", self._notebook(notebook_id, "/flavors"), {}, PAGE_CAP)

    def list_workspaces(self, offset: int) -> Request:
        """ListWorkspaces: one page."""
        return self._get("workspaces", "/workspaces", {"limit": PAGE_SIZE, "offset": offset}, PAGE_CAP)

    @staticmethod
    @lru_cache(1024)  # a notebook under way is named several times, and every time must be a UUID
    def _notebook(notebook_id: str, tail: str = "") -> str:
        return f"/notebooks/{require_uuid('notebook id', notebook_id)}{tail}"

    def _get(
        self,
        operation: str,
        path: str,
        query: Query | None = None,
        cap: int = ITEM_CAP,
        read: Callable[[bytes], Any] | None = None,
    ) -> Request:
        text = canonical_query(query) if query else ""
        return Request(operation, Kind.READ, "GET", self._root + path, text, cap=cap, read=read)

    def _write(
        self,
        operation: str,
        method: str,
        path: str,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Request:
        return Request(
            operation,
            Kind.WRITE,
            method,
            self._root + path,
            canonical_query(query) if query else "",
            b"" if body is None else to_json(body),
            read=nothing_read,
        )


def login(credential: PasswordLogin, project_id: str) -> Request:
    """KeystoneCreateUserTokenByPassword, scoped to a project; without the catalog, which nobody reads."""
    user = {
        "name": credential.user,
        "password": credential.password,
        "domain": {"name": credential.domain},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"id": require_project_id(project_id)}}
    body = {"auth": {"identity": identity, "scope": scope}}
    return Request("login", Kind.LOGIN, "POST", "/v3/auth/tokens", "nocatalog=true", to_json(body))


def list_projects(region: str) -> Request:
    """KeystoneListProjects: those of a region."""
    return Request("projects", Kind.LOGIN, "GET", "/v3/projects", canonical_query({"name": region}))


def to_json(body: Mapping[str, Any]) -> bytes:
    """A request body. Raises ValueError for a number that JSON does not know."""
    text = _ENCODER.encode(body)
    if b"null" not in text:  # which such a number becomes
        return text
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
