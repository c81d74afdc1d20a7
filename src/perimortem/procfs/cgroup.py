"""/proc/PID/cgroup: the control groups of a process (cgroups(7))."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.procfs.file import read_file

ROOTS_2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Version 2 alone, and beside version 1."""
MEMORY_ROOT_1 = Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True)
class Group:
    """``controllers``: empty for the one of version 2. ``path`` begins at the root of its hierarchy."""

    controllers: tuple[str, ...]
    path: str


def read_groups(task: str) -> list[Group]:
    """``task``: a directory of /proc; empty if it is gone."""
    return parse_groups(read_file(f"{task}/cgroup"))


def parse_groups(raw: bytes) -> list[Group]:
    """Lines such as ``4:memory:/a/b`` or ``0::/a/b``."""
    groups = []
    for line in os.fsdecode(raw).split("\n"):
        _, colon, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon:
            groups.append(Group(tuple(filter(None, controllers.split(","))), path))
    return groups
