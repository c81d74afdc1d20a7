"""What can be seen of a target from outside, once a second: is it scheduled at all, and how large is it?

A preloaded agent starts no thread in the target (it would cost single-threaded programs their speed, and
some their life), so for a child of ours the monitor itself takes the samples: a heartbeat `process`,
beaten while the process is neither stopped nor frozen, and the event `system.stats`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from pathlib import Path

assert sys.platform == "linux"

from perimortem.exits.linux.stat import read_stat
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Event, Heartbeat

INTERVAL_NS = 1_000_000_000
_KEPT = 20
_THREADS_MAX = 4096
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOPPED = ("T", "t")


class Observer:
    """Samples of one process; the last twenty are kept."""

    def __init__(self, process: ProcessRef, now_ns: int) -> None:
        self.events: deque[Event] = deque(maxlen=_KEPT)
        self.tids: set[int] = {process.pid}
        """Threads that were seen: the kernel's log names the thread that faulted, not the process."""
        self._process = process
        self._beat_ns = now_ns
        self._sequence = 0

    def heartbeat(self) -> Heartbeat:
        """The observed `process`."""
        return Heartbeat("process", self._beat_ns, True, None, 0, False)

    def observe(self, now_ns: int) -> None:
        """Take a sample; of a process that is gone, none."""
        facts = read_stat(self._process.pid)
        if facts is None or facts.start_time_ticks != self._process.start_time_ticks:
            return
        if facts.state not in _STOPPED and not self._is_frozen():
            self._beat_ns = now_ns
        self._collect_tids()
        self._sequence += 1
        stats = {
            "rss_bytes": facts.resident_pages * _PAGE_BYTES,
            "cpu_s": round((facts.user_ticks + facts.kernel_ticks) / _TICKS_PER_S, 2),
            "threads": facts.thread_count,
            "fds": self._count_descriptors(),
        }
        self.events.append(Event(self._sequence, now_ns, "system.stats", json.dumps(stats)))

    def _is_frozen(self) -> bool:
        """In a frozen cgroup a process sleeps in the kernel's refrigerator."""
        try:
            wchan = Path(f"/proc/{self._process.pid}/wchan").read_text()
        except OSError:
            return False
        return wchan in ("do_freezer_trap", "__refrigerator")

    def _count_descriptors(self) -> int | None:
        try:
            # From Linux 6.2 on the size of the directory is the number of its entries.
            size = os.stat(f"/proc/{self._process.pid}/fd").st_size
            return size or len(os.listdir(f"/proc/{self._process.pid}/fd"))
        except OSError:
            return None

    def _collect_tids(self) -> None:
        if len(self.tids) < _THREADS_MAX:
            try:
                self.tids.update(int(tid) for tid in os.listdir(f"/proc/{self._process.pid}/task"))
            except OSError:
                return
