"""Runs one benchmark: python -m benchmarks NAME [--quick] [--json FILE].

A program is a module beside this one with `run(quick) -> Result`. It is imported only when it is asked for,
so that what the others import does not count as its memory.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Result, as_json, as_table

PROGRAMS = (
    "fleet_scale", "journal", "makespan", "pacing", "processes", "request_path", "selector", "signing",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures one part of the fleet engine beside its rivals."
    )
    parser.add_argument("name", metavar="NAME", choices=PROGRAMS, help=", ".join(PROGRAMS))
    parser.add_argument("--quick", action="store_true", help="a few seconds: does it run, no figures to keep")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    target: Path | None = arguments.json
    if target is not None and not target.resolve().parent.is_dir():
        parser.error(f"--json {target}: there is no such folder; make it first")
    result: Result = import_module(f"benchmarks.{arguments.name}").run(quick=arguments.quick)
    print(as_table(result))
    if target is not None:
        target.write_text(as_json(result), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
