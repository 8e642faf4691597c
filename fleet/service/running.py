"""Applies a sealed plan: a run folder, a journal, the engine, and two signals to stop it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from fleet import __version__
from fleet.client.clock import Clock
from fleet.client.connect import connect
from fleet.core.errors import UsageError
from fleet.core.events import RunEnd
from fleet.core.life import Life
from fleet.core.plan import Plan, dump_plan, load_plan
from fleet.core.scope import ScopeSpec
from fleet.engine.control import Control
from fleet.engine.ports import Observer
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, PLAN, create_run_dir
from fleet.journal.writer import InlineJournal, Journal


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A new run on disk."""

    run: str
    path: Path
    journal: Journal | InlineJournal


def require_same_scopes(plan: Plan, specs: Sequence[ScopeSpec]) -> None:
    """Raises UsageError when the configuration no longer points where the plan was made."""
    by_name = {spec.name: spec for spec in specs}
    for planned in plan.scopes:
        spec = by_name[planned.name]
        for field in ("region", "project_id", "endpoint"):
            was, now = getattr(planned, field), getattr(spec, field)
            if was != now:
                raise UsageError(
                    f"scope {planned.name}: {field} is {now} in the configuration, but the plan was made "
                    f"for {was}; plan again"
                )


def open_run(
    base: Path, run: str, plan: Plan, journal: type[Journal] | type[InlineJournal] = Journal
) -> RunFolder:
    """Makes the folder of a run with its plan and an empty journal. Raises JournalError where it cannot.

    `journal` is InlineJournal where time is virtual and must not pass while a thread writes.
    """
    folder = create_run_dir(base, run)
    (folder / PLAN).touch(mode=0o600, exist_ok=False)
    (folder / PLAN).write_bytes(dump_plan(plan))
    return RunFolder(run, folder, journal.create(folder / JOURNAL, plan, run))


def reopen_run(path: Path) -> tuple[RunFolder, Plan, dict[int, Life]]:
    """Opens a run that broke off or was ended early: its folder, its plan, and where its changes stand.

    Raises UsageError when the plan in the folder is not the one that the run began with, and JournalError
    when the journal is damaged or another process works on the run.
    """
    with JournalReader(path / JOURNAL) as reader:
        plan, lives = reader.plan, reader.fold().lives()
    kept = load_plan((path / PLAN).read_bytes(), str(path / PLAN))
    if kept.digest != plan.digest:
        raise UsageError(
            f"{path / PLAN}: has digest {kept.digest[:12]}, the run began with {plan.digest[:12]}; "
            "put the original back, or plan again"
        )
    if plan.engine != __version__:
        raise UsageError(
            f"{path.name}: was begun by version {plan.engine}, this is {__version__}; "
            f"go on with that version, or see what is left with: fleet report {path.name}"
        )
    return RunFolder(path.name, path, Journal.open_for_append(path / JOURNAL)), plan, lives


async def apply_plan(
    plan: Plan,
    folder: RunFolder,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    observers: Sequence[Observer],
    past: Mapping[int, Life] | None = None,
) -> RunEnd:
    """Performs the plan, or what `past` left of it.

    The first signal lets changes under way come home, the second stops at once.
    """
    control = Control()
    tape = Tape(folder.journal, [control.observe, *observers])
    polls = {spec.name: spec.poll for spec in specs}
    end = RunEnd.INTERRUPTED
    try:
        async with (
            anyio.create_task_group() as group,
            connect(specs, on_slowed=tape.note, monotonic=clock.monotonic, wall=clock.wall) as clouds,
        ):
            group.start_soon(_heed_signals, control, group.cancel_scope)
            end = await run_plan(plan, folder.run, clouds, tape, clock, control, polls, past)
            group.cancel_scope.cancel()
    finally:
        folder.journal.close()
    return end


async def _heed_signals(control: Control, everything: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        warned = False
        async for number in signals:
            if warned:
                everything.cancel()
                return
            warned = True
            control.drain(RunEnd.INTERRUPTED, f"{signal.Signals(number).name} received")
