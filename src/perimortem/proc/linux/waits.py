"""Does a process wait in the kernel? Is its main thread only waiting for a child?

/proc/PID/task/TID/syscall shows the call and its arguments (requires ptrace permission).
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.proc.linux.activity import AGENT_THREAD
from perimortem.proc.linux.cgroup import is_frozen
from perimortem.proc.linux.futex import Wait, classify_wait
from perimortem.procfs.calls import CALLS
from perimortem.procfs.file import read_text
from perimortem.procfs.threads import list_threads

_WAITS_FOR_CHILD = frozenset({"wait4", "waitid"})
_WAITS_FOR_SIGNAL = frozenset({"rt_sigsuspend", "rt_sigtimedwait", "pause"})


def describe_stuck(pid: int) -> str | None:
    """Why the process cannot continue, if one of its threads is in the kernel and the others wait for
    threads of the process; else None."""
    tids = list_threads(pid)
    waits = []
    for tid in tids:
        if tid != pid and read_text(f"/proc/{pid}/task/{tid}/comm").encode() == AGENT_THREAD:
            continue
        waits.append(classify_wait(pid, tid, tids))
        if waits[-1] is Wait.OTHER:
            return None
    if Wait.KERNEL not in waits:
        return None
    if any(is_frozen(f"/proc/{pid}/task/{tid}", "D") for tid in tids):
        return "its threads are frozen"
    return "its threads wait uninterruptibly in the kernel (disk, network file system)"


def is_waiting_for_child(pid: int) -> bool:
    """Its main thread sits in wait4(2) or waitid(2); or it has one thread, which waits for a signal, as
    timeout(1) does for SIGCHLD."""
    words = read_text(f"/proc/{pid}/syscall").split()
    call = CALLS.get(int(words[0])) if words and words[0].isdecimal() else None
    return call in _WAITS_FOR_CHILD or (call in _WAITS_FOR_SIGNAL and len(list_threads(pid)) == 1)
