"""The identity, name and program of a process, from the live system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

assert sys.platform == "win32"

from perimortem.errors import AccessDenied, ProcessGone
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.proc.windows.parameters import read_command_line, split_command_line
from perimortem.proc.windows.stat import read_stat
from perimortem.text import printable
from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error
from perimortem.winapi.process import read_image_path

_EPOCH_100NS = 116_444_736_000_000_000
"""1970 in 100 ns since 1601."""


def find_process(pid: int) -> ProcessRef:
    """The process that has this pid now. Raises :class:`ProcessGone`, :class:`AccessDenied`."""
    with kernel32.open_process(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, pid) as handle:
        error = 0 if handle else last_error()
        # OpenProcess ignores the two lowest bits: 1001 would open 1000.
        if handle and kernel32.GetProcessId(handle) != pid:
            error = kernel32.ERROR_INVALID_PARAMETER
    if error == kernel32.ERROR_ACCESS_DENIED:
        raise AccessDenied(
            f"cannot query process {pid}",
            why="PROCESS_QUERY_LIMITED_INFORMATION is refused: it is protected, or another user's",
            remedy="run perimortem as administrator",
        )
    if error and error != kernel32.ERROR_INVALID_PARAMETER:
        raise AccessDenied(f"cannot query process {pid}", why=describe_error(error))
    facts = read_stat(pid) if not error else None
    if facts is None:
        raise ProcessGone(f"there is no process {pid}", remedy="tasklist lists all processes")
    if facts.is_dead:
        raise ProcessGone(f"process {pid} has ended", why="only a handle of it is left")
    return ProcessRef(pid, facts.start_time_ticks)


def identify_process(process: ProcessRef) -> ProcessInfo:
    """Name and program: what the system knows, without the process's memory."""
    facts = read_stat(process.pid)
    if facts is not None and facts.start_time_ticks != process.start_time_ticks:
        facts = None  # it has ended, and another one has its pid
    executable = None
    if facts is not None:
        rights = kernel32.PROCESS_QUERY_LIMITED_INFORMATION
        with kernel32.open_process(rights, process.pid) as handle:
            executable = read_image_path(handle) if handle else None
    started_at_ns = (process.start_time_ticks - _EPOCH_100NS) * 100
    return ProcessInfo(
        ref=process,
        name=printable(facts.name) if facts else str(process.pid),
        executable=None if executable is None else printable(executable),
        command_line=(),
        started_at_ns=started_at_ns if started_at_ns > 0 else time.time_ns(),
    )


def collect_process_info(process: ProcessRef) -> ProcessInfo:
    """With the command line; if the process goes away meanwhile, what could be read."""
    arguments = split_command_line(read_command_line(process.pid))
    info = identify_process(process)
    return replace(info, command_line=tuple(printable(argument) for argument in arguments))


def refresh_executable(target: ProcessInfo) -> ProcessInfo:
    """The program that runs now: on Windows a process never executes another one."""
    return target


def renew_process_info(
    target: ProcessInfo, collect: Callable[[ProcessRef], ProcessInfo] = collect_process_info
) -> ProcessInfo:
    """The same process with its name: when seen in its first moment it had none yet."""
    if target.executable is not None:
        return target
    now = collect(target.ref)
    return target if now.executable is None else replace(now, started_at_ns=target.started_at_ns)


def leaves_by_own_system_call(program: int | str) -> bool | None:
    """Bypassing every hook: on Windows ExitProcess notifies every library."""
    return False
