"""No secret in anything that a command shows or keeps, at the most talkative level."""

from __future__ import annotations

import time
from typing import Any

import pytest

MakeLab = Any
Shell = Any


BAD_DAY = """\
- {kind: lost-answer, match: {operation: UpdateNotebook}, times: 1}
- {kind: html-page, status: 502, match: {operation: ShowNotebook}, times: 1}
- {kind: odd-answer, body: wrong-types, match: {operation: ListAllNotebooks}, times: 1}
- {kind: throttle, match: {operation: ListAllNotebooks}, times: 1, limit: 6000}
"""


def everything_kept(shell: Shell, config: Any) -> bytes:
    """Every byte below the folder but the configuration's."""
    paths = [path for path in shell.folder.rglob("*") if path.is_file() and path != config]
    assert len(paths) > 4
    return b"".join(path.read_bytes() for path in paths)


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
