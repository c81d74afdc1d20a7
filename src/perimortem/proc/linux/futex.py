"""What one thread waits for, from its system call and the arguments."""

from __future__ import annotations

import os
import sys
from enum import Enum, auto

assert sys.platform == "linux"

from perimortem.procfs.file import read_text
from perimortem.procfs.futex import (
    CONTENDED,
    LOCKS_PI,
    OWNER,
    WAIT,
    WAITERS,
    FutexCall,
    parse_futex,
)
from perimortem.procfs.stat import read_thread_stat

_SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine)
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
        call = parse_futex(tuple(int(word, 16) for word in words[1:5]))
    except ValueError:
        return Wait.OTHER
    return classify_futex(call, tids) if call is not None else Wait.OTHER


def classify_futex(call: FutexCall, tids: list[int]) -> Wait:
    """By its arguments. A shared futex may be woken by another process."""
    if not call.is_wait or call.limit != 0:
        return Wait.OTHER
    if not call.is_private:
        # pthread_join: a shared futex on the thread's id.
        return Wait.CONDITION if call.value in tids else Wait.OTHER
    if call.command in LOCKS_PI:
        return Wait.MUTEX
    if call.command == WAIT and call.value == CONTENDED:
        return Wait.MUTEX
    if call.command == WAIT and call.value & WAITERS and call.value & OWNER in tids:
        return Wait.MUTEX
    return Wait.CONDITION
