"""Reads of a process. On Windows the system answers them itself, without the process."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.clock import Clock
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.proc import (
    collect_process_info,
    find_module,
    guess_caller,
    leaves_by_own_system_call,
    maps_file,
    read_variables,
    renew_process_info,
)
from perimortem.reading.changes import read_change
from perimortem.reading.met import Met

PATIENCE_S = 0.03


class ProcessReader:
    """For one monitor."""

    def __init__(self, clock: Clock) -> None:
        self.starved_ns = 0

    def warm_up(self) -> None:
        return

    def pids(self) -> set[int]:
        return set()

    def meet(
        self, process: ProcessRef, variables: tuple[str, ...], patience_s: float = PATIENCE_S
    ) -> Met:
        return Met(collect_process_info(process), read_variables(process.pid, variables))

    def collect_process_info(
        self, process: ProcessRef, patience_s: float = PATIENCE_S
    ) -> ProcessInfo:
        return collect_process_info(process)

    def renew_process_info(self, target: ProcessInfo) -> ProcessInfo:
        return renew_process_info(target)

    def read_variables(self, pid: int, names: tuple[str, ...]) -> dict[str, str]:
        return read_variables(pid, names)

    def guess_caller(self, pid: int, stack_pointer: int) -> tuple[str, int] | None:
        return guess_caller(pid, stack_pointer)

    def find_module(self, pid: int, address: int) -> tuple[str, int] | None:
        return find_module(pid, address)

    def maps_file(self, pid: int, inode: int, part: str) -> bool:
        return maps_file(pid, inode, part)

    def look_at_program(self, pid: int, executable: str | None) -> None:
        return

    def leaves_by_own_system_call(self, executable: str | None) -> bool | None:
        return leaves_by_own_system_call(executable or "")

    def read_change(self, path: str) -> tuple[int, int, int] | None:
        return read_change(path)

    def close(self) -> None:
        return
