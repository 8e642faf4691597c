"""Notices by real programs and over real sockets, and the file of those who asked for a later time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from fleet.core.errors import UsageError
from fleet.core.scheduling.timing import Notice
from fleet.service.notices import Courier, require_notice

MESSAGE = {"run": "20260101-000000-test", "owner": "änn", "notebooks": []}
Serving = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serving]:
    """Serves one handler on loopback and gives its address."""
    runners: list[web.AppRunner] = []

    async def make(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield make
    for runner in runners:
        await runner.cleanup()


def python(code: str) -> Notice:
    return Notice((sys.executable, "-c", code))


async def test_a_program_gets_the_notice_on_its_standard_input(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'got')!r}, 'wb').write(sys.stdin.buffer.read())"
    assert await Courier().tell(python(code), MESSAGE) == ""
    assert json.loads((tmp_path / "got").read_bytes()) == MESSAGE


async def test_a_program_is_not_given_what_the_cloud_is_asked_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SK", "TOPSECRET")
    monkeypatch.setenv("LAB_PLACE", "hall 3")
    told = "import os, sys; sys.exit(f\"{os.environ.get('LAB_SK')} {os.environ.get('LAB_PLACE')}\")"
    assert (await Courier(secrets=["TOPSECRET"]).tell(python(told), MESSAGE)).endswith(": None hall 3")


def test_the_path_of_a_webhook_is_not_shown() -> None:
    assert Notice(webhook="https://hooks.example.com/services/T00/SECRET").way == "https://hooks.example.com"


async def test_a_program_that_does_not_read_has_heard_all_the_same() -> None:
    large = {**MESSAGE, "notebooks": ["x" * 1000] * 1000}
    assert await Courier().tell(python("pass"), large) == ""


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import sys; sys.exit('mailbox full')", "exit code 1: mailbox full"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("import time; time.sleep(60)", "took longer than 0.5s"),
    ],
)
async def test_a_program_that_fails_has_told_nobody(code: str, trouble: str) -> None:
    assert (await Courier(0.5 if "sleep" in code else 20).tell(python(code), MESSAGE)).endswith(trouble)


async def test_a_webhook_gets_the_notice_as_json_and_nothing_else(serve: Serving) -> None:
    got: list[tuple[str, object, set[str]]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.method, await request.json(), set(request.headers)))
        return web.Response(status=202)

    assert await Courier().tell(Notice(webhook=await serve(take) + "/notices?team=a"), MESSAGE) == ""
    method, body, headers = got[0]
    assert (method, body) == ("POST", MESSAGE)
    assert headers <= {"Host", "Accept", "Accept-Encoding", "User-Agent", "Content-Length", "Content-Type"}


@pytest.mark.parametrize("status", [302, 307, 404, 500])
async def test_a_webhook_that_does_not_say_yes_is_a_notice_that_failed(serve: Serving, status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    trouble = await Courier().tell(Notice(webhook=await serve(answer) + "/here"), MESSAGE)
    assert (trouble, asked) == (f"the webhook answered HTTP {status}", ["/here"])


async def test_a_webhook_that_hangs_or_is_not_there_is_a_notice_that_failed(serve: Serving) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    trouble = await Courier(0.3).tell(Notice(webhook=await serve(hang)), MESSAGE)
    assert trouble == "the webhook did not answer in time"
    trouble = await Courier().tell(Notice(webhook="http://127.0.0.1:1/"), MESSAGE)
    assert trouble.startswith("the webhook cannot be reached")


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "later.csv"
    file.write_text("owner,until\n")
    assert await Courier().postponed(str(file)) == {}
    file.write_text("ann,1970-01-01T00:01:00Z\n")
    assert await Courier().postponed(str(file)) == {"ann": 60.0}
    file.write_text("ann,soon\n")
    with pytest.raises(ValueError, match="line 1"):
        await Courier().postponed(str(file))
    file.unlink()
    with pytest.raises(OSError, match="No such file"):
        await Courier().postponed(str(file))


def test_what_cannot_work_is_told_before_a_run_begins(tmp_path: Path) -> None:
    file = tmp_path / "later.csv"
    with pytest.raises(UsageError, match=r"rollout.notice.command: there is no program no-such-program"):
        require_notice(Notice(("no-such-program",)))
    with pytest.raises(UsageError, match="No such file or directory; make it, if need be empty"):
        require_notice(Notice(("sh",), postponed=str(file)))
    file.write_text("ann\n")
    with pytest.raises(UsageError, match="line 1: must be owner,until"):
        require_notice(Notice(("sh",), postponed=str(file)))
    file.write_text("")
    require_notice(Notice(("sh",), postponed=str(file)))
    require_notice(None)
