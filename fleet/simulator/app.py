"""The cloud behind a real socket: aiohttp.web, and nothing but glue.

Every wait is a timer of the running loop, so a loop with virtual time drives it as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from aiohttp import web

from fleet.simulator.cloud import Cloud
from fleet.simulator.messages import Request


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

    ``clock`` gives the cloud's wall seconds. ``request_log`` gets every record as a line of JSON at
    once; how it is buffered is the opener's business.
    """

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        reply = cloud.handle(_request(request, body), clock())
        if request_log is not None:
            request_log.write(cloud.log[-1].to_line())
        if reply.delay > 0:
            await asyncio.sleep(reply.delay)
        if reply.dropped and request.transport is not None:
            request.transport.close()
        return web.Response(status=reply.status or 500, body=reply.body, headers=reply.headers)

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        await site.start()
        yield f"http://{host}:{_bound_port(runner)}"
    finally:
        await runner.cleanup()


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
