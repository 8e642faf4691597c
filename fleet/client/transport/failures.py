"""What a call that got no answer means, in words that are the same for every transport."""

from __future__ import annotations

import aiohttp

from fleet.client.transport.site import Site
from fleet.core.errors import CallError, Meaning
from fleet.core.text import clean


def late(host: str, within: float) -> CallError:
    """The request left, the deadline passed."""
    return CallError(Meaning.LOST, f"{host} did not answer in full within {within:.0f} s")


def broken(host: str) -> CallError:
    """The request left, the connection ended."""
    return CallError(Meaning.LOST, f"the connection to {host} broke before the answer was complete")


def no_http(host: str) -> CallError:
    """The request left, what came back cannot be read."""
    return CallError(Meaning.ODD, f"{host} answered what is no HTTP")


def too_large(host: str, cap: int, status: int) -> CallError:
    """The request left, the answer's body has more than `cap` bytes."""
    return CallError(Meaning.ODD, f"the answer of {host} is larger than {cap} bytes", status=status)


def unsent(error: Exception, site: Site, within: float) -> CallError:
    """Nothing left: why, and what to check."""
    meaning, what = _reason(error, site.host, within)
    return CallError(meaning, f"{what}: {site.check}")


def _reason(error: Exception, host: str, within: float) -> tuple[Meaning, str]:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return Meaning.TLS, f"the certificate of {host} is refused ({clean(why, 120)})"
        case aiohttp.ClientSSLError():
            return Meaning.TLS, f"no TLS connection to {host}"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Meaning.UNREACHABLE, f"the proxy gives no connection to {host}"
        case aiohttp.ClientConnectorDNSError():
            return Meaning.UNREACHABLE, f"cannot resolve {host}"
        case TimeoutError():
            return Meaning.UNREACHABLE, f"no connection to {host} within {within:.0f} s"
        case aiohttp.ClientConnectorError():
            why = clean(error.os_error.strerror or "no reason given", 80)
            return Meaning.UNREACHABLE, f"cannot connect to {host} ({why})"
        case _:
            return Meaning.UNREACHABLE, f"the connection to {host} broke before the request left"
