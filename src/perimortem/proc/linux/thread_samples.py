"""What each thread waits for, and the CPU time it got: /proc/PID/task/TID.

``stat`` has the state, ``schedstat`` run and waiting time in nanoseconds, ``syscall`` the call that it
is in (requires ptrace permission), ``wchan`` the place in the kernel (0 without that permission).
"""

from __future__ import annotations

import os
import sys
import time

assert sys.platform == "linux"

from perimortem.model.process import ProcessRef
from perimortem.model.thread_sample import HangKind, ProcessSample, ThreadSample
from perimortem.proc.linux.cgroup import is_frozen
from perimortem.proc.linux.futex import VFORK_WAITS, Wait, classify_futex
from perimortem.procfs.calls import CALLS
from perimortem.procfs.file import read_record, read_text
from perimortem.procfs.futex import parse_futex
from perimortem.procfs.stat import read_stat, read_thread_stat
from perimortem.procfs.status import find_field, read_status
from perimortem.procfs.threads import list_threads
from perimortem.text import printable

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_THREADS_MAX = 200
"""Threads sampled, including the main thread. Each costs some 30 us."""
_ON_SOCKETS = frozenset(
    (
        "connect",
        "accept",
        "accept4",
        "sendto",
        "recvfrom",
        "sendmsg",
        "recvmsg",
        "recvmmsg",
        "sendmmsg",
    )
)
_ON_DESCRIPTORS = frozenset(("read", "write", "readv", "writev", "ioctl"))
_IN_WORDS = {
    "poll": "an event (poll)", "ppoll": "an event (ppoll)", "select": "an event (select)",
    "pselect6": "an event (pselect6)", "epoll_wait": "an event (epoll_wait)",
    "epoll_pwait": "an event (epoll_pwait)", "epoll_pwait2": "an event (epoll_pwait2)",
    "wait4": "a child (wait4)", "waitid": "a child (waitid)", "nanosleep": "a time (nanosleep)",
    "clock_nanosleep": "a time (clock_nanosleep)", "pause": "a signal (pause)",
    "rt_sigsuspend": "a signal (rt_sigsuspend)", "rt_sigtimedwait": "a signal (rt_sigtimedwait)",
    "io_uring_enter": "an event (io_uring_enter)",
}  # fmt: skip
_BY_STATE: dict[str, tuple[HangKind | None, str]] = {
    "R": (None, ""),
    "T": (HangKind.STOPPED, "SIGSTOP or SIGTSTP; SIGCONT lets it run on"),
    "t": (HangKind.TRACED, ""),
}
_CORE = "the kernel writes its core, or waits for the process that collects it"
_NETWORK_WCHAN = ("nfs", "rpc_", "cifs", "smb", "ceph", "fuse", "9p", "p9_", "sk_", "tcp_", "inet_")


def sample_threads(process: ProcessRef) -> ProcessSample | None:
    """None if it is gone."""
    facts = read_stat(process.pid)
    if facts is None or facts.start_time_ticks != process.start_time_ticks or facts.is_dead:
        return None
    tids = sorted(list_threads(process.pid))
    if not tids:
        return None
    monotonic_ns = time.monotonic_ns()
    status = read_status(process.pid)
    if status is not None and status.is_dumping_core:
        core = ThreadSample(
            process.pid, printable(facts.name), HangKind.DISK, _CORE, monotonic_ns, 0, 0, 0
        )
        return ProcessSample(monotonic_ns, _read_suspended_ns(), (core,), len(tids))
    looked = (_look(process.pid, tid, tids) for tid in tids[:_THREADS_MAX])
    return ProcessSample(
        monotonic_ns=monotonic_ns,
        suspended_ns=_read_suspended_ns(),
        threads=tuple(thread for thread in looked if thread is not None),
        thread_count=len(tids),
    )


def _read_suspended_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()


