"""The private socket by which another terminal steers a run: the run's end of it.

A socket and not a table in the journal or a file to be polled, for three reasons. The answer comes from the
run itself and within milliseconds, so that who pauses knows that nothing starts any more. Nobody but the run
writes its journal. And the socket dies with the process: nothing that was asked of one can steer a later one.

One connection, one line of JSON, one answer; `asking` is the other end, `helm` says what they mean. Only the
user's own processes can connect. Still, whoever connects may send rubbish, or nothing, or never read: he gets
a short time, few bytes and one of few seats, and the run goes on. Where the socket lies is written into the
run's folder.
"""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import platformdirs
import structlog
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from fleet.service.asking import ADDRESS, CLIENT_TIME, PREFIX, SHORT_PLACE, is_answered

LONGEST_PATH = 100  # bytes; systems take a little over that for a socket
LONGEST_ASK = 4096  # bytes
SEATS = 16  # clients at once


async def serve(folder: Path, answer: Callable[[bytes], bytes]) -> None:
    """Answers whoever asks the run in `folder`, until cancelled. A run that cannot be asked goes on."""
    try:
        with _address(folder) as path:
            listener = await anyio.create_unix_listener(path, mode=0o600)
            async with listener, anyio.create_task_group() as clients:
                seats = anyio.Semaphore(SEATS)
                while True:
                    await seats.acquire()
                    stream = await _next_client(listener.accept)
                    clients.start_soon(_attend, stream, answer, seats)
    except OSError as error:
        structlog.get_logger().warning("cannot be steered", problem=error.strerror)


async def _next_client(accept: Callable[[], Awaitable[SocketStream]]) -> SocketStream:
    while True:
        try:
            return await accept()
        except (OSError, anyio.BrokenResourceError):  # such as too many open files
            await anyio.sleep(1.0)


async def _attend(stream: SocketStream, answer: Callable[[bytes], bytes], seats: anyio.Semaphore) -> None:
    try:
        with anyio.move_on_after(CLIENT_TIME):
            async with stream:
                line = await BufferedByteReceiveStream(stream).receive_until(b"\n", LONGEST_ASK)
                if len(line) <= LONGEST_ASK:  # more may come in one piece
                    await stream.send(answer(line) + b"\n")
    except Exception as error:  # whatever it is, the run goes on
        structlog.get_logger().debug("a client of the run was dropped", problem=type(error).__name__)
    finally:
        seats.release()


@contextmanager
def _address(folder: Path) -> Iterator[Path]:
    """A path for the socket of the run in `folder`, told there; both are gone afterwards."""
    with _private_folder(folder.name) as place:
        path = place / f"{folder.name}.sock"
        if is_answered(path):  # a run of the same name in another place
            path = place / f"{folder.name}-{os.getpid()}.sock"
        note = folder / ADDRESS
        try:
            with open(
                os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb"
            ) as file:
                file.write(os.fsencode(path))
            yield path
        finally:
            path.unlink(missing_ok=True)
            note.unlink(missing_ok=True)


@contextmanager
def _private_folder(run: str) -> Iterator[Path]:
    """The user's runtime folder, or a new one for this run where that will not do."""
    folder = _runtime_folder()
    if folder is not None and len(os.fsencode(folder / f"{run}-{os.getpid()}.sock")) <= LONGEST_PATH:
        yield folder
        return
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=SHORT_PLACE))  # for us alone
    try:
        yield made
    finally:
        made.rmdir()


def _runtime_folder() -> Path | None:
    """Our part of the user's runtime folder, if it is in nobody's hands but ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when there is none and it names one of its own
            folder = platformdirs.user_runtime_path("notebook-fleet", ensure_exists=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077
    return folder if private else None
