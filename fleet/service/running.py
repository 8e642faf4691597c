"""Applies a sealed plan: a run folder, claims, a journal, the engine, and who may stop or steer it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import anyio

from fleet import __version__
from fleet.client.clock import Clock
from fleet.client.connect import connect, lowest_rates
from fleet.client.memory import LimitFile
from fleet.core.changing.life import Life
from fleet.core.changing.reopen import is_open
from fleet.core.earlier import Earlier
from fleet.core.errors import UsageError
from fleet.core.events import RunEnd, Steered
from fleet.core.fold import RunState
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import plan_digest, plan_pieces
from fleet.core.scope import ScopeSpec
from fleet.engine.control import Control
from fleet.engine.ports import Checker, Observer
from fleet.engine.readiness_attendants import People
from fleet.engine.run import run_plan
from fleet.engine.tape import Tape
from fleet.journal.claims import Claims, Key, Owed
from fleet.journal.errors import JournalError
from fleet.journal.runs import JOURNAL, PLAN, create_run_dir, remove_run_dir
from fleet.journal.writer import InlineJournal, Journal
from fleet.service.activity import activity_of
from fleet.service.approving import heed_terminal
from fleet.service.gate_command import require_program, run_command
from fleet.service.helm import Helm
from fleet.service.notices import Courier, require_notice
from fleet.service.owing import Debts, Owing, claim_key
from fleet.service.signals import heed_signals, signals_restored
from fleet.service.steering import serve
from fleet.settings import secret_values
from fleet.telemetry.progress import Progress


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk that this process works on.

    `held` are the changes that another run keeps it from, by item with the reason; `wanted` all that it
    asked for. `earlier` is what earlier processes left of it, None of a run that is new.
    """

    run: str
    path: Path
    journal: Journal | InlineJournal
    claims: Claims | None = None
    held: Mapping[int, str] = field(default_factory=dict)
    wanted: Mapping[int, Key] = field(default_factory=dict)
    earlier: Earlier | None = None

    @property
    def lives(self) -> Mapping[int, Life]:
        """Where the changes stand that earlier processes began, by item."""
        return {} if self.earlier is None else self.earlier.lives

    def close(self, owed: Collection[int] = ()) -> None:
        """Gives up the run, and its claims but those on the items that it owes."""
        if self.claims is not None:
            with suppress(JournalError):  # whoever wants them finds our lock free, and asks our journal
                self.claims.release(self.path, {key for item, key in self.wanted.items() if item in owed})
            self.claims.close()
        self.journal.close()


def require_same_scopes(plan: Plan, specs: Sequence[ScopeSpec]) -> None:
    """Raises UsageError when the configuration no longer points where the plan was made."""
    by_name = {spec.name: spec for spec in specs}
    for planned in plan.scopes:
        spec = by_name[planned.name]
        for name in ("region", "project_id", "endpoint"):
            was, now = getattr(planned, name), getattr(spec, name)
            if was != now:
                raise UsageError(
                    f"scope {planned.name}: {name} is {now} in the configuration, but the plan was made "
                    f"for {was}; plan again"
                )


def open_run(
    base: Path, run: str, plan: Plan, journal: type[Journal] | type[InlineJournal] = Journal
) -> RunFolder:
    """Makes the folder of a run with its plan and an empty journal.

    Raises JournalError where it cannot, which leaves no folder behind, and UsageError when the program of the
    plan's gate is missing. `journal` is InlineJournal where time is virtual and must not pass while a thread
    writes.
    """
    require_program(plan.rollout.gate)
    require_notice(plan.rollout.notice)
    folder = create_run_dir(base, run)
    try:
        (folder / PLAN).touch(mode=0o600, exist_ok=False)
        with (folder / PLAN).open("wb") as file:
            file.writelines(plan_pieces(plan))
        made = journal.create(folder / JOURNAL, plan, run)
        made.balance_by(Progress(plan))
        return RunFolder(run, folder, made)
    except OSError as error:
        remove_run_dir(folder)
        raise JournalError(f"{folder}: {error.strerror}; choose another place with --run-dir") from None
    except JournalError:
        remove_run_dir(folder)
        raise


def claim(
    folder: RunFolder,
    plan: Plan,
    specs: Sequence[ScopeSpec],
    file: Path,
    now: float,
) -> RunFolder:
    """The run with a claim on every notebook that it still has to change and that no other run holds.

    One that is over, or died, holds what it owes. All runs keep their claims in `file`; `now` is wall
    seconds. Raises JournalError when it cannot be used; then the run is given free, and one that is new
    leaves no folder behind.
    """
    wanted = _wanted(plan, specs, folder.lives)
    debts = Debts(plan)
    try:
        claims, taken = _take(file, wanted.values(), folder, now, debts.among)
    except JournalError:
        folder.close()
        if folder.earlier is None:
            remove_run_dir(folder.path)
        raise
    held = {
        item: debts.reasons.get(key, f"claimed by run {taken[key]}")
        for item, key in wanted.items()
        if key in taken
    }
    return replace(folder, claims=claims, held=held, wanted=wanted)


