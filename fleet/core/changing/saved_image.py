"""What the image is called that a notebook's environment is saved as: organization/name, as in SWR's paths.

Names only, by the rules of the CreateImage API. `saving` has what becomes of the saving itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from fleet.core.notebook import Notebook
from fleet.core.patch import InvalidField

NAME_MAX = 128

ORGANIZATION = re.compile(r"[a-z][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,126}[a-z0-9])?")


def organization_problem(text: str) -> str:
    """Why `text` cannot be an organization of SWR; empty when it can."""
    if ORGANIZATION.fullmatch(text):
        return ""
    return "an organization has at most 64 letters, digits, '-', '_' and '.', and begins with a small letter"


def image_path(organization: str, notebook: Notebook, now: int) -> str:
    """Where to save the environment of `notebook` by a plan made at `now` (ms).

    No two notebooks and no two plans get the same one, since an image would be replaced by its namesake; and
    it begins like no family of images that anybody migrates to.
    """
    at = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y%m%d-%H%M%S")
    tail = f"{notebook.id[:8]}-{at}".lower()
    called = re.sub(r"[^a-z0-9]+", "-", notebook.name.lower())[: NAME_MAX - len(f"before--{tail}")].strip("-")
    return f"{organization}/{'-'.join(part for part in ('before', called, tail) if part)}"


def organization_of(path: str) -> str:
    """The organization in what `image_path` made."""
    return path.partition("/")[0]


def body_of(path: str, workspace: str = "") -> Mapping[str, str]:
    """The body of the CreateImage call, for the workspace of the notebook where it is known.

    Without one the cloud takes workspace 0, from which a private image cannot be used elsewhere. Raises
    InvalidField for what is no path of an image.
    """
    organization, _, name = path.partition("/")
    if organization_problem(organization) or not _NAME.fullmatch(name):
        raise InvalidField("save", f"{path[:200]!r} is no image's organization/name")
    body = {"name": name, "namespace": organization}
    return {**body, "workspace_id": workspace} if workspace else body
