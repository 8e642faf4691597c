"""`python -m fleet` and the `fleet` command."""

from __future__ import annotations

import sys

from fleet.cli.app import run


def main() -> None:
    """Runs the command line and exits with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
