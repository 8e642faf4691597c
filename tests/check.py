"""The one check command: format, lint, types, layers, tests. Stops at the first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS = (
    ("format", ("ruff", "format", "--check", ".")),
    ("lint", ("ruff", "check", ".")),
    ("types", ("mypy",)),
    ("layers", ("importlinter.cli", "lint")),
    ("tests", ("pytest",)),
)


def main() -> int:
    for name, (module, *arguments) in STEPS:
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=False)
        if done.returncode != 0:
            print(f"== {name} failed", file=sys.stderr, flush=True)
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
