"""A job type from somebody else's package, as the authors' page has it: found, planned and run; its cases."""

from __future__ import annotations

import importlib
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.core.catalog import Catalog
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import NotebookPatch

Lab = Any
Shell = Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "jobs_by_others" / "naming"
PAGE = (ROOT / "jobs" / "README.md").read_text()
CASES = yaml.safe_load((PACKAGE / "cases.yaml").read_text())
CONTEXT = Context("lab", Catalog(), 0)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, as pip leaves it: the module, and its metadata with the entry point."""
    site = tmp_path / "site-packages"
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    lines = [f"{name} = {where}" for name, where in project["entry-points"]["fleet.jobs"].items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[fleet.jobs]", *lines]))
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    shutil.copy(PACKAGE / "fleet_naming.py", site)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def rename(installed: Path) -> Callable[[Any], JobSpec]:
    """Makes the job with these parameters."""
    found: type[JobSpec] = importlib.import_module("fleet_naming").Rename
    return found.model_validate


def test_a_job_type_that_was_installed_is_planned_run_and_undone(
    installed: Path, lab: Lab, shell: Shell
) -> None:
    shell.write("naming.yaml", (PACKAGE / "naming.yaml").read_text() + "guards: {max_share: 100%}\n")
    stopped = [row for row in lab.cloud.world.notebooks.values() if row.status == "STOPPED"]
    names = {row.id: row.name for row in stopped}
    shown = shell("plan", "naming.yaml", "-o", "plan.json", "--all")
    assert (shown.code, lab.writes) == (0, [])
    for row in stopped:
        assert f"name: {row.name} -> {re.sub('[0-9]+$', row.user.name, row.name)}" in shown.out
    run = shell("run", "naming.yaml", "--yes", "--run-dir", lab.runs)
    assert run.code == 0, run.err
    assert {row.id: row.name for row in stopped} == {
        row.id: re.sub("[0-9]+$", row.user.name, names[row.id]) for row in stopped
    }
    assert set(lab.writes) == {"UpdateNotebook"}
    shell("undo", run.run, "-o", "undo.json", "--run-dir", lab.runs)
    assert lab.apply(shell.folder / "undo.json").code == 0
    assert {row.id: row.name for row in stopped} == names


def test_without_its_package_the_job_type_is_unknown(lab: Lab, shell: Shell) -> None:
    shell.write("naming.yaml", (PACKAGE / "naming.yaml").read_text())
    assert "there is no job type 'naming'" in shell.refused("plan", "naming.yaml")


def test_its_parameters_are_in_the_schema_for_editors(installed: Path, shell: Shell) -> None:
    assert set(shell("schema").json["$defs"]["naming"]["properties"]) == {"match", "to"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['name']}-{case['owner']}")
def test_case(case: dict[str, Any], rename: Callable[[Any], JobSpec]) -> None:
    notebook = Notebook("nb", Status.RUNNING, name=case["name"], owner=case["owner"])
    proposal = rename(case["with"]).propose(notebook, CONTEXT)
    if "gets" in case:
        assert proposal == NotebookPatch(name=case["gets"])
    elif "skip" in case:
        assert proposal == Skip(case["skip"])
    else:
        assert proposal == Skip(case["unchanged"], Outcome.UNCHANGED)


@pytest.mark.parametrize("to", ["$team-1", "100%$"])
def test_a_name_that_nobody_can_fill_in_stops_the_job(to: str, rename: Callable[[Any], JobSpec]) -> None:
    with pytest.raises(UsageError, match=r"^with\.to: only \$n, \$owner can be filled in$"):
        rename({"match": "(?P<n>.*)", "to": to}).check(CONTEXT)


@pytest.mark.parametrize(
    ("language", "name"),
    [("python", "fleet_naming.py"), ("toml", "pyproject.toml"), ("yaml", "naming.yaml")],
)
def test_the_page_shows_the_package_as_it_is(language: str, name: str) -> None:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks[0] == (PACKAGE / name).read_text()


def test_the_cases_on_the_page_are_among_those_that_are_tried() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert all(case in CASES for case in yaml.safe_load(blocks[1]))


def test_the_page_names_everything_that_an_author_may_implement_or_want() -> None:
    fields = {"files", "switchable", "usage", "resized"}
    methods = {name for name in vars(JobSpec) if not name.startswith("_")} - {"model_config"}
    assert {name for name in methods | fields if f"`{name}" not in PAGE and f"{name}=" not in PAGE} == set()