def _take(
    file: Path, wanted: Iterable[Key], folder: RunFolder, now: float, owed: Owed
) -> tuple[Claims, dict[Key, str]]:
    claims = Claims(file)
    try:
        return claims, claims.take(wanted, folder.run, folder.path, now, owed)
    except JournalError:
        claims.close()
        raise


def reopen_run(path: Path) -> tuple[RunFolder, Plan]:
    """Opens a run that broke off or was ended early: its folder and its plan.

    Raises UsageError when the plan in the folder is missing or not the one that the run began with, or the
    program of its gate is missing, and JournalError when the journal is damaged or of another format, or
    another process works on the run.
    """
    seen: list[RunState] = []

    def accept(state: RunState) -> None:
        _require_same_plan(path / PLAN, state.plan)
        if state.plan.engine != __version__:
            raise UsageError(
                f"{path.name}: was begun by version {state.plan.engine}, this is {__version__}; "
                f"go on with that version, or see what is left with: fleet report {path.name}"
            )
        require_program(state.plan.rollout.gate)
        require_notice(state.plan.rollout.notice)
        seen.append(state)

    journal = Journal.open_for_append(path / JOURNAL, accept, Progress)
    (state,) = seen
    return RunFolder(path.name, path, journal, earlier=state.earlier()), state.plan


def _require_same_plan(path: Path, plan: Plan) -> None:
    """Raises UsageError when the plan in the folder is not `plan`. As it was written, it costs no memory."""
    try:
        with path.open("rb") as file:
            if all(file.read(len(piece)) == piece for piece in plan_pieces(plan)) and not file.read(1):
                return
        kept = plan_digest(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}; put the original back, or plan again"
        ) from None
    if kept != plan.digest:
        raise UsageError(
            f"{path}: has digest {kept[:12]}, the run began with {plan.digest[:12]}; "
            "put the original back, or plan again"
        )


async def apply_plan(
    plan: Plan,
    folder: RunFolder,
    specs: Sequence[ScopeSpec],
    clock: Clock,
    observers: Sequence[Observer],
    *,
    steerable: bool = False,
    terminal: TextIO | None = None,
    check: Checker = run_command,
    memory: LimitFile | None = None,
    whole: Callable[[str], str] = str,
    people: People | None = None,
) -> RunEnd:
    """Performs the plan, or what earlier processes left of it.

    The first signal lets changes under way come home, the second stops at once. A `steerable` run can be
    reached from another terminal. A person at `terminal` may approve waves; `check` runs the gate's command.
    `memory` remembers limits across runs. `whole` completes the commands in the last words of a killed run.
    `people` is the way to the owners of notebooks, by default the one that the plan names.
    The run's deadline counts from here: to take a run up again is a person's decision to give it its whole
    time once more. Gives up the run at the end, and the claims but on what is owed.
    """
    control = Control()
    owing = Owing(folder.lives)
    tape = Tape(folder.journal, [control.observe, owing.see, *observers])
    polls = {spec.name: spec.poll for spec in specs}
    secrets = {value for spec in specs for value in secret_values(spec.credential, spec.metrics)}
    end = RunEnd.INTERRUPTED
    with signals_restored(), ExitStack() as stack:
        stack.callback(folder.close, owing.items)
        async with (
            anyio.create_task_group() as group,
            connect(
                specs,
                on_slowed=tape.note,
                on_counted=tape.note,
                on_reach=tape.note,
                memory=memory,
                monotonic=clock.boottime,
                wall=clock.wall,
            ) as clouds,
        ):
            group.start_soon(
                heed_signals,
                control,
                group.cancel_scope,
                folder.run,
                lambda what: tape.note(Steered(clock.wall(), what)),
                whole,
            )
            if steerable:
                rates = lowest_rates(specs)
                ceilings = {spec.name: rates[spec.throttle] for spec in specs if spec.throttle in rates}
                helm = Helm(control, tape, clock, clouds, plan.rollout.concurrency, ceilings)
                group.start_soon(serve, folder.path, helm.answer)
            if terminal is not None:
                group.start_soon(heed_terminal, terminal, control.approvals)
            end = await run_plan(
                plan,
                folder.run,
                clouds,
                tape,
                clock,
                control,
                polls,
                folder.earlier,
                folder.held,
                check,
                people or People(Courier(secrets=secrets), await activity_of(plan, clouds, clock)),
            )
            group.cancel_scope.cancel()
    return end


def _wanted(plan: Plan, specs: Sequence[ScopeSpec], past: Mapping[int, Life]) -> dict[int, Key]:
    """What the run must claim for the changes that it still has to make, by item."""
    scopes = {spec.name: spec for spec in specs}
    return {
        change.item: claim_key(scopes[change.scope], change.id)
        for change in plan.changes
        if change.item not in past or is_open(past[change.item])
    }
