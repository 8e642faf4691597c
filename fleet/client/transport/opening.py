"""Chooses the transport to each site."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from fleet.client.transport.connector import Connector, unfit
from fleet.client.transport.session import SessionTransport, open_session
from fleet.client.transport.site import Site, Transport
from fleet.client.transport.tls import verification
from fleet.client.transport.wire import WireTransport
from fleet.core.errors import UsageError
from fleet.core.scope import Way


@asynccontextmanager
async def open_transports(
    way: Way = Way.WIRE, *, ca_file: str | None = None, trust_env: bool = False
) -> AsyncIterator[Callable[[Site], Transport]]:
    """Makes transports that trust the system's authorities, or those in `ca_file` alone.

    `trust_env` lets proxies of the environment in. Where the wire transport cannot serve, the session's does,
    with a RuntimeWarning. Raises UsageError when `ca_file` cannot be used.
    """
    if way is Way.WIRE and (why := unfit()) is not None:
        warnings.warn(f"{why}: the slower session transport is used", RuntimeWarning, stacklevel=3)
        way = Way.SESSION
    verify = verification(ca_file)
    async with open_session(verify) as session:
        connector = Connector(verify)

        def transport(site: Site) -> Transport:
            proxy = proxy_of(site, getproxies()) if trust_env else None
            if way is Way.SESSION or proxy is not None:
                return SessionTransport(session, site, proxy)
            return WireTransport(connector, site)

        try:
            yield transport
        finally:
            await connector.close()


def proxy_of(site: Site, proxies: Mapping[str, str]) -> URL | None:
    """The proxy of the environment on the way to the site.

    The session must not look for it: it would take passwords from the user's netrc too, also for the site.
    Raises UsageError for what is no address; it is not repeated, for it may hold a password.
    """
    url = URL(site.origin)
    named = proxies.get(url.scheme, "")
    if not named or proxy_bypass(url.host or ""):
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
        if proxy.scheme in ("http", "https") and proxy.host:
            return proxy
    except ValueError:
        pass
    raise UsageError(f"{url.scheme}_proxy in the environment is no address such as http://proxy:3128")
