"""A machine of its own for each test: a home, a working folder, an environment, and a way to load."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.settings import Settings, find_config, load_settings

PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass
class Machine:
    """Files and variables to load settings from."""

    home: Path
    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, text: str, path: Path | None = None, mode: int = 0o600) -> Path:
        path = path or self.cwd / "fleet.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def scope(self, extra: str = "", tables: str = "", mode: int = 0o600) -> None:
        """One scope "lab-a" with more keys, then more tables."""
        self.write(
            f'[[scope]]\nname = "lab-a"\nregion = "cn-north-4"\nproject_id = "{PROJECT}"\n{extra}\n{tables}',
            mode=mode,
        )

    def profile(self, text: str, mode: int = 0o600) -> Path:
        return self.write(text, self.home / ".huaweicloud" / "credentials", mode)

    def load(self, config: Path | None = None) -> Settings:
        return load_settings(config, environ=self.environ, home=self.home, cwd=self.cwd)

    def find(self, config: Path | None = None) -> Path | None:
        return find_config(config, environ=self.environ, home=self.home, cwd=self.cwd)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    home, cwd = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    cwd.mkdir()
    return Machine(home, cwd)
