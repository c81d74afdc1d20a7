"""What the threads of a process wait for: something from outside, or only each other?

A thread that waits for a lock can be woken by another thread of its process only. When all of them
wait so, and one of them for a mutex, nothing will ever happen again: that is a deadlock, and no idle
server looks like it. /proc/PID/task/TID/syscall shows the arguments of the call (the right of ptrace).
"""

from __future__ import annotations

import os
import sys
from enum import Enum, auto

assert sys.platform == "linux"

from perimortem.proc.activity import AGENT_THREAD
from perimortem.proc.stat import read_stat

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine)
_SYS_WAIT = {"x86_64": ("61", "247"), "aarch64": ("260", "95")}.get(os.uname().machine, ())
# linux/futex.h
_PRIVATE = 0x80
_CLOCK_REALTIME = 0x100
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_MUTEX_CONTENDED = 2
"""glibc's lll_lock waits on this value: locked, with waiters."""
_VFORK_WAITS = ("kernel_clone", "_do_fork", "do_fork")


class Wait(Enum):
    """What a thread waits for."""

    MUTEX = auto()
    CONDITION = auto()
    """A condition, a semaphore or the end of a thread, without a time limit."""
    KERNEL = auto()
    """Uninterruptibly, in the kernel."""
    OTHER = auto()
    """Anything that may come from outside; or it runs; or it cannot be told."""


def describe_stuck(pid: int) -> str | None:
    """Why nothing outside can wake the process, in words; None when something can, or may."""
    if not _has_glibc(pid):
        return None
    try:
        tids = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return None
    waits = []
    for tid in tids:
        if tid != pid and _read(f"/proc/{pid}/task/{tid}/comm").encode() == AGENT_THREAD:
            continue
        waits.append(classify_wait(pid, tid, tids))
        if waits[-1] is Wait.OTHER:
            return None
    if Wait.MUTEX in waits:
        count = len(waits)
        return (
            "its only thread waits for a mutex that nobody else can release"
            if count == 1
            else f"all its {count} threads wait for mutexes and for each other, without a time limit"
        )
    if Wait.KERNEL in waits:
        return "its threads wait uninterruptibly in the kernel (disk, network file system)"
    return None


def _has_glibc(pid: int) -> bool:
    """Other C libraries wait for threads and conditions by the values that glibc has for mutexes."""
    maps = _read(f"/proc/{pid}/maps", 1 << 20)
    return "/libc.so.6" in maps or "/libc-2." in maps


def is_waiting_for_child(pid: int) -> bool:
    """Its main thread sits in wait4(2) or waitid(2)."""
    words = _read(f"/proc/{pid}/syscall").split()
    return bool(words) and words[0] in _SYS_WAIT


def classify_wait(pid: int, tid: int, tids: list[int]) -> Wait:
    """The wait of one thread; ``tids`` are all threads of its process."""
    facts = read_stat(pid, tid)
    if facts is None or facts.state not in ("S", "D"):
        return Wait.OTHER
    if facts.state == "D":
        where = _read(f"/proc/{pid}/task/{tid}/wchan")
        return Wait.OTHER if where.startswith(_VFORK_WAITS) else Wait.KERNEL
    words = _read(f"/proc/{pid}/task/{tid}/syscall").split()
    if len(words) < 7 or words[0] != str(_SYS_FUTEX):
        return Wait.OTHER
    try:
        _address, operation, value, timeout = (int(word, 16) for word in words[1:5])
    except ValueError:
        return Wait.OTHER
    return classify_futex(operation, value, timeout, tids)


def classify_futex(operation: int, value: int, timeout: int, tids: list[int]) -> Wait:
    """By the arguments of futex(2). A futex that is shared may be woken by another process."""
    command = operation & ~(_PRIVATE | _CLOCK_REALTIME)
    operation_is_wait = command in (_WAIT, _WAIT_BITSET, _LOCK_PI, _LOCK_PI2)
    if not operation_is_wait or timeout != 0:
        return Wait.OTHER
    if not operation & _PRIVATE:
        # pthread_join: a shared futex on the thread's id.
        return Wait.CONDITION if value & 0xFFFFFFFF in tids else Wait.OTHER
    if command in (_LOCK_PI, _LOCK_PI2):
        return Wait.MUTEX
    if command == _WAIT and value & 0xFFFFFFFF == _MUTEX_CONTENDED:
        return Wait.MUTEX
    return Wait.CONDITION


def _read(path: str, size: int = 4096) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(size)
    except OSError:
        return ""
