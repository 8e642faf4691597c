"""The cloud behind a real socket: aiohttp.web, and nothing but glue.

Every wait is a timer of the running loop, so a loop with virtual time drives it as well.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from aiohttp import web

from fleet.simulator.cloud import Cloud
from fleet.simulator.messages import Request, Sending

_NO_LINGER = struct.pack("ii", 1, 0)  # closing throws away what is unsent and sends RST


@asynccontextmanager
async def serve(
    cloud: Cloud,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float],
    request_log: TextIO | None = None,
) -> AsyncIterator[str]:
    """Serve ``cloud`` and yield its base URL; port 0 takes a free one.

    ``clock`` gives the cloud's wall seconds. ``request_log`` gets every record as a line of JSON, at
    once or, where people acted unseen, before the next one; how it is buffered is the opener's
    business.
    """
    written = len(cloud.log)

    def write_log(log: TextIO) -> None:
        nonlocal written
        fresh = cloud.log[written:]
        written = len(cloud.log)
        for record in fresh:
            log.write(record.to_line())

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        reply = cloud.handle(_request(request, body), clock())
        if request_log is not None:
            write_log(request_log)
        if reply.delay > 0:
            await asyncio.sleep(reply.delay)
        if reply.sending is not None and request.transport is not None:
            await _send(reply.sending, request.transport)
        return web.Response(status=reply.status or 500, body=reply.body, headers=reply.headers)

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        await site.start()
        yield f"http://{host}:{_bound_port(runner)}"
    finally:
        await runner.cleanup()


async def _send(sending: Sending, transport: asyncio.Transport) -> None:
    """Write the pieces and end the connection; what the server writes afterwards goes nowhere."""
    for seconds, piece in sending.pieces:
        if seconds > 0:
            await asyncio.sleep(seconds)
        if transport.is_closing():
            return
        transport.write(piece)
    if sending.reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    else:
        transport.close()


def _request(request: web.BaseRequest, body: bytes) -> Request:
    path, _, query = request.raw_path.partition("?")
    return Request(
        method=request.method,
        path=path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        client=request.remote or "",
    )


def _bound_port(runner: web.ServerRunner) -> int:
    port: int = runner.addresses[0][1]
    return port
