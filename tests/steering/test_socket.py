"""The socket of a run: who reaches it, where it lies, and clients that mean no good."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from fleet.core.errors import FleetError, UsageError
from fleet.journal.lock import RunLock
from fleet.service.asking import ADDRESS, Answer, Ask, Verb, ask
from fleet.service.steering import LONGEST_ASK, LONGEST_PATH, SEATS, serve

pytestmark = pytest.mark.long

RUN = "20261130-081500-k3f9"
STATUS = Ask(do=Verb.STATUS)


def said(line: bytes) -> bytes:
    """Answers with the length of what it got."""
    return Answer(done=True, text=str(len(line))).model_dump_json().encode()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's runtime folder with a short path, as real ones have."""
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


@pytest.fixture
def folder(tmp_path: Path, runtime: Path) -> Iterator[Path]:
    """The folder of a run that lives."""
    made = tmp_path / RUN
    made.mkdir(mode=0o700)
    lock = RunLock(made)
    yield made
    lock.release()


@asynccontextmanager
async def served(folder: Path, answer: Callable[[bytes], bytes] = said) -> AsyncIterator[Path]:
    """The run answers; gives the path of its socket."""
    async with anyio.create_task_group() as group:
        group.start_soon(serve, folder, answer)
        while not await listens(address(folder)):  # noqa: ASYNC110 - as another process would
            await anyio.sleep(0.01)
        yield address(folder)
        group.cancel_scope.cancel()


def address(folder: Path) -> Path:
    """Where the run says that its socket lies; the empty path before it has said so."""
    note = folder / ADDRESS
    return Path(os.fsdecode(note.read_bytes())) if note.exists() else Path()


async def listens(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


async def asked(folder: Path, question: Ask = STATUS) -> Answer:
    """Asks as another process would; here from another thread."""
    return await asyncio.to_thread(ask, folder, question)


@pytest.mark.security("modes")
async def test_a_question_is_answered_and_the_socket_is_the_users_alone(folder: Path) -> None:
    async with served(folder) as path:
        assert (await asked(folder)).text == str(len(STATUS.model_dump_json()))
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert (folder / ADDRESS).stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    assert not (folder / ADDRESS).exists()


async def test_many_ask_at_once_and_each_is_answered(folder: Path) -> None:
    async with served(folder):
        answers = await asyncio.gather(*(asked(folder) for _ in range(3 * SEATS)))
    assert len({answer.text for answer in answers}) == 1


async def test_a_short_path_is_found_where_the_users_folder_lies_too_deep(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * LONGEST_PATH)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    async with served(folder) as path:
        assert len(os.fsencode(path)) <= LONGEST_PATH
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert (await asked(folder)).done
    assert not path.parent.exists()


@pytest.mark.security("modes")
async def test_a_folder_that_others_may_enter_is_not_used(folder: Path, runtime: Path) -> None:
    (runtime / "notebook-fleet").mkdir()
    (runtime / "notebook-fleet").chmod(0o777)
    async with served(folder) as path:
        assert path.is_relative_to(runtime) is False
        assert (await asked(folder)).done


async def test_what_a_killed_run_left_behind_is_no_hindrance(folder: Path) -> None:
    async with served(folder) as path:
        pass
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    (folder / ADDRESS).write_bytes(os.fsencode(path))
    async with served(folder) as again:
        while not (await asked(folder)).done:
            pass
        assert again == path


async def test_runs_of_one_name_in_two_places_are_told_apart(folder: Path, tmp_path: Path) -> None:
    twin = tmp_path / "elsewhere" / RUN
    twin.mkdir(parents=True)
    lock = RunLock(twin)
    async with (
        served(folder),
        served(twin, lambda _: Answer(done=True, text="twin").model_dump_json().encode()),
    ):
        assert (await asked(twin)).text == "twin"
        assert (await asked(folder)).text != "twin"
    lock.release()


# --- hostile and stuck clients ---


async def exchange(path: Path, data: bytes) -> bytes:
    """What comes back for some bytes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    try:
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.security("input")
@pytest.mark.parametrize("data", [b"\n" * 3, b"\x00\xff\n", b"[" * 4000 + b"\n", b"x" * (LONGEST_ASK * 10)])
async def test_rubbish_disturbs_nobody(folder: Path, data: bytes) -> None:
    async with served(folder) as path:
        await exchange(path, data)
        assert (await asked(folder)).done


async def test_too_long_a_line_is_not_answered(folder: Path) -> None:
    async with served(folder) as path:
        assert await exchange(path, b"x" * (LONGEST_ASK + 1) + b"\n") == b""


async def test_an_error_of_ours_in_an_answer_ends_nothing(folder: Path) -> None:
    def broken(line: bytes) -> bytes:
        raise ZeroDivisionError

    async with served(folder, broken) as path:
        assert await exchange(path, b"{}\n") == b""
        assert await exchange(path, b"{}\n") == b""


async def test_clients_that_say_nothing_lose_their_seats_and_others_are_answered(folder: Path) -> None:
    async with served(folder) as path:
        silent = [await asyncio.open_unix_connection(str(path)) for _ in range(SEATS)]
        began = time.monotonic()
        assert await exchange(path, b"{}\n") != b""
        assert time.monotonic() - began < 4.0
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()


async def test_a_client_that_never_reads_is_dropped(folder: Path) -> None:
    async with served(folder, lambda _: b"x" * (64 << 20)) as path:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1)
        writer.write(b"{}\n")
        began = time.monotonic()
        with anyio.fail_after(10.0):
            while time.monotonic() - began < 3.0:
                await anyio.sleep(0.1)
                await reader.read(1)
            got = len(await reader.read())
        assert got < 64 << 20
        writer.close()


# --- the client ---


def test_a_run_that_is_over_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    with pytest.raises(FleetError, match=f"^{RUN}: is not going on; see: fleet report {RUN}$"):
        ask(tmp_path / RUN, STATUS)


def test_a_run_without_a_socket_is_one_clear_line(folder: Path) -> None:
    with pytest.raises(
        FleetError, match="goes on, but cannot be steered: no such file or directory; to end it"
    ):
        ask(folder, STATUS)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "its answer is not understood"),
        (b"{}\n", "its answer is not understood"),
        (None, "timed out|no answer"),
    ],
)
def test_an_answer_that_is_none_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, complaint: str
) -> None:
    monkeypatch.chdir(folder)  # the path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        server.listen()
        (folder / ADDRESS).write_bytes(b"s")
        over = threading.Event()

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(LONGEST_ASK)
                if answer is None:
                    over.wait(10.0)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            with pytest.raises(FleetError, match=complaint):
                ask(folder, STATUS)
        finally:
            over.set()
            thread.join()


async def test_a_refusal_is_an_error_with_the_runs_own_words(folder: Path) -> None:
    async with served(
        folder, lambda _: Answer(done=False, text="is ending already").model_dump_json().encode()
    ):
        with pytest.raises(FleetError, match=f"^{RUN}: is ending already$") as caught:
            await asked(folder)
    assert caught.value.exit == 1
    async with served(
        folder, lambda _: Answer(done=False, misused=True, text="has no scope x").model_dump_json().encode()
    ):
        with pytest.raises(UsageError, match=f"^{RUN}: has no scope x$"):
            await asked(folder)
