"""A running command on Windows: the events of its console and its job."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform == "win32"

from perimortem.analysis.observations import Request
from perimortem.exits.signals import SIGINT, SIGTERM
from perimortem.monitor.base import Base
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.interrupts import Interrupts
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.platform.windows.command import Command
from perimortem.monitor.platform.windows.job import MSG_NEW_PROCESS
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree
from perimortem.system.windows.handle_selector import HandleSelector
from perimortem.winapi.system_processes import forget_processes, list_processes_now

_BIRTH_NS = 20_000_000
"""An announced process has a thread by then, if it ever gets one. Arbitrary."""


class CommandLink:
    """Created once the command runs; it records what reaches the command."""

    def __init__(
        self,
        command: Command,
        root: Target,
        settings: Settings,
        base: Base,
        tree: ProcessTree,
        discovery: Discovery,
        interrupts: Interrupts,
        helper_pids: Callable[[], set[int]],
    ) -> None:
        """``helper_pids``: our own children that are not the command's."""
        self._command = command
        self._root = root
        self._timers = base.timers
        self._targets = base.targets
        self._tree = tree
        self._discovery = discovery
        self._interrupts = interrupts
        self._new_pids: set[int] = set()
        """Announced by the job, and not yet in the tree."""
        base.selector.register(command.console.waitable(), self._take_events)
        selector = base.selector
        if command.job is not None and isinstance(selector, HandleSelector):
            command.job.report_to(selector.port, selector.open_port_key(self._take_job_message))
            discovery.scan()  # those that started before job events arrived

    def finish_output(self) -> None:
        """Its output does not pass through us."""

    def _take_events(self, now_ns: int) -> None:
        """Console events reach every process that is attached to the console."""
        for event in self._command.console.receive():
            # After a close nothing continues: an exit some seconds later is still its answer.
            number = SIGTERM if event.is_final else SIGINT
            request = Request(
                number, None, event.at_ns, True, to_group=True, console_event=event.name
            )
            for target in (self._root, *self._tree.living.values()):
                target.note_request(request)
            if event.is_final:  # we may be ended before the target is
                self._targets.post(self._root, Event.MONITOR_AT_RISK)
            else:
                self._interrupts.note(now_ns)

    def _take_job_message(self, message: int, value: int, now_ns: int) -> None:
        if message == MSG_NEW_PROCESS:
            self._new_pids.add(value)
            self._take_new(now_ns)
            if self._new_pids:
                self._timers.arm(self, now_ns + _BIRTH_NS, self._take_late)

    def _take_new(self, now_ns: int) -> None:
        """A process is announced before it has a thread; a clone for a dump never gets one."""
        forget_processes()
        entries = list_processes_now()
        for pid in list(self._new_pids):
            if pid in entries and entries[pid].threads and self._discovery.take_new(pid, now_ns):
                self._new_pids.discard(pid)

    def _take_late(self, now_ns: int) -> None:
        self._take_new(now_ns)
        self._new_pids.clear()  # the next scan finds them, if they still exist
