"""fleet report and runs: what happened, from the journals."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.output import folded, write, write_lines
from fleet.cli.session import ConfigOption, RunDirOption, config_option, run_dir_option, runs_folder
from fleet.core.errors import UsageError
from fleet.journal.runs import RunSummary, find_run, is_run_dir, list_runs
from fleet.report.aligned import aligned
from fleet.report.as_json import instant
from fleet.report.as_text import tally
from fleet.report.formats import Format, render
from fleet.report.summary import Report
from fleet.service.telling import read_report

FormatOption = Annotated[Format, typer.Option("-o", "--output", help="How to write it.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Every row, also on a terminal.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, its beginning, or a run's folder.")
]


def report(
    context: typer.Context,
    run: RunArgument,
    output: FormatOption = Format.TABLE,
    every: EveryOption = False,
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell what became of every notebook of a run.

    One row for each selected notebook, from the run's journal alone: sends nothing, writes nothing but the
    report to stdout, and works while the run still goes on. Of many rows a terminal shows those that need a
    person, unless --all is given; files, pipes and programs get them all.
    """
    found = told(context, config, run_folder(context, config, run_dir, run))
    show_report(found, output, brief=is_brief(every=every))


def is_brief(*, every: bool = False) -> bool:
    """Whether a table is for a person's eyes, who did not ask for everything."""
    return not every and sys.stdout.isatty()


def run_folder(context: typer.Context, config: Path | None, run_dir: Path | None, run: str) -> Path:
    """The folder of the run that was named by id, by the beginning of its id, or by folder."""
    if is_run_dir(Path(run)):
        return Path(run)
    return find_run(runs_folder(context, config, run_dir), run)


def told(context: typer.Context, config: Path | None, folder: Path) -> Report:
    """The report of the run in `folder`, with commands that can be typed in any working folder."""
    return with_options(read_report(folder), context, config, folder)


def with_options(report: Report, context: typer.Context, config: Path | None, folder: Path) -> Report:
    """The report of the run in `folder`, whose commands find the same cloud and the same run again."""
    return replace(
        report,
        config=config_option(context, config),
        run_dir=run_dir_option(context, config, folder),
    )


def show_report(report: Report, output: Format, *, brief: bool = False) -> None:
    """Writes a report to stdout; a `brief` table shows of many rows those that need a person."""
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    text = render(report, output, color=color, brief=brief)
    if output is Format.TABLE:
        rows, gap, summary = text.partition("\n\n")  # the summary names commands: they stay whole
        text = "\n".join(folded(rows.splitlines(), sys.stdout)) + gap + summary
    write(text)


def runs(
    context: typer.Context,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """List the runs on this machine, the newest first.

    Those in your state folder, or in the folder that [run] dir in fleet.toml names; runs that were begun with
    a --run-dir are listed with that one. Reads the run folders only: sends nothing, writes nothing.
    """
    found = list_runs(runs_folder(context, config, run_dir))
    if output == "json":
        write(json.dumps([_object(run) for run in found], indent=1) + "\n")
    elif output == "table":
        rows = [(run.run, run.job, run.state, _moment(run.started_at), _notebooks(run)) for run in found]
        write_lines(folded(aligned(("run", "job", "state", "started", "notebooks"), rows), sys.stdout))
    else:
        raise UsageError(f"--output: {output!r} is neither table nor json")


def _notebooks(run: RunSummary) -> str:
    stages = f"; {run.stages} stages in all" if run.stages else ""
    return f"{tally(run.counts, run.between_stages)}{stages}" if run.counts else "?"


def _object(run: RunSummary) -> dict[str, object]:
    return {
        "run": run.run,
        "job": run.job,
        "state": run.state,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "counts": dict(run.counts),
        "stages": run.stages,
        "between_stages": {str(done): number for done, number in run.between_stages.items()},
        "dir": str(run.dir),
    }


def _moment(at: float | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
