"""Precedence of settings: flags, then the environment, --config, the user's file, the system's files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perimortem.config.layers import (
    Layer,
    Value,
    defaults,
    read_environment,
    read_file,
    read_flags,
)

SYSTEM_DIRECTORY = (
    Path(os.environ.get("PROGRAMDATA") or r"C:\ProgramData") / "perimortem"
    if sys.platform == "win32"
    else Path("/etc/perimortem")
)
_THRESHOLD = "threshold."


@dataclass(frozen=True)
class Resolved:
    """Every setting with its origin."""

    values: Layer

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def thresholds(self) -> dict[str, float]:
        """Seconds by heartbeat; "" is the default."""
        named = {
            name.removeprefix(_THRESHOLD): value.value
            for name, value in self.values.items()
            if name.startswith(_THRESHOLD)
        }
        return {"": self["threshold"], **named}


def resolve(
    flags: Mapping[str, Any],
    config: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    system_directory: Path = SYSTEM_DIRECTORY,
) -> Resolved:
    """``config``: the file of --config. Raises UsageError for a wrong key or value anywhere."""
    values: dict[str, Value] = defaults()
    for path in _files(environment, system_directory):
        values |= read_file(path)
    given = config or environment.get("PERIMORTEM_CONFIG")
    if given:
        values |= read_file(Path(given))
    values |= read_environment(environment)
    values |= read_flags(flags)
    return Resolved(values)


def _files(environment: Mapping[str, str], system_directory: Path) -> list[Path]:
    """Lowest precedence first: /etc/perimortem/config.toml, its conf.d in order, the user's own."""
    found = [system_directory / "config.toml"]
    fragments = system_directory / "conf.d"
    if fragments.is_dir():
        found += sorted(fragments.glob("*.toml"))
    with suppress(RuntimeError):
        found.append(find_user_file(environment))
    return [path for path in found if os.path.isfile(path)]  # False if not permitted


def find_user_file(environment: Mapping[str, str]) -> Path:
    """$XDG_CONFIG_HOME/perimortem/config.toml, or where this system keeps such files.

    Raises RuntimeError for a user without a home directory."""
    home = environment.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(home):
        return Path(home) / "perimortem" / "config.toml"
    import platformdirs

    return Path(platformdirs.user_config_dir("perimortem", appauthor=False)) / "config.toml"
