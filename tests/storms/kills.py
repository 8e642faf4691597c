"""Real processes killed at random instants, against a real server: what virtual time cannot show.

    python -m tests.storms.kills --cycles 50 --spoilt 6 --seed 0

Each cycle plans the same fleet twice. One plan is applied in peace. The other one's process is killed by
SIGKILL, perhaps the one that resumes it too, and then it is resumed to the end. Both must come to the same:
judged on the cloud's request log and on a list of the fleet, not on what the runs say of themselves.

In the `spoilt` cycles a journal loses its end or a bit before the resume, see `damage`: that is refused, or
the sound part is taken up and nothing wrong is done or told.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fleet.core.errors import Exit
from fleet.simulator.records import Record
from tests.storms.commands import Command, Lab, Result, in_lanes, make_lab
from tests.storms.damage import cut, flipped
from tests.storms.request_log import repeats, writes

LANES = 8  # they mostly wait
SHORTLY = 0.05  # s
AGAIN = 0.5  # how likely the next process is killed too
MOST_KILLS = 3
LEASE_TOLERANCE = 120.0  # s


@dataclass(frozen=True)
class Verdict:
    """What came of one cycle. `late` counts processes that had ended before their time came.

    `kept` is the folder with everything, if a promise was broken.
    """

    seed: int
    kills: int
    late: int = 0
    spoilt: bool = False
    refused: bool = False
    broken: tuple[str, ...] = ()
    kept: Path | None = None

    @property
    def again(self) -> str:
        """The command that repeats the cycle, as far as real time can be repeated."""
        which = "--cycles 0 --spoilt 1" if self.spoilt else "--cycles 1 --spoilt 0"
        return f"python -m tests.storms.kills {which} --seed {self.seed}"


def cycle(seed: int) -> Verdict:
    """Kills and resumes one run."""
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    with make_lab(folder / "peace", seed) as peace, make_lab(folder / "war", seed) as war:
        began = time.monotonic()
        unbroken = peace.apply().end()
        kills, late, result = _kill_and_resume(war, Random(f"kill/{seed}"), time.monotonic() - began)
        broken = tuple(_broken(peace, unbroken, war, result))
    if broken:
        return Verdict(seed, kills, late, broken=broken, kept=folder)
    shutil.rmtree(folder)
    return Verdict(seed, kills, late)


def spoilt_cycle(seed: int) -> Verdict:
    """Spoils the journal of a killed run, and resumes it."""
    aftermath = (cut if seed % 2 else flipped)(seed)
    broken = aftermath.complaints
    if not aftermath.refused and not aftermath.said.out:
        broken = (f"exit code {aftermath.said.code}: {aftermath.said.err[-500:]}", *broken)
    return Verdict(seed, kills=1, spoilt=True, refused=aftermath.refused, broken=broken)


def _kill_and_resume(lab: Lab, draw: Random, length: float) -> tuple[int, int, Result]:
    """The kills, those that came too late, and what the last process left behind."""
    kills, late = 0, 0
    command = lab.apply()
    while kills + late < MOST_KILLS and (kills + late == 0 or draw.random() < AGAIN):
        if _lives_to_its_hour(lab, command, draw, length):
            kills += 1
            command.kill()
        else:
            late += 1
            command.end()
        command = _next_process(lab)
    result = command.end()
    if result.code == Exit.FAILED_BEFORE_WRITE and not lab.writes:  # the journal was only being made
        result = lab.apply().end()
    return kills, late, result


def _lives_to_its_hour(lab: Lab, command: Command, draw: Random, length: float) -> bool:
    """Waits for the instant of the kill: any in a run of that length (s), or one shortly after a write."""
    if draw.random() < 0.5:
        return command.lives(draw.uniform(0.0, length))
    writes = len(lab.writes) + draw.randint(1, 6)
    return command.lives_until(lambda: len(lab.writes) >= writes) and command.lives(
        draw.uniform(0.0, SHORTLY)
    )


def _next_process(lab: Lab) -> Command:
    """Goes on with the run; without one nothing can have been sent, and it is begun again."""
    run = lab.run
    return lab.apply() if run is None else lab.resume(run)


def _broken(peace: Lab, unbroken: Result, war: Lab, result: Result) -> Iterator[str]:
    if (unbroken.code, result.code) != (Exit.DONE, Exit.DONE):
        yield f"exit codes {unbroken.code} and {result.code}: {unbroken.err[-500:]} {result.err[-500:]}"
        return
    yield from _rows(unbroken, result)
    yield from _sent_otherwise(peace.log, war.log)
    yield from repeats(war.log)
    yield from _left_otherwise(peace.fleet(), war.fleet())


def _rows(unbroken: Result, result: Result) -> Iterator[str]:
    wanted, found = (
        sorted((row["id"], row["outcome"]) for row in one.json["rows"]) for one in (unbroken, result)
    )
    if wanted != found:
        yield f"rows are {found}, not {wanted}"


def _sent_otherwise(wanted: Sequence[Record], log: Sequence[Record]) -> Iterator[str]:
    """No notebook got anything but the writes of the unbroken run, each once, in their order."""
    for notebook in sorted({record.notebook for record in (*wanted, *log)}):
        theirs, ours = _writes(wanted, notebook), _writes(log, notebook)
        if theirs != ours:
            yield f"{notebook}: got {ours}, not {theirs}"


def _writes(log: Sequence[Record], notebook: str) -> list[tuple[str, Any, bool]]:
    return [
        (record.operation, record.body, record.applied)
        for record in writes(log)
        if record.notebook == notebook
    ]


def _left_otherwise(wanted: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> Iterator[str]:
    for notebook, fields in wanted.items():
        for name, value in fields.items():
            other = found[notebook][name]
            if (
                name == "lease.left"
                and fields["status"] == "RUNNING"
                and value is not None
                and other is not None
            ):
                same = abs(value - other) <= LEASE_TOLERANCE
            else:
                same = name == "lease.left" or value == other
            if not same:
                yield f"{notebook}: {name} is {other!r}, not {value!r}"


def main() -> int:
    """Runs the cycles and names the first that breaks a promise."""
    options = argparse.ArgumentParser(description="Kills runs of a simulated fleet, and resumes them.")
    options.add_argument("--cycles", type=int, default=50, help="how many")
    options.add_argument("--spoilt", type=int, default=6, help="how many more with a spoilt journal")
    options.add_argument(
        "--seed", type=int, default=secrets.randbelow(1_000_000_000), help="of the first one"
    )
    options.add_argument("--lanes", type=int, default=LANES, help="how many at once")
    chosen = options.parse_args()
    stories = [partial(spoilt_cycle, chosen.seed + number) for number in range(chosen.spoilt)]
    stories += [partial(cycle, chosen.seed + number) for number in range(chosen.cycles)]
    began, verdicts = time.monotonic(), list[Verdict]()
    for verdict in in_lanes(stories, chosen.lanes):
        verdicts.append(verdict)
        if verdict.broken:
            where = f" in {verdict.kept}" if verdict.kept else ""
            _say("\n  ".join([f"seed {verdict.seed}{where}; again: {verdict.again}", *verdict.broken]))
            return Exit.SOME_FAILED
        if len(verdicts) % 10 == 0:
            _say(f"{len(verdicts)} of {len(stories)} cycles in {time.monotonic() - began:.0f} s")
    kills, late, refused = (
        sum(getattr(one, name) for one in verdicts) for name in ("kills", "late", "refused")
    )
    _say(
        f"{chosen.cycles} cycles from seed {chosen.seed} in {time.monotonic() - began:.0f} s: 0 broken; "
        f"{kills} kills, {late} too late; {chosen.spoilt} with a spoilt journal, {refused} of them refused"
    )
    return Exit.DONE


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
