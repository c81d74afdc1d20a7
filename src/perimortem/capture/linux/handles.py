"""Open descriptors of a process: /proc/PID/fd and fdinfo, as text (proc_pid_fdinfo(5))."""

from __future__ import annotations

import os
import stat
import sys

assert sys.platform == "linux"

from perimortem.capture.linux.sockets import SocketTable
from perimortem.model.snapshot import Handle
from perimortem.text import printable

HANDLES_MAX = 65536
_FDINFO_MAX = 16384
_DETAIL_LINES_MAX = 64
_WATCH_WORDS = ("tfd", "inotify", "fanotify", "lock")
"""Lines of fdinfo that occur once per watched object."""


def collect_handles(pid: int, soft_errors: list[str]) -> tuple[Handle, ...]:
    """Every descriptor with its type, its target, and the kernel's details."""
    directory = f"/proc/{pid}/fd"
    try:
        numbers = sorted(int(name) for name in os.listdir(directory))
    except OSError as error:
        soft_errors.append(f"open descriptors could not be read: {error.strerror}")
        return ()
    if len(numbers) > HANDLES_MAX:
        soft_errors.append(f"{len(numbers) - HANDLES_MAX} of {len(numbers)} descriptors left out")
    sockets = SocketTable(pid)
    handles = []
    for number in numbers[:HANDLES_MAX]:
        try:
            name = os.readlink(f"{directory}/{number}")
        except OSError:
            continue  # closed meanwhile
        type_name = _type_of(f"{directory}/{number}", name)
        flags, details = _read_fdinfo(pid, number)
        if type_name == "socket":
            details |= sockets.describe(number, _inode_of(name))
        handles.append(Handle(number, type_name, printable(name), flags, details))
    _name_partners(handles)
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


def _read_fdinfo(pid: int, number: int) -> tuple[int, dict[str, str | int]]:
    """(flags of open(2), the other lines); repeated lines are counted, and the first ones kept."""
    flags = 0
    details: dict[str, str | int] = {}
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", "rb", buffering=0) as file:
            text = file.read(_FDINFO_MAX).decode("utf-8", "backslashreplace")
    except OSError:
        return 0, {}
    for line in text.splitlines()[:_DETAIL_LINES_MAX]:
        word = line.split(maxsplit=1)[0].rstrip(":") if line.split() else ""
        if word in _WATCH_WORDS:
            listed = f"{details[word]}; " if word in details else ""
            details[word] = listed + " ".join(line.split()[1:])
            continue
        key, colon, value = line.partition(":")
        if not colon:
            continue
        value = value.strip()
        if key == "flags":
            try:
                flags = int(value, 8)
            except ValueError:
                flags = 0
        elif key != "mnt_id":
            details[key.strip()] = int(value) if value.isdecimal() else printable(value)
    return flags, details


def _inode_of(name: str) -> str:
    return name.partition("[")[2].rstrip("]")


def _name_partners(handles: list[Handle]) -> None:
    """The other ends of a pipe within the same process."""
    ends: dict[str, list[int]] = {}
    for handle in handles:
        if handle.type_name == "pipe":
            ends.setdefault(handle.object_name, []).append(handle.number)
    for handle in handles:
        others = [n for n in ends.get(handle.object_name, ()) if n != handle.number]
        if others:
            handle.details["same_pipe"] = " ".join(str(number) for number in others[:16])
