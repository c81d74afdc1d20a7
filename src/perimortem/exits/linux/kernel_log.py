"""Kernel log messages about a death: /dev/kmsg, read from the start of the watch on.

The kernel logs, with the pid: a fault that no handler took ("NAME[PID]: segfault at ... ip ... in
LIB[...]"), an out-of-memory kill ("Killed process PID (NAME) ..."), a seccomp kill (audit type
1326). Readable by root, or if kernel.dmesg_restrict is 0. The kernel limits the rate of these
lines: what their absence means depends on it (``kernel_log_rate``).
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.exits.linux.kernel_log_rate import logs_faults, oldest_needed_s
from perimortem.model.system_log import FaultLine, SystemLogFindings
from perimortem.text import printable

_RECORDS_MAX = 10_000
_AUDIT_ARCH = {"x86_64": "c000003e", "aarch64": "c00000b7"}.get(os.uname().machine)
_KMSG = os.makedev(1, 11)
_NAME_MAX = 15
"""TASK_COMM_LEN without its zero byte."""


# show_signal_msg() in arch/x86/mm/fault.c, and do_trap's unhandled_signal in kernel/traps.c.
_FAULT = re.compile(r"(?: |: ).*?(segfault at|general protection fault|trap |bad frame)")


def find_past_kill(pid: int, name: str, since_s: float) -> str | None:
    """The line of an out-of-memory kill of this process, if the log still has one.

    ``name``: as the log has it; ``since_s``: when the process began, in the log's time."""
    try:
        fd = _open_log()
    except OSError:
        return None
    wanted = f"Killed process {pid} ({name[:_NAME_MAX]})"
    try:
        records = (record for record in _read_records(fd) if record is not None)
        found = (line for at_s, line in records if at_s >= since_s and wanted in line)
        return next((printable(line.strip()) for line in found), None)
    finally:
        os.close(fd)


class KernelLog:
    """Remembers the position in the log when the watch began."""

    def __init__(self) -> None:
        """Raises OSError if the log cannot be read."""
        self._fd = _open_log()
        os.lseek(self._fd, 0, os.SEEK_END)
        self._lines: deque[str] = deque(maxlen=_RECORDS_MAX)
        self._gap_until_s = 0.0
        """Before that, in the log's time, records were overwritten that we had not read."""

    def collect_words(self, pid: int, tids: set[int], now_ns: int) -> SystemLogFindings:
        """All log messages about ``pid`` and its threads since the watch began.

        ``now_ns``: CLOCK_MONOTONIC."""
        self._drain()
        words = derive_words(self._lines, pid, tids)
        if words.fault is not None:
            return words
        is_complete = self._gap_until_s < oldest_needed_s(now_ns)
        return replace(
            words, is_readable=is_complete, logs_faults=is_complete and logs_faults(now_ns)
        )

    def _drain(self) -> None:
        is_after_gap = False
        for record in _read_records(self._fd):
            if record is None:
                is_after_gap = True
                continue
            at_s, line = record
            if is_after_gap:
                self._gap_until_s = at_s
                is_after_gap = False
            self._lines.append(line)

    def close(self) -> None:
        os.close(self._fd)


def _open_log() -> int:
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if os.fstat(fd).st_rdev != _KMSG:
        os.close(fd)
        raise OSError(errno.ENODEV, "/dev/kmsg is another device here")
    return fd


def _read_records(fd: int) -> Iterator[tuple[float, str] | None]:
    """(seconds in the log's time, line) of each up to the newest; None where some were overwritten."""
    while True:
        try:
            record = os.read(fd, 8192)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EPIPE:
                return
            yield None
            continue
        if not record:
            return
        head, _, text = record.partition(b";")
        yield _read_time(head), text.split(b"\n", 1)[0].decode("utf-8", "replace")


def _read_time(head: bytes) -> float:
    """Of a record: "priority,sequence,microseconds,flags"; if there is none, as late as can be."""
    try:
        return int(head.split(b",")[2]) / 1e6
    except (IndexError, ValueError):
        return float("inf")


def derive_words(lines: Iterable[str], pid: int, tids: set[int]) -> SystemLogFindings:
    """Pure: the lines about ``pid``; a fault is logged with the id of its thread."""
    fault = oom = seccomp = None
    threads = [f"[{tid}]" for tid in tids | {pid}]
    kill = f"Killed process {pid} ("
    for line in lines:
        if any(_FAULT.match(line, at) for at in _find_all(line, threads)):
            fault = _parse_fault(line)
        elif kill in line:
            oom = printable(line.strip())
        elif "type=1326" in line and re.search(rf"\bpid={pid}\b", line):
            seccomp = _describe_seccomp(line)
    return SystemLogFindings(is_readable=True, fault=fault, oom_kill=oom, seccomp=seccomp)


def _describe_seccomp(line: str) -> str:
    """With the name of the system call, if it was one of this machine's own."""
    from perimortem.procfs.calls import CALLS

    number = re.search(r"\bsyscall=(\d+)\b", line)
    arch = re.search(r"\barch=([0-9a-f]+)\b", line)
    name = CALLS.get(int(number[1])) if number and arch and arch[1] == _AUDIT_ARCH else None
    said = f"{name} (system call {number[1]}) is not allowed: " if number and name else ""
    return printable(said + line.strip())


def _find_all(line: str, wanted: Iterable[str]) -> Iterator[int]:
    """Where each of them is followed by something."""
    for word in wanted:
        at = line.find(word)
        while at >= 0:
            yield at + len(word)
            at = line.find(word, at + 1)


def _parse_fault(line: str) -> FaultLine:
    # "... in libfoo.so[1139,555555555000+1000]", the first number being ip's offset in the file
    place = re.search(r" in ([^\[\s]+)\[(?:([0-9a-f]+),)?[0-9a-f]+\+[0-9a-f]+\]", line)
    module = printable(place[1]) if place else None
    offset = int(place[2], 16) if place and place[2] else None
    text = re.sub(r" likely on CPU.*", "", line).strip()
    return FaultLine(printable(text), module, offset)
