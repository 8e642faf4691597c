"""`python -m fleet` and the `fleet` command."""

from __future__ import annotations

import os
import sys

from fleet.cli.app import run
from fleet.cli.output import finish


def main() -> None:
    """Runs the command line and exits with its code. Streams that the caller closed lead nowhere."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - open as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    code = run(sys.argv[1:])
    finish()
    sys.exit(code)


if __name__ == "__main__":
    main()
