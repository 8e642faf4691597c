"""fleet simulate: the cloud in a box as a server."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import anyio
import typer

from fleet.cli.files import append_to, read_text
from fleet.cli.output import reason, write
from fleet.core.errors import UsageError
from fleet.simulator.app import serve
from fleet.simulator.cloud import Cloud
from fleet.simulator.documents import DocumentError
from fleet.simulator.faults import load_faults
from fleet.simulator.rules import Rules, load_rules
from fleet.simulator.seed import make_cloud


def simulate(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    notebooks: Annotated[int, typer.Option(min=0, help="How many notebooks.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed gives the same fleet.")] = 1,
    time_scale: Annotated[
        float,
        typer.Option(min=0.001, help="How many times faster stops and starts are. Leases keep time."),
    ] = 1.0,
    faults: Annotated[Path | None, typer.Option(metavar="FILE", help="What goes wrong (YAML).")] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How open questions are answered (YAML).")
    ] = None,
    request_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every request here (JSON lines).")
    ] = None,
) -> None:
    """Run a simulated ModelArts with a seeded fleet.

    Serves on a local port until Ctrl-C; the first line on stdout says in JSON where it is and with which keys
    to come. Writes nothing, unless --request-log names a file.
    """
    try:
        chosen = load_rules(read_text(rules, "rules file"), str(rules)) if rules is not None else Rules()
        wrong = load_faults(read_text(faults, "faults file"), str(faults)) if faults is not None else ()
    except DocumentError as error:
        raise UsageError(str(error)) from None
    cloud = make_cloud(
        notebooks=notebooks, seed=seed, now=time.time(), time_scale=time_scale, rules=chosen, faults=wrong
    )
    with ExitStack() as stack:
        log = None
        if request_log is not None:
            log = stack.enter_context(append_to(request_log, "request log", buffering=1))
        try:
            anyio.run(_serve, cloud, host, port, log)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port}: {reason(error)}; choose another --host or --port"
            ) from None


async def _serve(cloud: Cloud, host: str, port: int, log: TextIO | None) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(cloud, host=host, port=port, clock=time.time, request_log=log) as base_url:
            write(json.dumps(_introduction(cloud, base_url)) + "\n")
            async for _ in signals:
                return


def _introduction(cloud: Cloud, base_url: str) -> dict[str, object]:
    identity = cloud.identity
    return {
        "base_url": base_url,
        "region": identity.region,
        "projects": [project.id for project in identity.projects],
        "access_key": identity.access_key,
        "secret_key": identity.secret_key,
        "user": identity.user,
        "password": identity.password,
        "domain": identity.domain,
    }
