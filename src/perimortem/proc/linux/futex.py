"""What one thread waits for, from its system call and the arguments."""

from __future__ import annotations

import os
import sys
from enum import Enum, auto

assert sys.platform == "linux"

from perimortem.procfs.file import read_text
from perimortem.procfs.stat import read_thread_stat

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine)
# linux/futex.h
_PRIVATE = 0x80
_CLOCK_REALTIME = 0x100
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_MUTEX_CONTENDED = 2
"""glibc's lll_lock waits on this value: locked, with waiters."""
_ROBUST_WAITERS, _ROBUST_OWNER = 0x80000000, 0x3FFFFFFF
"""A robust mutex has its owner in the word that is waited on (FUTEX_WAITERS, FUTEX_TID_MASK)."""
VFORK_WAITS = ("kernel_clone", "_do_fork", "do_fork")


class Wait(Enum):
    """What a thread waits for."""

    MUTEX = auto()
    CONDITION = auto()
    """A condition, a semaphore or the end of a thread, without a time limit."""
    KERNEL = auto()
    """Uninterruptibly, in the kernel."""
    OTHER = auto()
    """Anything that may come from outside; or it is running; or unknown."""


def classify_wait(pid: int, tid: int, tids: list[int]) -> Wait:
    """The wait of one thread; ``tids`` are all threads of its process."""
    facts = read_thread_stat(pid, tid)
    if facts is None or facts.state not in ("S", "D"):
        return Wait.OTHER
    if facts.state == "D":
        where = read_text(f"/proc/{pid}/task/{tid}/wchan")
        return Wait.OTHER if where.startswith(VFORK_WAITS) else Wait.KERNEL
    words = read_text(f"/proc/{pid}/task/{tid}/syscall").split()
    if len(words) < 7 or words[0] != str(_SYS_FUTEX):
        return Wait.OTHER
    try:
        _address, operation, value, timeout = (int(word, 16) for word in words[1:5])
    except ValueError:
        return Wait.OTHER
    return classify_futex(operation, value, timeout, tids)


def classify_futex(operation: int, value: int, timeout: int, tids: list[int]) -> Wait:
    """By the arguments of futex(2). A shared futex may be woken by another process."""
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
    if command == _WAIT and value & _ROBUST_WAITERS and value & _ROBUST_OWNER in tids:
        return Wait.MUTEX
    return Wait.CONDITION
