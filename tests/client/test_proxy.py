"""Proxies of the environment: used by the scopes that ask for them, and without the user's netrc."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.client.connect import connect
from fleet.client.transport import Site
from fleet.client.transport.opening import proxy_of
from fleet.core.errors import CallError, UsageError
from fleet.core.scope import Proxy, ScopeSpec

RawServe = Any
Reply = Any
NOTEBOOK = "f9937afa-4451-42db-a76b-72d624749f66"


@pytest.mark.security("endpoint", "secrets")
@pytest.mark.parametrize("wanted", Proxy)
async def test_a_scope_goes_through_the_proxy_of_the_environment_only_if_it_says_so(
    raw_server: RawServe,
    reply: Reply,
    spec_of: Callable[..., ScopeSpec],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    wanted: Proxy,
) -> None:
    """A netrc of the user, which belongs to other programs, neither adds to a request nor breaks it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with raw_server(reply(403, b"{}")) as proxy, raw_server(reply(403, b"{}")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with connect([spec_of(server.url, proxy=wanted)]) as scopes:
            (api,) = scopes.values()
            with pytest.raises(CallError):
                await api.look(NOTEBOOK)
    used, other = (proxy, server) if wanted is Proxy.ENVIRONMENT else (server, proxy)
    assert (len(used.requests), len(other.requests)) == (1, 0)
    head = used.requests[0].lower()
    assert b"authorization: sdk-hmac-sha256 " in head
    assert b"basic " not in head
    assert head.startswith(b"get http://") is (wanted is Proxy.ENVIRONMENT)


SITE = Site("https://modelarts.example.com", "check", "/v1/p/", {})


@pytest.mark.parametrize(
    ("named", "proxy"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "http://proxy:3128"),
        ("http://me:pw@proxy:3128/", "http://me:pw@proxy:3128/"),
        ("", None),
    ],
)
def test_a_proxy_is_named_as_other_programs_take_it(
    monkeypatch: pytest.MonkeyPatch, named: str, proxy: str | None
) -> None:
    monkeypatch.setenv("no_proxy", "")
    found = proxy_of(SITE, {"https": named, "http": "http://other:1"})
    assert (str(found) if found else None) == proxy


def test_hosts_that_the_environment_excepts_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.com")
    assert proxy_of(SITE, {"https": "http://proxy:3128"}) is None


@pytest.mark.security("secrets")
@pytest.mark.parametrize("named", ["http://", "socks5://canary@proxy:1", "http://me:canary@proxy:port"])
def test_a_proxy_that_is_no_address_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(UsageError, match="https_proxy in the environment is no address") as caught:
        proxy_of(SITE, {"https": named})
    assert "canary" not in str(caught.value)
