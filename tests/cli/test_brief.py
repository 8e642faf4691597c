"""After a large run only those notebooks are listed that a person should look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Lab, Shell


def test_a_large_run_lists_what_did_not_go_as_planned(make_lab: Callable[..., Lab], shell: Shell) -> None:
    lab = make_lab(notebooks=800)
    plan = lab.plan()
    ids = [change["id"] for change in json.loads(plan.read_bytes())["changes"]]
    assert len(ids) > 40
    for deleted in ids[:2]:
        del lab.cloud.world.notebooks[deleted]
    result = lab.apply(plan, "--confirm", len(ids))
    rows, _, summary = result.out.partition("\n\n")
    assert [line.split()[2] for line in rows.splitlines()[1:]] == ids[:2]
    first = summary.splitlines()[0]
    assert first.startswith(
        f"and {len(ids) - 2} more, {len(ids) - 2} changed: fleet report {result.run} --all --config /"
    )
    assert first.endswith(f" --run-dir {lab.runs}")
    whole = shell("report", result.run, "--run-dir", lab.runs)
    assert len(whole.out.partition("\n\n")[0].splitlines()) == 1 + len(ids)
