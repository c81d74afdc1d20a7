"""The previous settings: saved before anything is changed, and verified when read."""

from __future__ import annotations

import json
import os
import sys
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import PerimortemError

DIRECTORY = Path("/var/lib/perimortem/system")
_FILE = "state.json"


@dataclass(frozen=True)
class State:
    """The kernel's settings before us, and ours."""

    previous_pattern: str
    previous_pipe_limit: int
    pattern: str
    pipe_limit: int


def write_state(state: State, directory: Path = DIRECTORY) -> None:
    """On disk when this returns."""
    fields = asdict(state)
    text = json.dumps({**fields, "crc32": _checksum(fields)})
    write_file(directory / _FILE, text + "\n")


def read_state(directory: Path = DIRECTORY) -> State | None:
    """None if there is none. Raises PerimortemError if it is damaged."""
    path = directory / _FILE
    try:
        fields = json.loads(path.read_text())
        checksum = fields.pop("crc32")
        state = State(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    if checksum != _checksum(asdict(state)):
        raise _damaged(path, "its checksum does not match")
    return state


def write_file(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Replaces the old one atomically; on disk when this returns."""
    building = path.with_name(f".{path.name}.new")
    fd = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    building.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _checksum(fields: dict[str, object]) -> int:
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())


def _damaged(path: Path, why: str) -> PerimortemError:
    return PerimortemError(
        f"{path} cannot be read",
        why=why,
        remedy="set kernel.core_pattern by hand (sysctl), then remove that file",
    )
