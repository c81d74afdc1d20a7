"""The processes of a control group: how systemd keeps a unit's processes together (cgroups(7))."""

from __future__ import annotations

import os
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.procfs.cgroup import ROOTS_2, read_groups
from perimortem.procfs.file import read_text

HIERARCHIES = (*ROOTS_2, Path("/sys/fs/cgroup/systemd"))
"""Version 2 alone, beside version 1, and systemd's own hierarchy of version 1."""
_FREEZER = "/sys/fs/cgroup/freezer"
_DEPTH_MAX = 8
_UNIT_SUFFIXES = (".service", ".scope", ".slice", ".socket", ".mount", ".timer")


def find_unit(name: str) -> list[Path]:
    """Directories of the unit; "redis" means redis.service. A template's instances match `x@*`."""
    wanted = name if name.endswith(_UNIT_SUFFIXES) else f"{name}.service"
    found = []
    for root in HIERARCHIES:
        if not (root / "cgroup.procs").exists():
            continue
        for directory, names, _ in os.walk(root):
            depth = len(Path(directory).relative_to(root).parts)
            if os.path.basename(directory) == wanted:
                found.append(Path(directory))
                names.clear()
            elif depth >= _DEPTH_MAX:
                names.clear()
        if found:
            break
    return found


def is_frozen(task: str, state: str) -> bool:
    """Frozen together with its group; ``task``: a directory of /proc.

    Threads that were running then sleep in a freezer function. Those that slept before stay where they
    were; since Linux 6.1, in a freezer of version 1, in state D.
    """
    if read_text(f"{task}/wchan") in ("do_freezer_trap", "__refrigerator"):
        return True
    return state == "D" and _read_freezer_state(task) == "FROZEN"


def _read_freezer_state(task: str) -> str:
    for group in read_groups(task):
        if "freezer" in group.controllers:
            return read_text(f"{_FREEZER}{group.path}/freezer.state").strip()
    return ""


def list_group_processes(directories: list[Path]) -> list[int]:
    """Pids in these groups and in their descendants."""
    pids: set[int] = set()
    for top in directories:
        for directory, _, _ in os.walk(top):
            try:
                with open(os.path.join(directory, "cgroup.procs"), encoding="ascii") as file:
                    pids.update(int(line) for line in file)
            except (OSError, ValueError):
                continue
    pids.discard(0)  # a process of another pid namespace
    return sorted(pids)
