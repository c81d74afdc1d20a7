"""Open descriptors of a process: /proc/PID/fd in words."""

from __future__ import annotations

import os
import stat
import sys

assert sys.platform == "linux"

from perimortem.model.snapshot import Handle
from perimortem.text import printable

HANDLES_MAX = 65536


def collect_handles(pid: int, soft_errors: list[str]) -> tuple[Handle, ...]:
    """Every descriptor with its type and what it points to."""
    directory = f"/proc/{pid}/fd"
    try:
        numbers = sorted(int(name) for name in os.listdir(directory))
    except OSError as error:
        soft_errors.append(f"open descriptors could not be read: {error.strerror}")
        return ()
    if len(numbers) > HANDLES_MAX:
        soft_errors.append(f"{len(numbers) - HANDLES_MAX} of {len(numbers)} descriptors left out")
    handles = []
    for number in numbers[:HANDLES_MAX]:
        try:
            name = os.readlink(f"{directory}/{number}")
        except OSError:
            continue  # closed meanwhile
        handles.append(
            Handle(
                number=number,
                type_name=_type_of(f"{directory}/{number}", name),
                object_name=printable(name),
                flags=_read_flags(pid, number),
            )
        )
    return tuple(handles)


def _type_of(path: str, name: str) -> str:
    if name.startswith("anon_inode:"):
        return name.removeprefix("anon_inode:").strip("[]") or "anon_inode"
    for prefix in ("socket", "pipe"):
        if name.startswith(prefix + ":["):
            return prefix
    if name.startswith("/memfd:"):
        return "memfd"
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "file"
    for test, word in (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "directory"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISBLK, "block device"),
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            return word
    return "file"


def _read_flags(pid: int, number: int) -> int:
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
            for line in file.read(4096).splitlines():
                if line.startswith(b"flags:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError, IndexError):
        pass
    return 0
