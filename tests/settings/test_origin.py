"""An address of a service is a scheme, a host and a port, and nothing in the open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.settings.tables import origin


@pytest.mark.parametrize(
    "text",
    [
        "https://modelarts.cn-north-4.myhuaweicloud.com",
        "https://host:8443",
        "https://[2001:db8::1]:443",
        "http://127.0.0.1:9000",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:9000",
    ],
)
def test_an_origin_is_taken(text: str) -> None:
    assert origin(text) == text
    assert origin(text + "/") == text


@pytest.mark.security("endpoint")
@pytest.mark.parametrize(
    "text",
    [
        "http://modelarts.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "https://user:pw@host",
        "https://host/path",
        "https://host?x=1",
        "https://host#x",
        "https://host:0",
        "https://host:65536",
        "https://host:",
        "https://",
        "https://ho st",
        "https://host\n",
        "https:\\host",
        "ftp://host",
        "host",
        "",
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be https|plain http"):
        origin(text)


@pytest.mark.security("endpoint")
@given(st.text(max_size=30), st.sampled_from(["https://", "http://", ""]))
def test_an_origin_never_holds_more_than_scheme_host_and_port(text: str, scheme: str) -> None:
    try:
        taken = origin(scheme + text)
    except ValueError:
        return
    assert taken.count("/") == 2
    assert not set(taken) & set("@?#\\ \n")
