"""What the names of images tell: which family one belongs to, and which of the family is the newest.

A built-in image is named by family, version and what comes with it, such as pytorch2.6-cuda12.4-ubuntu22.04.
An image that somebody saved has a name of its own; its versions share that name and are told by their age.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fleet.core.notebook import Image

BUILT_IN = "BUILD_IN"

_NAME = re.compile(r"(?P<family>[A-Za-z]+)(?P<version>\d+(?:\.\d+)*)?(?P<rest>.*)", re.DOTALL)

Age = tuple[tuple[int, ...], int, tuple[int, ...], int]


def family(image: Image) -> tuple[str, ...]:
    """What all versions of the image share; empty when its name tells nothing."""
    if image.type and image.type != BUILT_IN:
        return image.type, image.namespace, image.name
    found = _NAME.fullmatch(image.name)
    return (BUILT_IN, found["family"].lower()) if found else ()


def newest_first(image: Image, offered: Iterable[Image]) -> list[Image]:
    """The images of the family of `image`, the newest version first.

    Of one version, the one that comes with the same things goes first (cuda, ubuntu), then the one with the
    higher numbers, then the one that was updated last.
    """
    wanted = family(image)
    kin = [one for one in offered if wanted and family(one) == wanted]
    return sorted(kin, key=lambda one: (age(one, image), one.id), reverse=True)


def age(image: Image, beside: Image) -> Age:
    """Larger for what is newer, in the eyes of who is on the image `beside`."""
    version, words, numbers = _parts(image)
    return version, len(words & _parts(beside)[1]), numbers, image.update_at or image.create_at


def _parts(image: Image) -> tuple[tuple[int, ...], frozenset[str], tuple[int, ...]]:
    """The version, the words after it, and the numbers after it."""
    found = _NAME.fullmatch(image.name)
    if found is None or (image.type and image.type != BUILT_IN):
        return (), frozenset(), ()
    rest = found["rest"]
    words = frozenset(re.findall(r"[a-z]+", rest.lower()))
    return _numbers(found["version"] or ""), words, _numbers(rest)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d{1,9}", text))
