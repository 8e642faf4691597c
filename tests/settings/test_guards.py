"""What the configuration protects from every job."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.core.errors import UsageError
from fleet.core.selecting.selector import Selector


def test_nothing_is_protected_unless_the_file_says_so(machine: Any) -> None:
    machine.scope()
    assert machine.load().shield is None


def test_what_the_file_protects_is_a_selector(machine: Any) -> None:
    machine.scope(tables="[guards]\nprotect = 'has(tags.keep) || flavor.free'")
    assert machine.load().shield == Selector.parse("has(tags.keep) || flavor.free")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("protect = 'nam == \"x\"'", "guards.protect: not a selector: no field 'nam'; did you mean name?"),
        ("protect = 'name'", "guards.protect: not a selector: the result is a string"),
        ("protect = ''", "guards.protect: not a selector: the selector is empty"),
        ("protcet = 'true'", "guards.protcet: unknown key; did you mean protect?"),
        ("protect = true", "guards.protect: "),
    ],
)
def test_anything_else_is_a_mistake_in_one_line(machine: Any, line: str, told: str) -> None:
    machine.scope(tables=f"[guards]\n{line}")
    with pytest.raises(UsageError) as caught:
        machine.load()
    assert str(caught.value).startswith(f"fleet.toml: {told}")
    assert "\n" not in str(caught.value)
