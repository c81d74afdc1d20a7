"""The programs that have connected to a monitor, as its targets."""

from __future__ import annotations

import os
from contextlib import suppress

from perimortem.errors import PerimortemError
from perimortem.model.process import ProcessRef
from perimortem.monitor.attach import OBSERVED_MAX, attach
from perimortem.monitor.base import Base
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.recorder_list import is_alive, list_recorders, read_monitor_pid
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.proc import find_container, find_process, read_stat


class ClientPrograms:
    """For one monitor."""

    def __init__(self, base: Base, settings: Settings) -> None:
        self._base = base
        self._settings = settings
        self._had_client = False

    @property
    def are_gone(self) -> bool:
        """Programs connected and all have gone; or none connected in time."""
        return self._had_client and not len(self._base.targets)

    def stop_waiting(self, _now_ns: int) -> None:
        """For the first one."""
        self._had_client = True

    def take_over(self) -> None:
        """Targets of a previous monitor that are still running."""
        for process in list_recorders(self._settings.run_dir):
            monitor_pid = read_monitor_pid(self._settings.run_dir, process)
            is_alone = monitor_pid == 0 or (monitor_pid and read_stat(monitor_pid) is None)
            if is_alone and is_alive(process):
                with suppress(PerimortemError):
                    self._attach(process)

    def find(self, pid: int, _now_ns: int) -> Target | None:
        known = self._base.targets.find_pid(pid)
        if known is not None:
            return known
        try:
            return self._attach(find_process(pid))
        except PerimortemError:
            return None

    def find_core(self, pid: int, now_ns: int) -> Target | None:
        """A process that dumps core, unless its own monitor has already dumped it."""
        target = self.find(pid, now_ns)
        if target is None:
            return None
        recording = target.read_recording(now_ns)
        is_reported = (
            recording is not None and recording.crash is not None and recording.crash.is_fatal
        )
        monitor_pid = read_monitor_pid(self._settings.run_dir, target.ref)
        has_other = monitor_pid not in (None, 0, os.getpid()) and read_stat(monitor_pid or 0)
        if is_reported and has_other:
            self._base.targets.post(target, Event.LEFT)
            return None
        container = find_container(pid)
        if container is not None:
            target.label("container", container)
        return target

    def _attach(self, process: ProcessRef) -> Target:
        is_observed = len(self._base.targets) < OBSERVED_MAX
        # Any monitor that serves may go on with it.
        owner_pid = read_monitor_pid(self._settings.run_dir, process) or 0
        target = attach(
            process, self._base, self._settings, is_observed=is_observed, owner_pid=owner_pid
        )
        self._had_client = True
        self._base.targets.add(target)
        return target
