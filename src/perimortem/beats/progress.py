"""Does anything happen in the process? The heartbeat ``progress``, observed from outside.

It beats when any thread ran. A silence alone proves nothing: an idle server is silent, too. So by
default it also beats while a thread waits for something that may come from outside, and stops only
where threads were found that nothing will ever wake, even if others run, or where all wait
uninterruptibly in the kernel (``proc.waits``). If requested by name it is strict: if the process tree
makes no progress for the threshold, that is a hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perimortem.beats.thread_history import ThreadHistory
from perimortem.model.recording import Event, Heartbeat
from perimortem.model.stuck import StuckThreads
from perimortem.proc import Activity, describe_stuck, read_activity

_DESCRIBE_AGAIN_NS = 10_000_000_000
"""A thread that does not run does not change its wait; but some are frozen without running."""


class Progress:
    """For one process, or, if strict, for it and all its descendants."""

    name = "progress"
    warning = ""

    def __init__(
        self,
        pid: int,
        now_ns: int,
        tree_pids: Callable[[], list[int]] | None = None,
        *,
        interval_ns: int = 0,
    ) -> None:
        """``tree_pids``: makes it strict, over these processes. ``interval_ns``: how often the threads
        are read, unless it is strict, or something seems wrong."""
        self.blind_spot = (
            "loops; and takes idle for hung"
            if tree_pids
            else "loops; waits for network, child, signal"
        )
        self.deadlock: StuckThreads | None = None
        """Threads of it, and perhaps of others, that nothing will ever wake."""
        self._pid = pid
        self._tree_pids = tree_pids
        self._beat_ns = now_ns
        self._has_run = self._has_moved = True
        self._read_ns = now_ns
        self._stuck: str | None = None
        self._disregard_until_ns = 0
        self._describe_due_ns = 0
        self._interval_ns = 0 if tree_pids else interval_ns
        self._read_due_ns = now_ns + self._interval_ns
        self.threads = ThreadHistory()
        self._seen: dict[int, Activity | None] = {}
        self._seen = self._read()
        self.threads.note(self._seen.items(), now_ns)

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """For a process that waits for something outside it makes no finding either way."""
        if not (self._has_moved or self._stuck or self.deadlock or self._tree_pids):
            return ()
        return (Heartbeat(self.name, self._beat_ns, True, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return ()

    def observe(self, now_ns: int) -> None:
        if now_ns < self._read_due_ns and not (self._stuck or self.deadlock):
            return
        self._read_due_ns = now_ns + self._interval_ns
        seen = self._read()
        self._has_run = seen != self._seen
        self._has_moved = self._has_run and now_ns >= self._disregard_until_ns
        self._seen, self._read_ns = seen, now_ns
        # While we hold it, that it runs is our doing.
        self.threads.note(seen.items(), now_ns, is_ours=now_ns < self._disregard_until_ns)
        if self._has_moved:
            self._stuck = None
            self._describe_due_ns = 0
        elif self._tree_pids:
            self._stuck = "no thread of the process tree ran in that time"
        elif now_ns >= max(self._disregard_until_ns, self._describe_due_ns):
            self._stuck = describe_stuck(self._pid)
            self._describe_due_ns = 0 if self._stuck else now_ns + _DESCRIBE_AGAIN_NS
        if not self._stuck and not self.deadlock:
            self._beat_ns = now_ns

    def is_still(self, now_ns: int) -> bool:
        """Its threads were read at this time, and none had run since the reading before."""
        return self._read_ns == now_ns and not self._has_run

    def disregard(self, until_ns: int) -> None:
        self._disregard_until_ns = until_ns

    def facts(self) -> tuple[str, ...]:
        if self.deadlock is not None:
            return (self.deadlock.text,)
        return (self._stuck,) if self._stuck else ()

    def close(self) -> None:
        return

    def note_deadlock(self, found: StuckThreads | None, now_ns: int) -> None:
        """Nothing will wake these threads; None: they have moved after all."""
        known, self.deadlock = self.deadlock, found
        if found is None:
            self._beat_ns = now_ns
            return
        if known is not None and known.tids == found.tids:
            return
        since_ns = self.threads.waits_since_ns(found.tids)
        self._beat_ns = now_ns if since_ns is None else since_ns

    def _read(self) -> dict[int, Activity | None]:
        """By pid."""
        pids = self._tree_pids() if self._tree_pids else [self._pid]
        return {pid: read_activity(pid, self._seen.get(pid)) for pid in pids}
