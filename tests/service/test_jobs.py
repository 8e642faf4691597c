"""What is wrong with a job's parameters in any scope is told once, each with all of its lines."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fleet.core.errors import UsageError
from fleet.core.jobfiles.strict_yaml import read_yaml
from fleet.service.jobs import require_right


class Lacking:
    """A job for which every scope lacks something, told in two lines."""

    def check(self, context: Any) -> None:
        raise UsageError(f"with.to: scope {context} has no such image\nit has others")


def test_each_problem_keeps_its_further_lines_and_counts_once() -> None:
    document = read_yaml("with:\n  to: x\n", "j.yaml")
    with pytest.raises(UsageError) as caught:
        require_right(cast("Any", Lacking()), cast("Any", "abbcdefg"), document.placed)
    assert str(caught.value).splitlines() == [
        *(
            line
            for scope in "abcde"
            for line in (f"j.yaml:2: with.to: scope {scope} has no such image", "  it has others")
        ),
        "and 2 more",
    ]
