"""The one check command: format, lint, types, layers, tests. Stops at the first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS = (
    ("format", "ruff", "format", "--check", "."),
    ("lint", "ruff", "check", "."),
    ("types", "mypy"),
    ("layers", "lint-imports"),
    ("tests", "pytest"),
)


def main() -> int:
    """Runs the tools of the environment that this program runs in."""
    tools = Path(sys.executable).parent
    for name, tool, *arguments in STEPS:
        print(f"== {name}", flush=True)
        done = subprocess.run([tools / tool, *arguments], cwd=ROOT, check=False)
        if done.returncode != 0:
            print(f"== {name} failed", file=sys.stderr, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
