"""What each thread waits for, and the CPU time it got: its wait reason and its times."""

from __future__ import annotations

import sys
import time

assert sys.platform == "win32"

from perimortem.model.process import ProcessRef
from perimortem.model.thread_sample import HangKind, ProcessSample, ThreadSample
from perimortem.winapi.system_processes import ThreadEntry, forget_processes, list_processes_now

_THREADS_MAX = 200
_WAITING = 5
# KWAIT_REASON of wdm.h; those of the second row are the same waits of kernel components.
_PAGING, _SUSPENDED, _ALERT_BY_ID = (2, 9), (5, 12), (37,)
_WORDS = {
    4: "a time (Sleep)", 11: "a time (Sleep)", 6: "an object (WaitForSingleObject and its like)",
    13: "a message, or an object", 15: "work from a completion port", 16: "an answer (LPC)",
    17: "an answer (LPC)", 37: "a lock (critical section, SRW lock, condition)",
}  # fmt: skip


def sample_threads(process: ProcessRef) -> ProcessSample | None:
    """None if it is gone."""
    forget_processes()
    entry = list_processes_now().get(process.pid)
    if entry is None or entry.create_time != process.start_time_ticks or not entry.threads:
        return None
    at_ns = time.monotonic_ns()
    return ProcessSample(
        monotonic_ns=at_ns,
        suspended_ns=0,
        threads=tuple(_look(thread, at_ns) for thread in entry.threads[:_THREADS_MAX]),
        thread_count=len(entry.threads),
    )


def _look(thread: ThreadEntry, at_ns: int) -> ThreadSample:
    wait, words = _find_wait(thread)
    return ThreadSample(
        thread.tid, "", wait, words, at_ns, thread.cpu_100ns * 100, 0, thread.context_switches
    )


def _find_wait(thread: ThreadEntry) -> tuple[HangKind | None, str]:
    if thread.state == 0:
        return HangKind.UNKNOWN, ""
    if thread.state != _WAITING:
        return None, ""
    reason = thread.wait_reason
    if reason in _SUSPENDED:
        return HangKind.STOPPED, "suspended"
    if reason in _PAGING:
        return HangKind.DISK, "paging"
    if reason in _ALERT_BY_ID:
        return HangKind.LOCK, _WORDS[reason]
    return HangKind.WAITING, _WORDS.get(reason, f"wait reason {reason}")
