"""Commands in what we say, made whole: whoever reads one can type it in any working folder.

Whoever refuses, halts or owes names a command by what it knows, such as `fleet resume RUN`, in journals and
plans too. Which configuration and which folder of runs the user named is known to the command line alone. So
whoever writes for a person or a script completes the commands by `whole`, and nobody else does.

A command ends where its clause does: before a comma, a semicolon or a parenthesis, or with the line.
"""

from __future__ import annotations

import re
import shlex

# Who takes --config, and who takes --run-dir besides.
ABOUT_CLOUD = frozenset({"ls", "plan", "start", "stop"})
ABOUT_RUNS = frozenset(
    {
        *("apply", "run", "resume", "retry", "undo", "recover"),
        *("report", "runs", "status", "watch", "pause", "approve", "cancel", "set"),
    }
)

_VERB = "|".join(sorted(ABOUT_CLOUD | ABOUT_RUNS))
_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s,;)'"])+"""
_COMMAND = re.compile(rf"(?<![\w/-])fleet ({_VERB})((?: (?!\(){_WORD})*)(?=[,;)\n]| \(|$)")


def whole(text: str, config: str = "", run_dir: str = "") -> str:
    """`text`, each command in it with these options, led by a blank, unless it has its own."""
    if "fleet " not in text:
        return text

    def completed(found: re.Match[str]) -> str:
        verb, words = found[1], f"{found[2]} "
        cloud = "" if " --config " in words else config
        runs = "" if verb not in ABOUT_RUNS or " --run-dir " in words else run_dir
        return f"{found[0]}{cloud}{runs}"

    return _COMMAND.sub(completed, text)


def elsewhere(run: str, base: str) -> str:
    """What a command about a run in the folder `base` goes on with, whatever folder the user named."""
    return f"{run} --run-dir {shlex.quote(base)}"