def _look(pid: int, tid: int, tids: list[int]) -> ThreadSample | None:
    facts = read_thread_stat(pid, tid)
    if facts is None or facts.has_ended:
        return None
    wait, words = _find_wait(pid, tid, facts.state, tids)
    at_ns = time.monotonic_ns()
    counted = [
        int(w) for w in read_text(f"/proc/{pid}/task/{tid}/schedstat").split() if w.isdecimal()
    ]
    run_ns, ready_ns, slices = counted if len(counted) == 3 else (0, 0, 0)
    return ThreadSample(
        tid,
        printable(facts.name),
        wait,
        words,
        at_ns,
        run_ns,
        ready_ns,
        slices,
        facts.user_ticks * _TICK_NS,
        facts.kernel_ticks * _TICK_NS,
        _count_transfers(pid, tid),
    )


def _count_transfers(pid: int, tid: int) -> int:
    """read(2), write(2) and the like; 0 if it may not be seen (proc_pid_io(5))."""
    record = read_record(f"/proc/{pid}/task/{tid}/io")
    counts = [find_field(record, name) or "" for name in ("syscr", "syscw")]
    return sum(int(count) for count in counts if count.isdecimal())


def _find_wait(pid: int, tid: int, state: str, tids: list[int]) -> tuple[HangKind | None, str]:
    base = f"/proc/{pid}/task/{tid}"
    if state in _BY_STATE:
        return _BY_STATE[state]
    if is_frozen(base, state):
        return HangKind.FROZEN, ""
    wchan = read_text(f"{base}/wchan")
    wchan = "" if wchan == "0" else wchan
    words = read_text(f"{base}/syscall").split()
    call = CALLS.get(int(words[0]), "") if words and words[0].isdecimal() else ""
    if state == "D" and wchan.startswith(VFORK_WAITS):
        return HangKind.WAITING, "a child (vfork)"
    if state == "D":
        is_far = any(part in wchan for part in _NETWORK_WCHAN)
        place = " in ".join(part for part in (call, wchan) if part)
        return (HangKind.NETWORK if is_far else HangKind.DISK), place
    return _find_wait_of_call(pid, call, wchan, words, tids)


def _find_wait_of_call(
    pid: int, call: str, wchan: str, words: list[str], tids: list[int]
) -> tuple[HangKind, str]:
    if call in ("futex", "futex_waitv"):
        return _find_lock(words, tids)
    if call in _ON_SOCKETS:
        return HangKind.NETWORK, call
    if call in _ON_DESCRIPTORS:
        return _find_descriptor(pid, call, words)
    if call in _IN_WORDS:
        return HangKind.WAITING, _IN_WORDS[call]
    place = " in ".join(part for part in (call, wchan) if part)
    return (HangKind.WAITING if place else HangKind.UNKNOWN), place


def _find_lock(words: list[str], tids: list[int]) -> tuple[HangKind, str]:
    try:
        call = parse_futex(tuple(int(word, 16) for word in words[1:5]))
    except ValueError:
        call = None
    if call is None:
        return HangKind.LOCK, "futex"
    wait = classify_futex(call, tids)
    if wait is Wait.MUTEX:
        return HangKind.LOCK, "a mutex (futex)"
    if wait is Wait.CONDITION:
        return HangKind.LOCK, "a condition, a semaphore or the end of a thread (futex)"
    return HangKind.LOCK, "a lock, with a time limit or shared with other processes (futex)"


def _find_descriptor(pid: int, call: str, words: list[str]) -> tuple[HangKind, str]:
    try:
        number = int(words[1], 16)
        target = os.readlink(f"/proc/{pid}/fd/{number}")
    except (OSError, ValueError, IndexError):
        return HangKind.WAITING, call
    what = printable(target)
    if target.startswith("socket:"):
        return HangKind.NETWORK, f"{call} of descriptor {number} ({what})"
    return HangKind.WAITING, f"{call} of descriptor {number} ({what})"
