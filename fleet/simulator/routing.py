"""Which operation a method and path mean. The names are the vendor's.

Fixed words (``all``, ``flavors``, ``tags``) stand where a notebook id may stand and win over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Operation(StrEnum):
    LIST_NOTEBOOKS = "ListNotebooks"
    LIST_ALL_NOTEBOOKS = "ListAllNotebooks"
    CREATE_NOTEBOOK = "CreateNotebook"
    SHOW_NOTEBOOK = "ShowNotebook"
    UPDATE_NOTEBOOK = "UpdateNotebook"
    DELETE_NOTEBOOK = "DeleteNotebook"
    START_NOTEBOOK = "StartNotebook"
    STOP_NOTEBOOK = "StopNotebook"
    SHOW_LEASE = "ShowLease"
    RENEW_LEASE = "RenewLease"
    LIST_FLAVORS = "ListFlavors"
    SHOW_SWITCHABLE_FLAVORS = "ShowSwitchableFlavors"
    LIST_IMAGE = "ListImage"
    SHOW_IMAGE = "ShowImage"
    CREATE_IMAGE = "CreateImage"
    SHOW_NOTEBOOK_TAGS = "ShowNotebookTags"
    CREATE_NOTEBOOK_TAGS = "CreateNotebookTags"
    DELETE_NOTEBOOK_TAGS = "DeleteNotebookTags"
    LIST_WORKSPACES = "ListWorkspaces"
    LIST_FEATURES = "ListFeatures"
    QUERY_RANGE = "QueryRange"
    CREATE_TOKEN = "KeystoneCreateUserTokenByPassword"
    CREATE_TEMPORARY_KEY = "CreateTemporaryAccessKeyByToken"
    LIST_PROJECTS = "KeystoneListProjects"


LOGINS = frozenset({Operation.CREATE_TOKEN, Operation.CREATE_TEMPORARY_KEY, Operation.LIST_PROJECTS})
"""The calls that go to IAM, not to ModelArts."""


CallClass = Literal["reads", "writes", "logins"]


def call_class(operation: str, method: str) -> CallClass:
    """What a call counts as: limits and reports look at the three apart."""
    if operation in LOGINS:
        return "logins"
    if operation == Operation.QUERY_RANGE:
        return "reads"  # by POST too
    return "reads" if method == "GET" else "writes"


@dataclass(frozen=True, slots=True)
class Route:
    """The operation with what the path names: a project, and a notebook or image (else empty)."""

    operation: Operation
    project: str = ""
    target: str = ""


_OF_IAM = {
    "POST /v3/auth/tokens": Operation.CREATE_TOKEN,
    "POST /v3.0/OS-CREDENTIAL/securitytokens": Operation.CREATE_TEMPORARY_KEY,
    "GET /v3/projects": Operation.LIST_PROJECTS,
}

_OF_A_PROJECT = {
    "GET notebooks": Operation.LIST_NOTEBOOKS,
    "POST notebooks": Operation.CREATE_NOTEBOOK,
    "GET notebooks/all": Operation.LIST_ALL_NOTEBOOKS,
    "GET notebooks/flavors": Operation.LIST_FLAVORS,
    "GET notebooks/tags": Operation.SHOW_NOTEBOOK_TAGS,
    "GET images": Operation.LIST_IMAGE,
    "GET workspaces": Operation.LIST_WORKSPACES,
    "GET authoring/features/NOTEBOOK": Operation.LIST_FEATURES,
    "GET aom/api/v1/query_range": Operation.QUERY_RANGE,
    "POST aom/api/v1/query_range": Operation.QUERY_RANGE,
}

_OF_A_TARGET = {
    "GET notebooks/*": Operation.SHOW_NOTEBOOK,
    "PUT notebooks/*": Operation.UPDATE_NOTEBOOK,
    "DELETE notebooks/*": Operation.DELETE_NOTEBOOK,
    "POST notebooks/*/start": Operation.START_NOTEBOOK,
    "POST notebooks/*/stop": Operation.STOP_NOTEBOOK,
    "GET notebooks/*/lease": Operation.SHOW_LEASE,
    "PATCH notebooks/*/lease": Operation.RENEW_LEASE,
    "GET notebooks/*/flavors": Operation.SHOW_SWITCHABLE_FLAVORS,
    "POST notebooks/*/create-image": Operation.CREATE_IMAGE,
    "POST notebooks/*/tags/create": Operation.CREATE_NOTEBOOK_TAGS,
    "DELETE notebooks/*/tags/delete": Operation.DELETE_NOTEBOOK_TAGS,
    "GET images/*": Operation.SHOW_IMAGE,
}


def find_route(method: str, path: str) -> Route | None:
    """The route of a request line, or None where the gateway has published nothing."""
    version, _, rest = path.strip("/").partition("/")
    if version != "v1":
        iam = _OF_IAM.get(f"{method} {path}")
        return None if iam is None else Route(iam)
    project, _, rest = rest.partition("/")
    operation = _OF_A_PROJECT.get(f"{method} {rest}")
    if operation is None and rest.partition("/")[2].startswith("aom/"):  # behind the id of an instance
        operation = _OF_A_PROJECT.get(f"{method} {rest.partition('/')[2]}")
    if operation is not None:
        return Route(operation, project)
    collection, _, rest = rest.partition("/")
    target, slash, rest = rest.partition("/")
    operation = _OF_A_TARGET.get(f"{method} {collection}/*{slash}{rest}")
    return None if operation is None else Route(operation, project, target)
