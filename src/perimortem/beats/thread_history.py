"""Since when has each thread not run, or done nothing but wait for the same thing?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from perimortem.proc import Activity, read_retry

_BUSY_SHARE = 50
"""One part in so many of a processor, or more: such a thread does not only wait. The wait for Python's
GIL takes less than one part in 100."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One thread, when it was last seen to have run."""

    slices: int
    run_ns: int
    at_ns: int
    still_since_ns: int
    waits_since_ns: int
    retry: bytes
    """The wait that it comes back to whenever it wakes (``proc.read_retry``); empty if there is none."""


class ThreadHistory:
    """Of the threads of one process, or of several."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    @property
    def slices(self) -> dict[int, int]:
        """How often each thread (tid) had been scheduled."""
        return {tid: seen.slices for tid, seen in self._seen.items()}

    def note(
        self,
        processes: Iterable[tuple[int, Activity | None]],
        now_ns: int,
        *,
        is_ours: bool = False,
    ) -> None:
        """``processes``: (pid, what was read of it). ``is_ours``: that threads ran is our doing."""
        found = {}
        for pid, activity in processes:
            for tid, slices in activity.slices.items() if activity is not None else ():
                assert activity is not None
                run_ns = activity.run_ns.get(tid, 0)
                found[tid] = self._compare(pid, tid, slices, run_ns, now_ns, is_ours=is_ours)
        self._seen = found

    def list_waiting(self, now_ns: int, least_ns: int) -> set[int]:
        """The threads (tids) that for so long have not run, or only to wait for the same thing again."""
        return {t for t, seen in self._seen.items() if now_ns - seen.waits_since_ns >= least_ns}

    def list_retrying(self, now_ns: int, least_ns: int) -> set[int]:
        """Those of :meth:`list_waiting` that have run in that time."""
        return {
            tid
            for tid in self.list_waiting(now_ns, least_ns)
            if now_ns - self._seen[tid].still_since_ns < least_ns
        }

    def is_still(self, now_ns: int, least_ns: int) -> bool:
        """No thread has run for so long."""
        return all(now_ns - seen.still_since_ns >= least_ns for seen in self._seen.values())

    def waits_since_ns(self, tids: Iterable[int]) -> int | None:
        """When the last of these threads began its wait; None if there are none."""
        return max((self._seen[t].waits_since_ns for t in tids if t in self._seen), default=None)

    def _compare(
        self, pid: int, tid: int, slices: int, run_ns: int, now_ns: int, *, is_ours: bool
    ) -> _Seen:
        seen = self._seen.get(tid)
        if seen is None:
            return _Seen(slices, run_ns, now_ns, now_ns, now_ns, b"")
        if slices == seen.slices:
            return seen
        if is_ours:
            return replace(seen, slices=slices, run_ns=run_ns, at_ns=now_ns)
        is_busy = (run_ns - seen.run_ns) * _BUSY_SHARE > now_ns - seen.at_ns
        read = b"" if is_busy else read_retry(pid, tid)
        # If it has just woken, perhaps to wait again, the next reading shows that.
        retry = seen.retry if read is None else read
        waits_ns = seen.waits_since_ns if retry and retry == seen.retry else now_ns
        return _Seen(slices, run_ns, now_ns, now_ns, waits_ns, retry)
