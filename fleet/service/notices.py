"""Brings notices to owners, by a program or a webhook, and reads who asked for a later time.

Nothing of the cloud's goes along: neither its credentials nor its connections.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from typing import Any

import aiohttp
import anyio

from fleet.core.errors import UsageError
from fleet.core.scheduling.notices import parse_postponed
from fleet.core.scheduling.timing import Notice
from fleet.core.text import clean
from fleet.service.gate_command import run_program

TIMEOUT = 60.0  # s that a notice may take
MOST = 1_000_000  # bytes of the file of those who asked for a later time


def require_notice(notice: Notice | None) -> None:
    """Raises UsageError when no notice could go out, or the file of wishes cannot be read."""
    if notice is None:
        return
    if notice.command and shutil.which(notice.command[0]) is None:
        raise UsageError(
            f"rollout.notice.command: there is no program {clean(notice.command[0])}, seen from this folder; "
            "check its path, and that it may be executed"
        )
    if not notice.postponed:
        return
    try:
        with open(notice.postponed, "rb") as file:
            _wishes(file.read(MOST + 1))
    except OSError as error:
        raise UsageError(
            f"rollout.notice.postponed: {clean(notice.postponed)}: {error.strerror}; "
            "make it, if need be empty"
        ) from None
    except ValueError as error:
        raise UsageError(f"rollout.notice.postponed: {clean(notice.postponed)}: {error}") from None


class Courier:
    """The way to owners. `timeout` is what one notice may take, in seconds; no program is given `secrets`."""

    def __init__(self, timeout: float = TIMEOUT, secrets: Collection[str] = ()) -> None:
        self._timeout = timeout
        self._secrets = frozenset(secrets)

    async def tell(self, notice: Notice, message: Mapping[str, Any]) -> str:
        """Sends the message; returns why it did not arrive, empty when it did."""
        body = json.dumps(message, ensure_ascii=False).encode()
        if notice.webhook:
            return await self._post(notice.webhook, body)
        named = {"FLEET_RUN": message["run"]}
        ended = await run_program(notice.command, self._timeout, named, body, self._secrets)
        if isinstance(ended, str):
            return f"{notice.command[0]} {ended}"
        code, said = ended
        how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return f"{notice.command[0]}: {how}{said and f': {said}'}" if code else ""

    async def postponed(self, file: str) -> Mapping[str, float]:
        """Until when (wall s) owners asked to be left alone. Raises OSError or ValueError."""
        async with await anyio.open_file(file, "rb") as opened:
            return _wishes(await opened.read(MOST + 1))

    async def _post(self, url: str, body: bytes) -> str:
        """Why a POST did not arrive. A redirect is no arrival: nobody said where else a notice may go."""
        time = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=time, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
                ) as answer,
            ):
                return "" if 200 <= answer.status < 300 else f"the webhook answered HTTP {answer.status}"
        except TimeoutError:
            return "the webhook did not answer in time"
        except (aiohttp.ClientError, OSError) as error:
            return f"the webhook cannot be reached: {type(error).__name__}"


def _wishes(data: bytes) -> dict[str, float]:
    if len(data) > MOST:
        raise ValueError(f"is larger than {MOST} bytes")
    return parse_postponed(data.decode("utf-8-sig"))
