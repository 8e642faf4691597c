"""The command tree, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from fleet import __version__
from fleet.cli import applying, bring, demo, listing, planning, reporting, simulating
from fleet.core.errors import CallError, Exit, FleetError
from fleet.core.text import clean

app = typer.Typer(
    name="fleet",
    help="Change many ModelArts notebooks safely: select, plan, apply, report.",
    epilog="Start with: fleet demo. Exit codes: 0 done, 1 failed before any write, 2 changes pending, "
    "3 some failed, 4 stopped by a guard, 5 some drifted or gone, 6 interrupted, 7 some stranded or unknown, "
    "64 usage.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"notebook-fleet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Configuration; default: fleet.toml here, else the user's.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = config


for command in (
    demo.demo,
    listing.ls,
    planning.validate,
    planning.plan,
    planning.show,
    applying.apply,
    applying.run,
    reporting.report,
    reporting.runs,
    planning.schema,
    simulating.simulate,
    bring.start,
    bring.stop,
):
    app.command()(command)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; no traceback for what a person can mend."""
    try:
        code = app(args=list(arguments), standalone_mode=False)
    except TyperException as error:
        _say(f"{error}\nsee: fleet --help")
        return Exit.USAGE
    except typer.Abort:
        _say("stopped; nothing was sent")
        return Exit.FAILED_BEFORE_WRITE
    except (FleetError, CallError, ExceptionGroup) as error:
        return _explained(error)
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.DONE
    return code if isinstance(code, int) else Exit.DONE


def _explained(error: BaseException) -> int:
    cause = _first(error)
    if isinstance(cause, FleetError):
        _say(str(cause))
        return cause.exit
    if isinstance(cause, CallError):
        _say(str(cause))
        return Exit.FAILED_BEFORE_WRITE
    raise error


def _first(error: BaseException) -> BaseException:
    """The one error behind a group of them."""
    while isinstance(error, BaseExceptionGroup):
        known = [one for one in error.exceptions if isinstance(_first(one), FleetError | CallError)]
        error = (known or error.exceptions)[0]
    return error


def _say(text: str) -> None:
    lines = text.splitlines() or [""]
    print("fleet: " + "\n".join(clean(line, 1000) for line in lines), file=sys.stderr)
