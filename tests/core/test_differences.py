"""What a row says of values that are not as expected."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.core.differences import differences

SSH = {"service": "SSH", "allowed_access_ips": ["203.0.113.7"], "key_pair_names": ["ops"]}


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        ("new", "old", ["x is new, was old"]),
        ("my image", "", ['x is "my image", was empty']),
        (None, 20, ["x is empty, was 20"]),
        ({"a": 1, "b": True}, {"a": 1, "b": False}, ["x.b is true, was false"]),
        ({"a": 1}, {"b": "c d"}, ['x.b is not there, was "c d"', "x.a is 1, was not there"]),
        ([{**SSH, "allowed_access_ips": []}], [SSH], ["x[1].allowed_access_ips is empty, was [203.0.113.7]"]),
        ([SSH, {"service": "NEW"}], [SSH], ["x[2] is (service: NEW), was not there"]),
        (["a", "b"], ["a"], ["x is [a, b], was [a]"]),
    ],
)
def test_only_what_differs_is_named_and_in_plain_words(seen: Any, expected: Any, words: list[str]) -> None:
    assert list(differences("x", seen, expected, "was")) == words
