"""fleet demo: the whole road on a simulated fleet, with proof from the cloud's own log at its end."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from anyio.from_thread import start_blocking_portal

from fleet.cli.applying import watch_run
from fleet.cli.files import write_file
from fleet.cli.output import folded, reason, write_lines
from fleet.cli.planning import make
from fleet.cli.planview import plan_lines
from fleet.cli.proof import Evidence, claims, proof_lines
from fleet.cli.reporting import show_report, with_options
from fleet.cli.session import completer, settings_for
from fleet.core.duration import duration
from fleet.core.errors import Exit, UsageError
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import parse_rate
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.journal.runs import new_run_id
from fleet.report.formats import Format
from fleet.service.running import open_run
from fleet.service.telling import read_report
from fleet.simulator.app import serve
from fleet.simulator.audit import snapshot
from fleet.simulator.cloud import Cloud
from fleet.simulator.routing import CallClass
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.throttle import Limit

NOTEBOOKS = 200
SEED = 7
TIME_SCALE = 60.0
RATE = "150/10s"
SCOPES = ("lab-a", "lab-b", "lab-c")

JOB = """\
# Move every notebook off the old PyTorch images, a few at a time.
job: image-migration
name: torch-2-6
select: image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]
with: {to: {name: pytorch2.6}}
rollout:
  waves: [1, 10%, 100%]       # running totals: one notebook, a tenth, the rest
  concurrency: 20
  max_failures: 20
  max_unavailable: {fleet: 20, owner: 8}
  disruption: restart         # a new image needs a stopped notebook
  change_deadline: 5m
guards: {protect: has(tags.keep)}
"""


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the files go; default: a new temporary folder."),
    ] = None,
) -> int:
    """Try everything in half a minute, without an account.

    Starts a ModelArts simulator in this process, moves a third of its 200 notebooks to a new image, and
    proves from the simulator's own request log what was and what was not done. Writes a configuration, a job
    file, a plan and a run folder to a new folder.
    """
    where = _new_folder(folder)
    cloud = make_cloud(
        notebooks=NOTEBOOKS,
        seed=SEED,
        now=time.time(),
        time_scale=TIME_SCALE,
        rules=gateway_of(parse_rate(RATE)),
    )
    with _served(cloud) as base_url:
        _say(
            f"A simulated ModelArts with {NOTEBOOKS} notebooks in {len(SCOPES)} scopes is on {base_url}.",
            f"Its notebooks stop and start {TIME_SCALE:g} times faster than real ones; leases keep time.",
            f"Its gateway refuses whoever sends more than {RATE} reads or writes.",
            f"Files: {where}",
        )
        files = _write_files(where, cloud, base_url)
        return _walk(context, cloud, files, where / "runs")


def _new_folder(folder: Path | None) -> Path:
    """A folder to write to. Raises UsageError for one that is in use: nobody's configuration is replaced."""
    where = folder or Path(tempfile.mkdtemp(prefix="fleet-demo-"))
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(where.iterdir()):
            raise UsageError(f"--folder: {where} is not empty; name a new folder")
    except OSError as error:
        raise UsageError(f"--folder: {where}: {reason(error)}; name a new folder") from None
    return where


def gateway_of(rate: Rate) -> Rules:
    """A gateway that allows no more than the rate that the configuration names."""
    kinds: tuple[CallClass, ...] = ("reads", "writes")
    limits = (Limit(limit=rate.count, seconds=int(rate.window), calls=kind) for kind in kinds)
    return Rules(throttle=tuple(limits))


def _walk(context: typer.Context, cloud: Cloud, files: tuple[Path, Path, Path], runs: Path) -> int:
    """What a user would do, command by command, and then the proof."""
    config, job, plan_file = files
    before, selected = snapshot(cloud, time.time()), _on_the_old_image(cloud)
    _command("plan", job, "-o", plan_file, "--config", config)
    write_file(plan_file, dump_plan(make(context, job, config, accept_churn=False)), "plan")
    still = _on_the_old_image(cloud)
    _command("show", plan_file)
    plan = load_plan(plan_file.read_bytes(), str(plan_file))
    write_lines(folded(plan_lines(plan, now=time.time()), sys.stdout))
    _command("apply", plan_file, "--confirm", plan.notebooks, "--config", config, "--run-dir", runs)
    specs = settings_for(context, config).scopes()
    run = open_run(runs, new_run_id(time.time(), "demo"), plan)
    began = time.monotonic()
    whole = completer(context, config, run.path)
    watch_run(plan, run, specs, whole)
    took = time.monotonic() - began
    report = read_report(run.path)
    _command("report", run.run, "--run-dir", runs)
    show_report(with_options(report, context, config, run.path), Format.TABLE)
    made = claims(
        Evidence(
            before=before,
            after=snapshot(cloud, time.time()),
            log=cloud.log,
            selected=selected & still,
            moving=selected ^ still,
            plan=plan,
            report=report,
            rate=parse_rate(RATE),
        )
    )
    _say("", f"Proof, from the simulator's own fleet and request log ({duration(took)} of run):")
    _say(*proof_lines(made))
    _next(run.run, files, runs)
    return Exit.SOME_FAILED if any(claim.against for claim in made) else int(report.exit)


def _on_the_old_image(cloud: Cloud) -> frozenset[str]:
    """Whom the job must select now, from the simulator's own fleet and not through any list call."""
    cloud.settle(time.time())
    return frozenset(
        row.id
        for row in cloud.world.notebooks.values()
        if row.image.name.startswith("pytorch1.8")
        and row.feature == "NOTEBOOK"
        and row.status.value in ("RUNNING", "STOPPED")
    )


@contextmanager
def _served(cloud: Cloud) -> Iterator[str]:
    """The simulator in a thread of its own, so that commands run as they always do."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(cloud, clock=time.time)) as base_url,
    ):
        yield base_url


def _write_files(where: Path, cloud: Cloud, base_url: str) -> tuple[Path, Path, Path]:
    config, job = where / "fleet.toml", where / "job.yaml"
    identity = cloud.identity
    scopes = [
        f'[[scope]]\nname = "{name}"\nregion = "{identity.region}"\nproject_id = "{project.id}"\n'
        f'endpoint = "{base_url}"\niam_endpoint = "{base_url}"\ncredentials = "demo"\n'
        f'rate = "{RATE}"\npoll = "1s"\n'
        for name, project in zip(SCOPES, identity.projects, strict=True)
    ]
    keys = f'access_key = "{identity.access_key}"\nsecret_key = "{identity.secret_key}"\n'
    text = "\n".join([*scopes, f'[credentials.demo]\nkind = "aksk"\n{keys}'])
    write_file(config, text.encode(), "configuration")
    write_file(job, JOB.encode(), "job file")
    return config, job, where / "plan.json"


def _next(run: str, files: tuple[Path, Path, Path], runs: Path) -> None:
    config, job, plan_file = files
    _say(
        "",
        "Try next:",
        f"  fleet report {run} --run-dir {runs} -o jsonl",
        f"  fleet show {plan_file} --all",
        "  fleet ls --fields",
        "  fleet simulate --port 9000        (a fleet that stays; its first line says how to reach it)",
        f"  the job and the configuration to start from: {job} {config}",
    )


def _command(*words: object) -> None:
    _say("", "$ fleet " + shlex.join(map(str, words)), "")


def _say(*lines: str) -> None:
    write_lines(lines)
