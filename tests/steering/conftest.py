"""Labs for the tests with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.steering.lab import Lab

MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[MakeLab]:
    """Makes labs: `make_lab(rate, time_scale)`."""
    with ExitStack() as stack:

        def make(rate: str = "50/s", time_scale: float = 100.0, notebooks: int = 200) -> Lab:
            environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
            environ |= {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
            (tmp_path / "runtime").mkdir(mode=0o700)
            words = f"simulate --notebooks {notebooks} --time-scale {time_scale} --request-log requests.jsonl"
            cloud = subprocess.Popen(
                [sys.executable, "-m", "fleet", *words.split()],
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(cloud)
            stack.callback(cloud.kill)
            assert cloud.stdout is not None
            told = json.loads(cloud.stdout.readline())
            _configure(tmp_path / "fleet.toml", told, rate)
            return Lab(tmp_path, environ, stack)

        yield make


def _configure(path: Path, told: dict[str, Any], rate: str) -> None:
    project = told["projects"][0]
    where = f'endpoint = "{told["base_url"]}"\niam_endpoint = "{told["base_url"]}"\n'
    path.touch(mode=0o600)
    path.write_text(
        f'[[scope]]\nname = "lab-a"\nregion = "{told["region"]}"\nproject_id = "{project}"\n{where}'
        f'credentials = "lab"\nrate = "{rate}"\npoll = "1s"\n[credentials.lab]\nkind = "aksk"\n'
        f'access_key = "{told["access_key"]}"\nsecret_key = "{told["secret_key"]}"\n'
    )
