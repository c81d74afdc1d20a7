"""Ends of processes by handle: GetExitCodeProcess returns all 32 bits, for any parent.

A handle holds the process, so that its pid cannot be reused under us.
"""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

from perimortem.errors import AccessDenied, ProcessGone
from perimortem.exits.decode import decode_exit_code
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import Fact
from perimortem.model.process import ProcessRef
from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error

_RIGHTS = kernel32.SYNCHRONIZE | kernel32.PROCESS_QUERY_LIMITED_INFORMATION
ENDED_BY_POLICY_CODE = 124
"""The exit code of a process that --on-hang ended, as with timeout(1)."""


def open_handle(process: ProcessRef) -> int:
    """A handle that certainly refers to ``process``: its creation time is compared after the open."""
    handle = kernel32.OpenProcess(_RIGHTS, False, process.pid)
    if not handle:
        error = last_error()
        if error == kernel32.ERROR_INVALID_PARAMETER:
            raise ProcessGone(f"process {process.pid} has ended")
        raise AccessDenied(
            f"cannot hold process {process.pid}",
            why=f"SYNCHRONIZE is refused: {describe_error(error)}",
            remedy="run perimortem as administrator; a protected process cannot be opened",
        )
    times = [kernel32.FILETIME() for _ in range(4)]
    kernel32.GetProcessTimes(handle, *(ctypes.byref(time) for time in times))
    if times[0].value != process.start_time_ticks:
        kernel32.CloseHandle(handle)
        raise ProcessGone(f"process {process.pid} has ended", why="its pid was reused")
    return int(handle)


class HandleExitWatch:
    """Any process, child or not."""

    retry_after_s = 0.002

    def __init__(self, process: ProcessRef) -> None:
        self.process = process
        self.facts: list[Fact] = []
        self._handle = open_handle(process)

    def waitable(self) -> int:
        return self._handle

    def collect_exit(self, now_ns: int) -> Exit | None:
        if kernel32.WaitForSingleObject(self._handle, 0) != kernel32.WAIT_OBJECT_0:
            return None
        code = kernel32.DWORD()
        if not kernel32.GetExitCodeProcess(self._handle, ctypes.byref(code)):
            return Exit(ExitKind.UNKNOWN, ExitSource.NONE)
        return decode_exit_code(code.value, ExitSource.PROCESS_HANDLE)

    def send_signal(self, number: int) -> None:
        """Windows has no external request to end: each signal is TerminateProcess."""
        pid = self.process.pid
        with kernel32.open_process(kernel32.PROCESS_TERMINATE, pid) as handle:
            # The pid is this process's as long as we hold it.
            if not handle or not kernel32.TerminateProcess(handle, ENDED_BY_POLICY_CODE):
                raise OSError(describe_error(last_error()))

    def close(self) -> None:
        kernel32.CloseHandle(self._handle)
