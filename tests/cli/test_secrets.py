"""No secret in anything that a command shows or keeps, at the most talkative level."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fleet.simulator.messages import Reply, Request

MakeLab = Any
Shell = Any


BAD_DAY = """\
- {kind: lost-answer, match: {operation: UpdateNotebook}, times: 1}
- {kind: html-page, status: 502, match: {operation: ShowNotebook}, times: 1}
- {kind: odd-answer, body: wrong-types, match: {operation: ListAllNotebooks}, times: 1}
- {kind: throttle, match: {operation: ListAllNotebooks}, times: 1, limit: 6000}
"""


JOB_SELECT = 'image.name.startsWith("pytorch1.8") && status == "STOPPED"'
PROMETHEUS = "prometheus-canary-5d0c1e"

WEEKLY = """\
job: flavor-rightsizing
name: weekly
select: status == "STOPPED"
with: {usage: {window: 14d}}
schedule: {at: "0 20 * * FRI"}
rollout: {disruption: restart}
"""


def everything_kept(shell: Shell, config: Any) -> bytes:
    """Every byte below the folder but the configuration's."""
    paths = [path for path in shell.folder.rglob("*") if path.is_file() and path != config]
    assert len(paths) > 4
    return b"".join(path.read_bytes() for path in paths)


def three_kinds(lab: Any) -> str:
    """A configuration whose scopes log in differently, and whose source of metrics has a token."""
    identity = lab.cloud.identity
    scopes = lab.config().partition("[credentials.lab]")[0]
    for name in ("keys", "login"):
        scopes = scopes.replace('"lab"', f'"{name}"', 1)
    return f"""{scopes}
[credentials.keys]
kind = "aksk"
access_key = "{identity.access_key}"
secret_key = "{identity.secret_key}"
[credentials.login]
kind = "password"
user = "{identity.user}"
domain = "{identity.domain}"
password = "{identity.password}"
[metrics.prom]
kind = "prometheus"
url = "{lab.url}"
token = "{PROMETHEUS}"
"""


Handle = Callable[[Request, float], Reply]


def without_starts(handle: Handle) -> Handle:
    """The cloud, but nobody may start anything."""

    def refuse(request: Request, now: float) -> Reply:
        if request.method == "POST" and request.path.endswith("/start"):
            return Reply(403, b'{"error_code": "ModelArts.0110", "error_msg": "not allowed"}')
        return handle(request, now)

    return refuse


def tokens_of(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """Every token that the cloud issues from now on."""
    issue, issued = lab.cloud.access.issue_token, list[str]()

    def issue_token(project: str, now: float) -> Any:
        text, token = issue(project, now)
        issued.append(text)
        return text, token

    monkeypatch.setattr(lab.cloud.access, "issue_token", issue_token)
    return issued


@pytest.mark.security("secrets")
@pytest.mark.parametrize("kind", ["aksk", "password", "token"])
def test_secrets_are_nowhere(make_lab: MakeLab, shell: Shell, kind: str) -> None:
    lab = make_lab(BAD_DAY)
    identity = lab.cloud.identity
    secret = {
        "aksk": identity.secret_key,
        "password": identity.password,
        "token": lab.cloud.access.issue_token(identity.projects[0].id, time.time())[0],
    }[kind]
    table = {
        "aksk": f'access_key = "{identity.access_key}"\nsecret_key = "{secret}"',
        "password": f'user = "{identity.user}"\ndomain = "{identity.domain}"\npassword = "{secret}"',
        "token": f'token = "{secret}"',
    }[kind]
    text = lab.config(("lab-a",)).partition("[credentials.lab]")[0]
    config = shell.write("fleet.toml", f'{text}[credentials.lab]\nkind = "{kind}"\n{table}\n')
    shown = ""
    for words in (
        ("ls",),
        ("ls", "-o", "json", "-c", "id,name,ssh.keys,endpoints"),
        ("plan", "job.yaml", "-o", "plan.json"),
        ("show", "plan.json"),
        ("apply", "plan.json", "--yes", "--debug", "--run-dir", lab.runs, "-o", "json"),
        ("run", "job.yaml", "--yes", "--debug", "--run-dir", lab.runs, "--log-file", "log.jsonl"),
        ("runs", "--run-dir", lab.runs, "-o", "json"),
        ("report", "2", "--run-dir", lab.runs),
        ("ls", "--select", "no such field"),
        ("apply", "plan.json", "--yes", "--run-dir", "/dev/null"),
        ("start", "00000000-0000-0000-0000-000000000000", "--scope", "lab-a", "--duration", "-1"),
    ):
        result = shell(*words)
        shown += result.out + result.err
    assert lab.writes.count("UpdateNotebook") > 0
    kept = everything_kept(shell, config)
    assert secret not in shown
    assert secret.encode() not in kept
    assert all(row.token not in shown and row.token.encode() not in kept for row in lab.old())


@pytest.mark.security("secrets")
def test_what_goes_on_after_a_run_tells_no_secret_either(
    make_lab: MakeLab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One scope by keys, the other by password, and a source of metrics with a token of its own.

    No start is allowed at first: the run leaves a notebook of each scope stopped. They are started by hand,
    and the run is resumed to its end.
    """
    lab = make_lab(BAD_DAY)
    tokens = tokens_of(lab, monkeypatch)
    config = shell.write("fleet.toml", three_kinds(lab))
    running = lab.old("RUNNING")
    chosen = [next(row for row in running if row.project == one.id) for one in lab.cloud.identity.projects]
    lab.job(JOB_SELECT, f"id in {[row.id for row in chosen]}")
    shell.write("weekly.yaml", WEEKLY)
    at = ("--run-dir", lab.runs)
    plan = shell("plan", "job.yaml", "-o", "plan.json")
    with monkeypatch.context() as patch:
        patch.setattr(lab.cloud, "handle", without_starts(lab.cloud.handle))
        begun = shell("apply", "plan.json", "--yes", "--debug", *at)
    assert (begun.code, {row.status for row in chosen}) == (7, {"STOPPED"})
    run, shown = begun.run, [plan, begun]
    starts = re.findall(r"^  .*: fleet (start .*)$", begun.err + begun.out, re.MULTILINE)
    commands = (
        ("status", run, *at),
        ("status", run, "-o", "json", *at),
        ("recover", run, *at),
        ("retry", run, *at),
        *map(shlex.split, starts),
        ("resume", run, "--debug", *at),
        ("watch", run, *at),
        ("report", run, "-o", "csv", *at),
        ("report", run, "-o", "jsonl", *at),
        ("undo", run, "-o", "back.json", *at),
        ("schedule", "next", "weekly.yaml"),
        ("schedule", "history", "weekly.yaml", *at),
        ("plan", "weekly.yaml"),
    )
    shown += [shell(*words) for words in commands]
    codes = {result.code for result in shown}
    assert codes == {0, 1, 7, 64}, "left owing, nothing for retry, no usage where the lab keeps none"
    assert "usage cannot be read" in shown[-1].err
    assert {row.status for row in chosen} == {"RUNNING"}
    assert tokens
    secrets = [lab.cloud.identity.secret_key, lab.cloud.identity.password, PROMETHEUS, *tokens]
    told = "".join(result.out + result.err for result in shown).encode() + everything_kept(shell, config)
    assert [secret for secret in secrets if secret.encode() in told] == []
    assert not any(row.token.encode() in told for row in lab.cloud.world.notebooks.values())
