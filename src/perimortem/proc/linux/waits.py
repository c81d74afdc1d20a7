"""What the threads of a process wait for: something from outside, or only each other?

A thread that waits for a lock can be woken only by another thread of its process. If all of them
wait like that, and one of them for a mutex, nothing will ever happen again: that is a deadlock, and no
idle server looks like it. /proc/PID/task/TID/syscall shows the arguments of the call (requires ptrace
permission).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

assert sys.platform == "linux"

from perimortem.proc.linux.activity import AGENT_THREAD
from perimortem.proc.linux.cgroup import is_frozen
from perimortem.proc.linux.futex import Wait, classify_wait
from perimortem.procfs.file import read_text
from perimortem.procfs.threads import list_threads

_SYS_WAIT = {"x86_64": ("61", "247"), "aarch64": ("260", "95")}.get(os.uname().machine, ())


def describe_stuck(pid: int, has_glibc: Callable[[int], bool]) -> str | None:
    """Why nothing outside can wake the process; None if something can, or may.

    ``has_glibc``: whether it uses that C library. Others wait for threads and conditions with the values
    that glibc uses for mutexes."""
    tids = list_threads(pid)
    waits = []
    for tid in tids:
        if tid != pid and read_text(f"/proc/{pid}/task/{tid}/comm").encode() == AGENT_THREAD:
            continue
        waits.append(classify_wait(pid, tid, tids))
        if waits[-1] is Wait.OTHER:
            return None
    if Wait.MUTEX in waits:
        if not has_glibc(pid):
            return None
        count = len(waits)
        return (
            "its only thread waits for a mutex that no other thread can release"
            if count == 1
            else f"all its {count} threads wait for mutexes and for each other, without a time limit"
        )
    if Wait.KERNEL in waits:
        if any(is_frozen(f"/proc/{pid}/task/{tid}", "D") for tid in tids):
            return "its threads are frozen"
        return "its threads wait uninterruptibly in the kernel (disk, network file system)"
    return None


def is_waiting_for_child(pid: int) -> bool:
    """Its main thread sits in wait4(2) or waitid(2)."""
    words = read_text(f"/proc/{pid}/syscall").split()
    return bool(words) and words[0] in _SYS_WAIT
