"""Is the process scheduled at all, and how large is it? Seen from outside, once a second.

A preloaded agent starts no thread in the target (docs/decisions/0005), so the monitor itself takes the
samples: a heartbeat ``process``, beaten while the process is neither stopped nor frozen, and the event
``system.stats``.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

assert sys.platform == "linux"

from perimortem.model.process import ProcessRef
from perimortem.model.recording import Event, Heartbeat
from perimortem.proc.stat import read_stat

_KEPT = 20
_THREADS_MAX = 4096
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOPPED = ("T", "t")


class Presence:
    """Samples of one process; the last twenty are kept."""

    name = "process"
    blind_spot = "what it does"

    def __init__(self, process: ProcessRef, now_ns: int, *, judges_stops: bool = True) -> None:
        """``judges_stops``: False for children: a shell's stopped job is no hang."""
        self.tids: set[int] = {process.pid}
        """Threads that were seen: the kernel's log names the thread that faulted, not the process."""
        self._process = process
        self._judges_stops = judges_stops
        self._beat_ns = now_ns
        self._events: deque[Event] = deque(maxlen=_KEPT)

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        if not self._judges_stops:
            return ()
        return (Heartbeat("process", self._beat_ns, True, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return self._events

    def observe(self, now_ns: int) -> None:
        facts = read_stat(self._process.pid)
        if facts is None or facts.start_time_ticks != self._process.start_time_ticks:
            return
        if facts.state not in _STOPPED and not self._is_frozen():
            self._beat_ns = now_ns
        self._collect_tids()
        stats = {
            "rss_bytes": facts.resident_pages * _PAGE_BYTES,
            "cpu_s": round((facts.user_ticks + facts.kernel_ticks) / _TICKS_PER_S, 2),
            "threads": facts.thread_count,
            "fds": self._count_descriptors(),
        }
        self._events.append(Event(0, now_ns, "system.stats", json.dumps(stats)))

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        return

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
