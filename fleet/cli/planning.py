"""fleet plan, show and schema: what would happen, for people and for files."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import anyio
import typer

from fleet.cli.planview import show_plan
from fleet.cli.session import CLOCK, ConfigOption, read_file, read_text, settings_for
from fleet.core.errors import Exit, UsageError
from fleet.core.jobfile import bind, parse_job
from fleet.core.jobfile import schema as job_schema
from fleet.core.plan import Plan, dump_plan, load_plan
from fleet.service.jobs import job_type, job_types
from fleet.service.planning import Order, plan_job

JobArgument = Annotated[Path, typer.Argument(metavar="JOB", help="A job file (YAML).")]
PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="A file that `fleet plan -o` wrote.")]
ChurnOption = Annotated[
    bool, typer.Option("--accept-churn", help="Leave out, as skipped, what changes while it is read.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every row, not only the first ones.")]
FormatOption = Annotated[str, typer.Option("--format", help="table or json.")]


def plan(
    context: typer.Context,
    job: JobArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PLAN", help="Write the sealed plan here.")
    ] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes to make.")
    ] = False,
    accept_churn: ChurnOption = False,
    every: AllOption = False,
    config: ConfigOption = None,
) -> int:
    """Make a plan: list, check, compare. Writes nothing to the cloud.

    Show it again with `fleet show`, perform it with `fleet apply`.
    """
    made = make(context, job, config, accept_churn=accept_churn)
    if output is not None:
        _write(output, dump_plan(made))
    show_plan(made, every=every)
    if output is not None:
        print(f"plan written; next: fleet apply {output}", file=sys.stderr)
    return Exit.CHANGES_PENDING if detailed_exitcode and made.changes else Exit.DONE


def show(plan: PlanArgument, every: AllOption = False, format: FormatOption = "table") -> None:
    """Show a plan again."""
    data = read_file(plan, "plan")
    loaded = load_plan(data, str(plan))
    if format == "json":
        sys.stdout.buffer.write(dump_plan(loaded))
    elif format == "table":
        show_plan(loaded, every=every)
    else:
        raise UsageError(f"--format: {format!r} is neither table nor json")


def validate(job: JobArgument) -> None:
    """Check a job file, without credentials and without a single request."""
    _read(job)
    print(f"{job}: a valid job file", file=sys.stderr)


def schema() -> None:
    """Print the JSON Schema of job files, for editors."""
    print(json.dumps(job_schema(job_types()), indent=2))


def make(context: typer.Context, job: Path, config: Path | None, *, accept_churn: bool) -> Plan:
    """The plan for a job file. Everything about the file is checked before anything is sent."""
    order = _read(job)
    specs = settings_for(context, config).scopes(order.file.scopes)

    async def ask() -> Plan:
        return await plan_job(order, specs, CLOCK, accept_churn=accept_churn)

    return anyio.run(ask)


def _read(job: Path) -> Order:
    file = parse_job(read_text(job, "job file"), str(job))
    return Order(file, bind(file, job_type(file.job)))


def _write(path: Path, data: bytes) -> None:
    """Replaces the file in one go, so that a full disk or a crash leaves no half plan."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot write the plan: {(error.strerror or 'error').lower()}") from None
