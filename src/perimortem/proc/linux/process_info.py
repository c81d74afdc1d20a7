"""The identity, name and program of a process, from the live system."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

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


def identify_process(process: ProcessRef) -> ProcessInfo:
    """Name and program: what the kernel knows, without the process's memory."""
    facts = read_stat(process.pid)
    if facts is not None and facts.start_time_ticks != process.start_time_ticks:
        facts = None  # it has ended, and another one has its pid
    executable = None
    if facts is not None:
        with suppress(OSError):
            executable = printable(os.readlink(f"/proc/{process.pid}/exe"))
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    age_s = max(0.0, since_boot_s - process.start_time_ticks / _TICKS_PER_S)
    return ProcessInfo(
        ref=process,
        name=printable(facts.name) if facts else str(process.pid),
        executable=executable,
        command_line=(),
        started_at_ns=time.time_ns() - int(age_s * 1e9),
    )


def collect_process_info(process: ProcessRef) -> ProcessInfo:
    """With the command line, which lies in the process's memory: reading it may take for ever.

    If the process goes away meanwhile, what could be read."""
    try:
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            raw = file.read(_COMMAND_LINE_MAX)
    except OSError:
        raw = b""
    info = identify_process(process)
    facts = read_stat(process.pid)
    if facts is not None and facts.start_time_ticks != process.start_time_ticks:
        raw = b""  # of another process, which has its pid
    arguments = raw.rstrip(b"\0").split(b"\0") if raw else []
    texts = (printable(argument.decode("utf-8", "backslashreplace")) for argument in arguments)
    return replace(info, command_line=tuple(texts))


def refresh_executable(target: ProcessInfo) -> ProcessInfo:
    """After an exec: the program that runs now (a script's interpreter, a wrapper's command)."""
    try:
        executable = printable(os.readlink(f"/proc/{target.ref.pid}/exe"))
    except OSError:
        return target
    return replace(target, executable=executable)


def renew_process_info(
    target: ProcessInfo, collect: Callable[[ProcessRef], ProcessInfo] = collect_process_info
) -> ProcessInfo:
    """The same process under its current name, as exec changes name, program and arguments; and with its
    command line, if that was unknown."""
    facts = read_stat(target.ref.pid)
    if facts is None or facts.is_dead or facts.start_time_ticks != target.ref.start_time_ticks:
        return target
    if printable(facts.name) == target.name and target.command_line:
        return target
    return replace(collect(target.ref), started_at_ns=target.started_at_ns)


def leaves_by_own_system_call(program: int | str) -> bool | None:
    """Go's runtime calls exit_group itself, bypassing every hook. Reads the program, wherever it is.

    ``program``: its file, or the pid of a process that runs it, which works for a deleted one, too. None
    if it cannot be read."""
    try:
        if isinstance(program, int):
            fd = os.open(f"/proc/{program}/exe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        else:
            fd = _open_regular(program)
    except OSError:
        return None
    try:

        def read(offset: int, size: int) -> bytes:
            return os.pread(fd, size, offset)

        elf = read_elf(read)
        return elf is not None and is_go_program(elf, read)
    except OSError:
        return None
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
