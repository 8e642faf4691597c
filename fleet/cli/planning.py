"""fleet plan, show and schema: what would happen, for people and for files."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import anyio
import typer

from fleet.cli.choosing import (
    ExcludeOption,
    ExplainOption,
    IdsOption,
    LimitOption,
    OverrideOption,
    ReasonOption,
    SeedOption,
    choice_of,
    listed_in,
)
from fleet.cli.explaining import explanation
from fleet.cli.files import read_file, read_text, require_plan_target, write_file
from fleet.cli.output import folded, say, write, write_lines
from fleet.cli.pages import PageProgress
from fleet.cli.planview import plan_lines
from fleet.cli.session import (
    CLOCK,
    ConfigOption,
    completer,
    limit_memory,
    runs_folder,
    settings_for,
    time_memory,
)
from fleet.core.errors import Exit, UsageError
from fleet.core.jobfiles.jobfile import read_job
from fleet.core.jobfiles.jobfile import schema as job_schema
from fleet.core.planning.forecast import is_pending
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.core.scope import ScopeSpec
from fleet.core.selecting.explain import Findings
from fleet.core.selecting.fields import Subject
from fleet.core.selecting.selector import parse_ids
from fleet.service.explaining import explain_job
from fleet.service.jobs import job_type, job_types
from fleet.service.owing import with_debts
from fleet.service.planning import ASKED_NOTHING, Choice, Order, plan_job
from fleet.service.resizes import read_resizes
from fleet.service.survey import unwatched
from fleet.settings import UnknownScope, claims_file

JobArgument = Annotated[Path, typer.Argument(metavar="JOB", help="A job file (YAML).")]
PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="A file that `fleet plan -o` wrote.")]
PlanOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="PLAN", help="Write the sealed plan here.")
]
ChurnOption = Annotated[
    bool, typer.Option("--accept-churn", help="Leave out, as skipped, what changes while it is read.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every row, not only the first ones.")]
FormatOption = Annotated[str, typer.Option("--format", help="table or json.")]


def plan(
    context: typer.Context,
    job: JobArgument,
    output: PlanOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes to make.")
    ] = False,
    accept_churn: ChurnOption = False,
    ids: IdsOption = None,
    exclude: ExcludeOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    override: OverrideOption = None,
    reason: ReasonOption = "",
    explain: ExplainOption = None,
    every: AllOption = False,
    config: ConfigOption = None,
) -> int:
    """Make a plan: list, check, compare.

    Reads only, writes nothing to the cloud; with -o the sealed plan is written to a file. Show it again with
    `fleet show`, perform it with `fleet apply`.
    """
    choice = choice_of(ids, exclude, limit, seed, override, reason)
    if output is not None:
        require_plan_target(output)
    if explain is not None:
        write_lines(folded(_explained(context, job, config, choice, explain), sys.stdout))
        return Exit.DONE
    made = make(context, job, config, choice, accept_churn=accept_churn)
    pending = present(made, output, every, completer(context, config, None))
    return Exit.CHANGES_PENDING if detailed_exitcode and pending else Exit.DONE


def show(
    context: typer.Context, plan: PlanArgument, every: AllOption = False, format: FormatOption = "table"
) -> None:
    """Show a plan again, from its file alone.

    Sends nothing, writes nothing.
    """
    loaded = load_plan(read_file(plan, "plan"), str(plan))
    if format == "json":
        write(dump_plan(loaded).decode())
    elif format == "table":
        lines = map(completer(context, None, None), plan_lines(loaded, every=every, now=CLOCK.wall()))
        write_lines(folded(lines, sys.stdout))
    else:
        raise UsageError(f"--format: {format!r} is neither table nor json")


def validate(job: JobArgument) -> None:
    """Check a job file, without credentials.

    Sends nothing, writes nothing. Whether images and flavors exist is seen by `fleet plan`.
    """
    _read(job)
    say(f"{job}: a valid job file\n")


def schema() -> None:
    """Print the JSON Schema of job files, for editors.

    Sends nothing, writes nothing but the schema to stdout.
    """
    write(json.dumps(job_schema(job_types()), indent=2) + "\n")


def present(plan: Plan, output: Path | None, every: bool, whole: Callable[[str], str]) -> bool:
    """Shows a new plan, its commands made `whole`, and writes it to `output` if that is given.

    Returns whether it has something to change.
    """
    if output is not None:
        write_file(output, dump_plan(plan), "plan")
    write_lines(folded(map(whole, plan_lines(plan, every=every)), sys.stdout))
    pending = is_pending(plan, plan.created_at)
    if output is not None:
        file = shlex.quote(os.path.abspath(output))
        say(whole(f"plan written; next: fleet apply {file}\n") if pending else "plan written\n")
    return pending


def make(
    context: typer.Context,
    job: Path,
    config: Path | None,
    choice: Choice = ASKED_NOTHING,
    *,
    accept_churn: bool,
    quiet: bool = False,
    run_dir: Path | None = None,
) -> Plan:
    """The plan for a job file. Everything about the file is checked before anything is sent.

    What earlier runs did is read from `run_dir`, or from where runs are kept.
    """
    order, scopes = _read(job, choice)
    return carry_out(context, config, order, scopes, accept_churn=accept_churn, quiet=quiet, run_dir=run_dir)


def carry_out(
    context: typer.Context,
    config: Path | None,
    order: Order,
    scopes: Sequence[str] | None,
    *,
    accept_churn: bool = False,
    quiet: bool = False,
    run_dir: Path | None = None,
) -> Plan:
    """The plan for an order. Says on stderr how far it is, unless it must be `quiet`."""
    specs, shielded = _configured(context, config, order, scopes, run_dir)

    async def ask(pages: PageProgress) -> Plan:
        on_read = unwatched if quiet else pages
        return await plan_job(
            shielded,
            specs,
            CLOCK,
            accept_churn=accept_churn,
            memory=limit_memory(),
            timed=time_memory().recall(),
            on_read=on_read,
        )

    with PageProgress(CLOCK.monotonic) as pages:
        made = anyio.run(ask, pages)
    return with_debts(made, claims_file(os.environ))


def _explained(
    context: typer.Context, job: Path, config: Path | None, choice: Choice, notebook_id: str
) -> Iterator[str]:
    """Why a plan for the job file would concern the notebook or not."""
    (wanted,) = parse_ids([notebook_id])
    order, scopes = _read(job, choice)
    specs, shielded = _configured(context, config, order, scopes)

    def others() -> Sequence[ScopeSpec]:
        settings, named = settings_for(context, config), {spec.name for spec in specs}
        return settings.scopes(name for name in settings.names if name not in named)

    async def ask(pages: PageProgress) -> tuple[Subject, Findings]:
        memory = limit_memory()
        return await explain_job(shielded, specs, CLOCK, wanted, others=others, memory=memory, on_read=pages)

    with PageProgress(CLOCK.monotonic) as pages:
        subject, findings = anyio.run(ask, pages)
    return explanation(subject, findings)


def _configured(
    context: typer.Context,
    config: Path | None,
    order: Order,
    scopes: Sequence[str] | None,
    run_dir: Path | None = None,
) -> tuple[Sequence[ScopeSpec], Order]:
    """The scopes that are meant, and the order with what the configuration protects and earlier runs did."""
    settings = settings_for(context, config)
    order = replace(order, shield=settings.shield)
    if since := order.job.wants().resized:
        runs = runs_folder(context, config, run_dir)
        order = replace(order, resizes=read_resizes(runs, CLOCK.wall() - since))
    try:
        return settings.scopes(scopes), order
    except UnknownScope as error:
        raise UsageError(
            "\n".join(order.placed(f"scopes: {line}") for line in str(error).splitlines())
        ) from None


def _read(job: Path, choice: Choice = ASKED_NOTHING) -> tuple[Order, tuple[str, ...] | None]:
    file, spec = read_job(read_text(job, "job file"), str(job), job_type)
    listed = None if file.ids is None else listed_in(job.parent / file.ids)
    return Order.of(file, spec, listed, choice), file.scopes
