"""The fastest JSON there is here: orjson, or the standard library's."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def _plain_dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


_orjson: Any = import_module("orjson") if find_spec("orjson") else None
dumps: Callable[[Any], bytes] = _orjson.dumps if _orjson else _plain_dumps
loads: Callable[[bytes], Any] = _orjson.loads if _orjson else json.loads
