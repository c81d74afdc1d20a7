"""Notifies of recorders that appear or change in the run directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from perimortem.model.process import ProcessRef
from perimortem.monitor.base import Base
from perimortem.monitor.heartbeat_check import HeartbeatCheck
from perimortem.monitor.turns import Steps
from perimortem.recorder import RecorderEvents, recorder_path
from perimortem.recorder.sweep import read_name

_NAMES_MAX = 20_000
"""More have to be found by a scan, or by the next monitor. Arbitrary."""

TakeRecorder = Callable[[ProcessRef, int], None]
"""take(process, now_ns): a recorder that belongs to no target (yet)."""


def open_recorder_events(run_dir: Path) -> RecorderEvents | None:
    """From now on new recorders are noticed; None if inotify has no resources left: then they are
    polled for. To be opened before a program that creates one is started."""
    try:
        return RecorderEvents(run_dir)
    except OSError:
        return None


class RecorderWatch:
    """Forwards changes of a target's recorder to its heartbeat check."""

    def __init__(
        self,
        events: RecorderEvents | None,
        run_dir: Path,
        base: Base,
        check: HeartbeatCheck,
        take_unknown: TakeRecorder = lambda _process, _now_ns: None,
    ) -> None:
        self._run_dir = run_dir
        self._selector = base.selector
        self._clock = base.clock
        self._targets = base.targets
        self._turns = base.turns
        self._check = check
        self._take_unknown = take_unknown
        self._events = events
        self._names: dict[str, None] = {}
        """Announced, and not yet looked at, in this order."""
        if events is not None:
            base.selector.register(events.waitable(), self._receive, comes_first=True)

    def close(self) -> None:
        if self._events is not None:
            self._selector.unregister(self._events.waitable())
            self._events.close()
            self._events = None

    def _receive(self, _now_ns: int) -> None:
        """At once: the system keeps a limited number of them."""
        assert self._events is not None
        try:
            names = dict.fromkeys(self._events.receive())
        except OSError:  # the directory is gone: from now on recorders are polled for
            self.close()
            return
        if not self._turns.is_finishing and len(self._names) < _NAMES_MAX:
            self._names |= names
        if self._names:
            self._turns.take(self, self._take_names())

    def _take_names(self) -> Steps:
        """While there is other work, no new processes are taken: one that forks without end makes them
        faster than their ends can be worked on."""
        while self._names:
            if self._targets.has_work:
                yield False
            else:
                name = next(iter(self._names))
                del self._names[name]
                self._take_name(name, self._clock.monotonic_ns())
                yield True

    def _take_name(self, name: str, now_ns: int) -> None:
        identity = read_name(name)
        if identity is None:
            return
        process = ProcessRef(*identity)
        if recorder_path(self._run_dir, process).name != name:
            return  # not finished yet
        target = self._targets.get(process)
        if target is None:
            self._take_unknown(process, now_ns)
        elif target.is_alive:
            self._check.take_recorder_event(target, now_ns)
