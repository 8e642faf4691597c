"""The forms of a report, letter by letter, and what strangers' names may not do to them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.events import RunEnd, RunEnded, RunStarted
from fleet.core.fold import RunState, fold
from fleet.core.planning.plan import Plan
from fleet.report.as_csv import safe_text
from fleet.report.as_text import summary_text
from fleet.report.formats import Format, render
from fleet.report.summary import Report, summarize

RUN = "20261130-081500-k3f9"

TABLE = """\
scope  name     id       wave  outcome      run state           away  reason
lab-a  nb-0     id-0        1  changed      RUNNING            2m30s
lab-a  nb-1     id-1        1  changed      STOPPED
lab-a  nb-2     id-2        1  failed       RUNNING (planned)         stop refused: ModelArts.6404
lab-a  nb-3     id-3        1  stranded     RUNNING > STOPPED     6m  START_FAILED
lab-a  nb-4     id-4        1  not-started  RUNNING (planned)         the run was halted: 2 failed
lab-a  keep-me  id-last        skipped      STOPPED                   protected
"""

WHO = ["run", "scope", "id", "name", "owner", "wave", "outcome", "reason", "before", "after", "run_state"]
WHAT = ["lease", "started_at", "finished_at", "away_s", "stages_done", "calls", "request_ids", "debt", "fix"]

ROW = {
    "run": RUN,
    "scope": "lab-a",
    "id": "id-0",
    "name": "nb-0",
    "owner": "ann",
    "wave": 1,
    "outcome": "changed",
    "reason": "",
    "before": {"image_id": "old"},
    "after": {"image_id": "new"},
    "run_state": {"before": "RUNNING", "after": "RUNNING"},
    "lease": {
        "before": {"enable": True, "type": "TIMING", "left_s": 7200},
        "after": {"enable": True, "type": "TIMING", "left_s": 7000},
    },
    "started_at": "2026-11-30T08:15:10.000Z",
    "finished_at": "2026-11-30T08:17:42.000Z",
    "away_s": 150.0,
    "stages_done": 0,
    "calls": {"put": 1, "stop": 1, "start": 1, "get": 2, "lease": 0, "save": 0},
    "request_ids": ["g1", "s1", "p1", "t1", "g2"],
    "debt": False,
    "fix": "",
}

CSV = (
    "run,scope,id,name,owner,wave,outcome,reason,before.image_id,after.image_id,"
    "run_state.before,run_state.after,lease.before.enable,lease.before.type,lease.before.left_s,"
    "lease.after.enable,lease.after.type,lease.after.left_s,started_at,finished_at,away_s,"
    "calls.put,calls.stop,calls.start,calls.get,calls.lease,calls.save,request_ids,debt,fix,stages_done\r\n"
    "20261130-081500-k3f9,lab-a,id-0,nb-0,ann,1,changed,,old,new,RUNNING,RUNNING,true,TIMING,7200,"
    "true,TIMING,7000,2026-11-30T08:15:10.000Z,2026-11-30T08:17:42.000Z,150.0,"
    "1,1,1,2,0,0,g1 s1 p1 t1 g2,false,,0\r\n"
)


def named(report: Report, name: str) -> Report:
    """The report with one row, of a notebook of this name."""
    return replace(report, rows=(replace(report.rows[0], name=name),))


def test_the_table_stands_above_the_block(report: Report) -> None:
    assert render(report, Format.TABLE) == f"{TABLE}\n{summary_text(report)}"


def test_only_a_terminal_gets_color(report: Report) -> None:
    assert "\x1b[" not in render(report, Format.TABLE)
    colored = render(report, Format.TABLE, color=True)
    assert "  \x1b[1;31mstranded\x1b[0m  " in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(report, Format.TABLE)


def test_a_name_that_looks_like_an_outcome_gets_no_color(report: Report) -> None:
    row = replace(report.rows[0], name=f"{report.rows[0].id}-changed")
    table = render(replace(report, rows=(row,)), Format.TABLE, color=True)
    assert f" {row.name} " in table
    assert " \x1b[32mchanged\x1b[0m " in table


def test_a_change_of_run_state_is_seen_in_the_table(report: Report) -> None:
    moved = replace(report, rows=(replace(report.rows[0], run_state_after="FROZEN"),))
    assert "RUNNING > FROZEN" in render(moved, Format.TABLE)


@pytest.mark.parametrize(
    ("debt", "after", "shown"),
    [
        (True, "", "RUNNING > ?"),
        (True, "STOPPED", "RUNNING > STOPPED"),
        (False, "", "RUNNING (planned)"),
        (False, "RUNNING", "RUNNING"),
    ],
)
def test_every_form_tells_a_run_state_that_the_run_has_not_seen_as_unknown(
    report: Report, debt: bool, after: str, shown: str
) -> None:
    row = replace(report.rows[0], debt=debt, run_state_before="RUNNING", run_state_after=after)
    one = replace(report, rows=(row,))
    assert f" changed  {shown}  " in render(one, Format.TABLE).splitlines()[1]
    told = json.loads(render(one, Format.JSONL))["run_state"]
    assert told == {"before": "RUNNING", "after": after or None}
    assert json.loads(render(one, Format.JSON))["rows"][0]["run_state"] == told
    (cells,) = csv.DictReader(io.StringIO(render(one, Format.CSV), newline=""))
    assert (cells["run_state.before"], cells["run_state.after"]) == ("RUNNING", after)


def test_a_brief_table_shows_what_is_open_first_once_nobody_works_on_it(report: Report) -> None:
    opened = replace(report.rows[0], outcome=None)
    long = replace(report, rows=(*report.rows * 9, opened))
    over, live = (
        render(replace(long, state=state), Format.TABLE, brief=True).splitlines()[1].split()[4]
        for state in ("interrupted", "running")
    )
    assert (over, live) == ("open", "stranded")


@pytest.mark.security("escapes")
@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[link=http://evil]x[/link]", ":smile:", "[/]"])
def test_names_are_not_read_as_markup(report: Report, name: str) -> None:
    assert name in render(named(report, name), Format.TABLE)


def test_each_line_of_jsonl_has_the_documented_keys(report: Report) -> None:
    rows = [json.loads(line) for line in render(report, Format.JSONL).splitlines()]
    assert rows[0] == ROW
    assert [list(row) for row in rows] == [WHO + WHAT] * 6
    assert (rows[3]["debt"], rows[3]["fix"]) == (
        True,
        "fleet start --scope lab-a id-3 --duration 1h59m20s --type TIMING",
    )
    assert (rows[5]["wave"], rows[5]["started_at"], rows[5]["lease"]) == (
        None,
        None,
        {"before": None, "after": None},
    )


def test_a_brief_table_shows_what_needs_a_person_the_most_urgent_first(report: Report) -> None:
    long = replace(report, rows=report.rows * 9, run_dir=" --run-dir here")
    text = render(long, Format.TABLE, brief=True)
    rows, _, summary = text.partition("\n\n")
    told = [line.split()[4] for line in rows.splitlines()[1:]]
    assert told == ["stranded"] * 9 + ["failed"] * 9 + ["not-started"] * 9
    left = "and 27 more, 18 changed, 9 skipped"
    assert summary.splitlines()[0] == f"{left}: fleet report {RUN} --all --run-dir here"
    assert len(render(long, Format.TABLE).partition("\n\n")[0].splitlines()) == 1 + 54
    assert render(long, Format.JSONL, brief=True) == render(long, Format.JSONL)


def test_a_brief_table_has_twenty_rows_of_an_outcome_and_counts_the_others(report: Report) -> None:
    text = render(replace(report, rows=report.rows * 100), Format.TABLE, brief=True)
    rows, _, summary = text.partition("\n\n")
    assert len(rows.splitlines()) == 1 + 60
    left = "and 540 more, 200 changed, 80 failed, 80 stranded, 80 not-started, 100 skipped: "
    assert summary.startswith(left)


def test_a_short_table_is_whole_even_if_brief(report: Report) -> None:
    assert render(report, Format.TABLE, brief=True) == render(report, Format.TABLE)


def test_the_json_document_holds_the_rows_and_their_sums(report: Report) -> None:
    document = json.loads(render(report, Format.JSON))
    assert document["rows"][0] == ROW
    assert (document["run"], document["job"], document["state"]) == (RUN, "torch", "halted")
    assert (document["exit"], document["duration_s"]) == (7, 500.0)
    assert document["counts"]["changed"] == 2
    assert document["calls"] == {"put": 2, "stop": 2, "start": 1, "get": 4, "lease": 0, "save": 0}
    assert document["costs"]["RUNNING"] == {
        "notebooks": 1,
        "calls": 5.0,
        "by_kind": {"put": 1.0, "stop": 1.0, "start": 1.0, "get": 2.0, "lease": 0.0, "save": 0.0},
    }
    assert document["longest_away"] == {"scope": "lab-a", "id": "id-3", "name": "nb-3", "away_s": 360.0}
    assert document["slowest"]["took_s"] == 360.0
    assert document["limits"] == {"writes of lab-a": ["30/min by policy user", "10/s by policy api"]}
    assert document["throttled"] == {"reads of lab-a": "pausing for 9 s"}
    assert (document["requests"]["list"], document["requests_known"]) == (8, True)
    assert document["debts"][0]["at"] == "2026-11-30T08:15:40.000Z"
    assert (document["started_at"], document["finished_at"]) == (
        "2026-11-30T08:15:00.000Z",
        "2026-11-30T08:23:20.000Z",
    )
    assert document["next"][0].endswith(f"fleet resume {RUN}")


def test_csv_is_rfc_4180_with_dotted_columns(report: Report) -> None:
    text = render(report, Format.CSV)
    assert text.startswith(CSV)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["outcome"] for row in rows] == [
        "changed",
        "changed",
        "failed",
        "stranded",
        "not-started",
        "skipped",
    ]
    assert rows[5]["lease.before.left_s"] == rows[5]["before.image_id"] == ""


def test_values_that_are_lists_become_json_cells(report: Report) -> None:
    endpoints = [{"service": "SSH", "allowed_access_ips": ["203.0.113.7"]}]
    row = replace(report.rows[0], after={"endpoints": endpoints})
    (read,) = csv.DictReader(io.StringIO(render(replace(report, rows=(row,)), Format.CSV)))
    assert json.loads(read["after.endpoints"]) == endpoints


@pytest.mark.row(42)
@pytest.mark.security("formulas")
@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\0x", "＝1", "＋1", "－1", "＠x"),
        *("  =1", "\u3000=1", "\u00a0-1", " \t=1", "\n=1"),
    ],
)
def test_what_a_spreadsheet_could_run_is_led_by_an_apostrophe(report: Report, text: str) -> None:
    (read,) = csv.DictReader(io.StringIO(render(named(report, text), Format.CSV)))
    assert read["name"].startswith("'")


@pytest.mark.parametrize("text", ["nb-1", "a=b", "x@y", "", "名前", "'quoted'"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


def test_numbers_below_zero_stay_numbers(report: Report) -> None:
    lease = report.rows[0].lease_before
    assert lease is not None
    row = replace(report.rows[0], lease_before=replace(lease, left_s=-5))
    (read,) = csv.DictReader(io.StringIO(render(replace(report, rows=(row,)), Format.CSV)))
    assert read["lease.before.left_s"] == "-5"


@pytest.mark.row(42)
@pytest.mark.security("formulas")
@given(st.text(max_size=40))
def test_no_csv_cell_begins_like_a_formula_or_breaks_its_line(text: str) -> None:
    cell = safe_text(text)
    assert cell.lstrip()[:1] not in set("=+-@＝＋－＠") or not cell.strip()
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([cell, "next"])
    assert out.getvalue().count("\r\n") == 1
    assert cell.isprintable() or all(char.isprintable() or char.isspace() for char in cell)


NASTY = 'a"b,c\x1b]0;title\x07\u202egnp\n=cmd|calc'


@pytest.mark.row(42)
@pytest.mark.security("escapes")
@pytest.mark.parametrize("form", [Format.TABLE, Format.CSV, Format.JSONL, Format.JSON])
def test_no_name_reaches_the_terminal_raw(report: Report, form: Format) -> None:
    text = render(named(report, NASTY), form)
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


def test_json_gives_a_nasty_name_back_as_it_was(report: Report) -> None:
    nasty = named(report, NASTY)
    assert json.loads(render(nasty, Format.JSONL))["name"] == NASTY
    (read,) = csv.DictReader(io.StringIO(render(nasty, Format.CSV)))
    assert read["owner"] == "ann"


def test_a_run_without_notebooks_has_a_header_and_no_rows(report: Report) -> None:
    empty = replace(report, rows=())
    assert render(empty, Format.JSONL) == ""
    assert render(empty, Format.CSV).count("\r\n") == 1
    assert json.loads(render(empty, Format.JSON))["rows"] == []


def test_an_open_row_has_no_outcome_for_programs_and_a_word_for_people(
    make_plan: Callable[..., Plan],
) -> None:
    state: RunState = fold(make_plan("nb-0"), [RunStarted(10.0, RUN, "d")])
    live = summarize(state, live=True)
    assert json.loads(render(live, Format.JSONL).splitlines()[0])["outcome"] is None
    assert "open" in render(live, Format.TABLE).splitlines()[1]
    state.apply(RunEnded(20.0, RunEnd.FINISHED))
    assert json.loads(render(summarize(state), Format.JSONL).splitlines()[0])["outcome"] == "not-started"
