"""What an image is called that a notebook's environment is saved as."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.saved_image import body_of, image_path, organization_of, organization_problem
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import InvalidField

AT = 1_795_434_560_000  # 2026-11-23 11:49:20 UTC
ID = "F9937AFA-4451-42db-a76b-72d624749f66"


def path(name: str, **fields: Any) -> str:
    return image_path("lab", Notebook(ID, Status.RUNNING, name=name, **fields), AT)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("nb-1", "lab/before-nb-1-f9937afa-20261123-114920"),
        ("My_Lab__2", "lab/before-my-lab-2-f9937afa-20261123-114920"),
        ("-Ü-", "lab/before-f9937afa-20261123-114920"),
        ("", "lab/before-f9937afa-20261123-114920"),
    ],
)
def test_an_image_is_named_after_its_notebook_and_the_time_of_the_plan(name: str, called: str) -> None:
    assert path(name) == called


@given(st.text(max_size=200), st.uuids())
def test_whatever_a_notebook_is_called_its_image_has_a_name_by_the_rules(name: str, id: object) -> None:
    called = image_path("lab", Notebook(str(id), Status.RUNNING, name=name), AT).removeprefix("lab/")
    assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*[a-z0-9]", called)
    assert len(called) <= 128
    assert called.endswith(f"-{str(id)[:8]}-20261123-114920")


def test_the_call_names_both_parts() -> None:
    assert body_of("lab/before-nb-1") == {"name": "before-nb-1", "namespace": "lab"}
    assert organization_of("lab/before-nb-1") == "lab"


def test_the_call_names_the_workspace_of_the_notebook_where_it_is_known() -> None:
    assert body_of("lab/nb", "w" * 32) == {"name": "nb", "namespace": "lab", "workspace_id": "w" * 32}


@pytest.mark.parametrize(
    "text",
    ["", "lab", "lab/", "/name", "lab/Upper", "Lab/name", "lab/-name", "lab/name-", "lab/a/b", "1/name"],
)
def test_what_is_no_path_of_an_image_is_never_sent(text: str) -> None:
    with pytest.raises(InvalidField, match="organization/name"):
        body_of(text)


@pytest.mark.parametrize(
    ("text", "right"), [("lab", True), ("l" * 64, True), ("l" * 65, False), ("La", False)]
)
def test_an_organization_is_checked_before_any_image_is_named(text: str, right: bool) -> None:
    assert (organization_problem(text) == "") is right
