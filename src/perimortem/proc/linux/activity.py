"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

assert sys.platform == "linux"

AGENT_THREAD = b"perimortem\n"
"""The agent's own thread runs once a second, independently of the program: it does not count."""


@dataclass(frozen=True)
class Activity:
    """Counters over all threads; equal ones mean that none of them ran in between."""

    threads: int
    run_ns: int
    slices: int
    io_bytes: int


def read_activity(pid: int) -> Activity | None:
    """CPU time and context switches of every thread, and the I/O of the process; None if gone."""
    threads = run_ns = slices = 0
    has_agent_thread = False
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    for tid in tids:
        base = f"/proc/{pid}/task/{tid}"
        ran = _read(f"{base}/schedstat").split()  # run time, wait time, timeslices
        if tid != str(pid) and _read(f"{base}/comm") == AGENT_THREAD:
            has_agent_thread = True
            continue
        threads += 1
        if len(ran) >= 3 and ran[0].isdigit() and ran[2].isdigit():
            run_ns += int(ran[0])
            slices += int(ran[2])
    if not threads:
        return None
    return Activity(threads, run_ns, slices, 0 if has_agent_thread else _read_io(pid))


def _read_io(pid: int) -> int:
    """Bytes read and written by any system call; 0 if not permitted."""
    total = 0
    for line in _read(f"/proc/{pid}/io").splitlines():
        name, _, value = line.partition(b":")
        if name in (b"rchar", b"wchar") and value.strip().isdigit():
            total += int(value)
    return total


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096)
    except OSError:
        return b""
