"""Whom a connection trusts."""

from __future__ import annotations

import ssl

from fleet.core.errors import UsageError


def verification(ca_file: str | None) -> ssl.SSLContext | bool:
    """What aiohttp takes as `ssl`: the system's authorities, or those in `ca_file` alone.

    Raises UsageError when the file cannot be read.
    """
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "no certificate in PEM form in it"
        raise UsageError(f"ca_file: {ca_file}: {reason}") from None
