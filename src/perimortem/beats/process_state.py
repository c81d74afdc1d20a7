"""Is the process scheduled at all, and how large is it? Sampled from outside, once a second.

A preloaded agent starts no thread in the target (docs/decisions/0005), so the monitor itself takes the
samples: a heartbeat ``process``, beaten while the process is neither stopped nor frozen, and the event
``system.stats``.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable

from perimortem.model.process import ProcessRef
from perimortem.model.recording import Event, Heartbeat
from perimortem.proc import Sample, take_sample

_KEPT = 20
_THREADS_MAX = 4096
_STILL_MAX_NS = 10_000_000_000
"""For so long a sample is repeated: others may freeze it, or take its memory, without running it."""


class ProcessStateBeat:
    """Samples of one process; the last twenty are kept."""

    name = "process"
    blind_spot = "what it does"
    warning = ""

    def __init__(
        self,
        process: ProcessRef,
        now_ns: int,
        *,
        judges_stops: bool = True,
        is_still: Callable[[int], bool] | None = None,
    ) -> None:
        """``judges_stops``: False for children: a shell's stopped job is not a hang. ``is_still``: is it
        known now that no thread has run since it was last asked? Then a sample would show the same."""
        self.tids: set[int] = {process.pid}
        """The threads seen so far: the kernel's log names the thread that faulted, not the process."""
        self._process = process
        self._is_still = is_still
        self._sample: Sample | None = None
        self._sampled_ns = 0
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
        is_recent = self._sample is not None and now_ns < self._sampled_ns + _STILL_MAX_NS
        if not is_recent or self._is_still is None or not self._is_still(now_ns):
            self._sample = take_sample(self._process)
            self._sampled_ns = now_ns
        sample = self._sample
        if sample is None:
            return
        if not sample.is_held:
            self._beat_ns = now_ns
        if len(self.tids) < _THREADS_MAX:
            self.tids |= sample.tids
        if sample.stats.get("rss_bytes"):  # else it is on its way out: no last good state
            self._events.append(Event(0, now_ns, "system.stats", json.dumps(sample.stats)))

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        return
