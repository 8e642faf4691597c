"""fleet ls against a lab."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from fleet.cli.listing import DEFAULT_COLUMNS
from fleet.core.selecting.fields import FIELDS

Lab = Any
Shell = Any


def test_every_notebook_is_a_row_and_stdout_holds_nothing_else(lab: Lab, shell: Shell) -> None:
    result = shell("ls")
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].split() == DEFAULT_COLUMNS.split(",")
    assert {line.split()[2] for line in lines[1:]} == {*lab.cloud.world.notebooks}
    assert result.err == f"{len(lines) - 1} of {len(lines) - 1} notebooks in 2 scopes\n"


def test_a_row_is_one_line_without_colour_or_trailing_blanks(lab: Lab, shell: Shell) -> None:
    next(iter(lab.cloud.world.notebooks.values())).name = "训练\x1b[31m" + "x" * 200
    lines = shell("ls").out.splitlines()
    assert len(lines) == 1 + len(lab.cloud.world.notebooks)
    assert all(line == line.rstrip() and "\x1b" not in line for line in lines)


def test_json_jsonl_csv_and_table_tell_the_same(lab: Lab, shell: Shell) -> None:
    asked = ("ls", "-c", "id,name,status,tags,ssh.whitelist,lease.left,created,lease.enabled")
    rows = shell(*asked, "-o", "json").json
    assert len(rows) == 40
    assert [json.loads(line)["id"] for line in shell(*asked, "-o", "jsonl").out.splitlines()] == [
        row["id"] for row in rows
    ]
    table = csv.DictReader(io.StringIO(shell(*asked, "-o", "csv").out, newline=""))
    assert [(row["id"], row["name"]) for row in table] == [(row["id"], row["name"]) for row in rows]
    assert isinstance(rows[0]["tags"], dict)
    assert {type(row["lease.left"]) for row in rows} == {float, type(None)}
    assert all(row["created"].endswith("Z") for row in rows)


def test_ids_come_one_a_line_whatever_the_columns(lab: Lab, shell: Shell) -> None:
    assert {*shell("ls", "-o", "id", "-c", "name").out.split()} == {*lab.cloud.world.notebooks}


def test_the_count_is_the_only_word(lab: Lab, shell: Shell) -> None:
    stopped = len(lab.old())
    asked = 'image.name.startsWith("pytorch1.8") && status == "STOPPED"'
    assert shell("ls", "--count", "-s", asked).out == f"{stopped}\n"


def test_one_scope_can_be_asked_for(lab: Lab, shell: Shell) -> None:
    seen = {row["scope"] for row in shell("ls", "--scope", "lab-b", "-o", "json").json}
    assert seen == {"lab-b"}
    assert "scope lab-z: unknown scope" in shell.refused("ls", "--scope", "lab-z")


def test_the_fields_need_no_configuration(shell: Shell) -> None:
    lines = shell("ls", "--fields").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [*FIELDS]


def test_a_selector_that_cannot_be_used_shows_where_and_sends_nothing(lab: Lab, shell: Shell) -> None:
    said = shell.refused("ls", "-s", 'stat == "RUNNING"', lines=3)
    assert said.splitlines() == [
        "fleet: no field 'stat'; did you mean status?",
        '  stat == "RUNNING"',
        "  ^",
    ]
    assert lab.cloud.log == []


def test_an_id_that_no_scope_holds_is_named(lab: Lab, shell: Shell) -> None:
    missing = "00000000-0000-0000-0000-000000000000"
    assert missing in shell.refused("ls", "-s", f'id == "{missing}"')


def test_the_configuration_may_be_named_before_or_after_the_command(lab: Lab, shell: Shell) -> None:
    (shell.folder / "fleet.toml").rename(shell.folder / "other.toml")
    assert "no configuration" in shell.refused("ls", lines=5)
    assert shell("--config", "other.toml", "ls", "--count").out == "40\n"
    assert shell("ls", "--count", "--config", "other.toml").out == "40\n"
    assert "nowhere.toml: no such file" in shell.refused(
        "--config", "other.toml", "ls", "--config", "nowhere.toml"
    )


def test_listing_changes_nothing(lab: Lab, shell: Shell) -> None:
    before = shell.files
    assert shell("ls").code == 0
    assert (lab.writes, shell.files) == ([], before)
