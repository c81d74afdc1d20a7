"""Does anything happen in the process? The heartbeat ``progress``, observed from outside.

It beats when any thread ran. A silence alone proves nothing: an idle server is silent, too. So by
default it also beats while a thread waits for something that may come from outside, and stops only
where all threads wait for each other (``proc.waits``) or uninterruptibly in the kernel. If requested by
name it is strict: if the process tree makes no progress for the threshold, that is a hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perimortem.model.recording import Event, Heartbeat
from perimortem.proc import describe_stuck, read_activity


class Progress:
    """For one process, or, if strict, for it and all its descendants."""

    name = "progress"
    warning = ""

    def __init__(
        self,
        pid: int,
        now_ns: int,
        has_glibc: Callable[[int], bool],
        tree_pids: Callable[[], list[int]] | None = None,
    ) -> None:
        """``has_glibc``: whether a process uses that C library; ``tree_pids``: makes it strict, over
        these processes."""
        self.blind_spot = (
            "loops; and takes idle for hung"
            if tree_pids
            else "loops; waits for network, child, signal"
        )
        self._pid = pid
        self._has_glibc = has_glibc
        self._tree_pids = tree_pids
        self._beat_ns = now_ns
        self._has_moved = True
        self._stuck: str | None = None
        self._disregard_until_ns = 0
        self._seen = self._read()

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """For a process that waits for something outside it makes no finding either way."""
        if not (self._has_moved or self._stuck or self._tree_pids):
            return ()
        return (Heartbeat(self.name, self._beat_ns, True, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return ()

    def observe(self, now_ns: int) -> None:
        seen = self._read()
        self._has_moved = seen != self._seen and now_ns >= self._disregard_until_ns
        self._seen = seen
        if self._has_moved:
            self._stuck = None
        elif self._tree_pids:
            self._stuck = "no thread of the process tree ran in that time"
        elif now_ns >= self._disregard_until_ns:
            self._stuck = describe_stuck(self._pid, self._has_glibc)
        if not self._stuck:
            self._beat_ns = now_ns

    def disregard(self, until_ns: int) -> None:
        self._disregard_until_ns = until_ns

    def facts(self) -> tuple[str, ...]:
        return (self._stuck,) if self._stuck else ()

    def close(self) -> None:
        return

    def _read(self) -> tuple[object, ...]:
        pids = self._tree_pids() if self._tree_pids else [self._pid]
        return tuple(read_activity(pid) for pid in pids)
