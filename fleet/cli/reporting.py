"""fleet report and runs: what happened, from the journals."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.session import ConfigOption, RunDirOption, runs_folder
from fleet.cli.tables import show_table
from fleet.core.errors import UsageError
from fleet.journal.runs import JOURNAL, RunSummary, find_run, list_runs
from fleet.report.as_json import instant
from fleet.report.as_text import tally
from fleet.report.formats import Format, render
from fleet.report.summary import Report
from fleet.service.telling import read_report

FormatOption = Annotated[Format, typer.Option("-o", "--output", help="How to write it.")]


def report(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id, its beginning, or a run's folder.")],
    output: FormatOption = Format.TABLE,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell what became of every notebook of a run: one row each, from the run's journal."""
    folder = Path(run)
    if not (folder / JOURNAL).is_file():
        folder = find_run(runs_folder(context, config, run_dir), run)
    show_report(read_report(folder), output)


def show_report(report: Report, output: Format) -> None:
    """Writes a report to stdout."""
    terminal = sys.stdout.isatty()
    sys.stdout.write(render(report, output, width=None, color=terminal))


def runs(
    context: typer.Context,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """List the runs on this machine, the newest first."""
    found = list_runs(runs_folder(context, config, run_dir))
    if output == "json":
        print(json.dumps([_object(run) for run in found], indent=1))
    elif output == "table":
        rows = [(run.run, run.job, run.state, _moment(run.started_at), tally(run.counts)) for run in found]
        show_table(("run", "job", "state", "started", "notebooks"), rows)
    else:
        raise UsageError(f"--output: {output!r} is neither table nor json")


def _object(run: RunSummary) -> dict[str, object]:
    return {
        "run": run.run,
        "job": run.job,
        "state": run.state,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "counts": dict(run.counts),
        "dir": str(run.dir),
    }


def _moment(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
