"""What is read of a process and may never be answered, in a child of the monitor.

Command line, environment and maps are read under the lock of the process's memory, which one thread may
hold while it waits for a file system that does not answer (`ps` hangs on these, too). Its program may be
on a server that is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

assert sys.platform == "linux"

import msgspec

from perimortem.model.process import ProcessRef
from perimortem.proc import (
    collect_process_info,
    find_module,
    guess_caller,
    leaves_by_own_system_call,
    maps_file,
    read_variables,
)
from perimortem.reading.changes import read_change
from perimortem.reading.met import Met


def meet(pid: int, start_time_ticks: int, variables: tuple[str, ...]) -> Met:
    info = collect_process_info(ProcessRef(pid, start_time_ticks))
    return Met(info, read_variables(pid, variables) if variables else {})


_READS: dict[str, Callable[..., Any]] = {
    read.__name__: read
    for read in (
        find_module,
        guess_caller,
        leaves_by_own_system_call,
        maps_file,
        meet,
        read_change,
        read_variables,
    )
}


def serve(_settings: object, lines: Iterator[bytes], send: Callable[[bytes], None]) -> None:
    """Answers one question after another: a line [name, arguments] with a line."""
    for line in lines:
        name, arguments = msgspec.json.decode(line)
        send(msgspec.json.encode(_READS[name](*arguments)) + b"\n")
