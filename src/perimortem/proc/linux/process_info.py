"""The identity, name and program of a process, from the live system."""

from __future__ import annotations

import errno
import functools
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

assert sys.platform == "linux"

from perimortem.binary.elf import is_go_program, read_elf
from perimortem.errors import ProcessGone
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.procfs.stat import read_stat
from perimortem.text import printable

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_COMMAND_LINE_MAX = 64 << 10


def find_process(pid: int) -> ProcessRef:
    """The process that has this pid now. Raises :class:`ProcessGone`."""
    facts = read_stat(pid)
    if facts is None:
        raise ProcessGone(f"there is no process {pid}", remedy="ps -e lists all processes")
    if facts.is_dead:
        raise ProcessGone(f"process {pid} has ended", why="it is a zombie")
    return ProcessRef(pid, facts.start_time_ticks)


def collect_process_info(process: ProcessRef) -> ProcessInfo:
    """Name, program and command line; if the process goes away meanwhile, what could be read."""
    facts = read_stat(process.pid)
    base = Path(f"/proc/{process.pid}")
    try:
        executable = printable(os.readlink(base / "exe"))
    except OSError:
        executable = None
    try:
        with open(base / "cmdline", "rb") as file:
            raw = file.read(_COMMAND_LINE_MAX)
    except OSError:
        raw = b""
    arguments = raw.rstrip(b"\0").split(b"\0") if raw else []
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    age_s = max(0.0, since_boot_s - process.start_time_ticks / _TICKS_PER_S)
    return ProcessInfo(
        ref=process,
        name=printable(facts.name) if facts else str(process.pid),
        executable=executable,
        command_line=tuple(printable(a.decode("utf-8", "backslashreplace")) for a in arguments),
        started_at_ns=time.time_ns() - int(age_s * 1e9),
    )


def refresh_executable(target: ProcessInfo) -> ProcessInfo:
    """After an exec: the program that runs now (a script's interpreter, a wrapper's command)."""
    try:
        executable = printable(os.readlink(f"/proc/{target.ref.pid}/exe"))
    except OSError:
        return target
    return replace(target, executable=executable)


def renew_process_info(target: ProcessInfo) -> ProcessInfo:
    """The same process under its current name; exec changes name, program and arguments."""
    facts = read_stat(target.ref.pid)
    if facts is None or facts.is_dead or printable(facts.name) == target.name:
        return target
    if facts.start_time_ticks != target.ref.start_time_ticks:
        return target
    now = collect_process_info(target.ref)
    return replace(now, started_at_ns=target.started_at_ns)


def leaves_by_own_system_call(target: ProcessInfo) -> bool:
    """Go's runtime calls exit_group itself, bypassing every hook."""
    return target.executable is not None and _is_go(target.executable)


@functools.lru_cache(maxsize=256)
def _is_go(executable: str) -> bool:
    try:
        fd = _open_regular(executable)
    except OSError:
        return False
    try:

        def read(offset: int, size: int) -> bytes:
            return os.pread(fd, size, offset)

        elf = read_elf(read)
        return elf is not None and is_go_program(elf, read)
    except OSError:
        return False
    finally:
        os.close(fd)


def _open_regular(path: str) -> int:
    """The path comes from the process: it may now be a pipe, or a device that must not be opened."""
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
