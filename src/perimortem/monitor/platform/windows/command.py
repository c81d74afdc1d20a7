"""A command on Windows: it shares our console and stands in a job of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack

assert sys.platform == "win32"

from perimortem.analyze.observations import Request
from perimortem.exits.signals import SIGINT, SIGTERM
from perimortem.model.process import ProcessRef
from perimortem.monitor.loop import Monitor, Timer
from perimortem.monitor.platform.windows.console import Console
from perimortem.monitor.platform.windows.create_process import create_process, find_program
from perimortem.monitor.platform.windows.heartbeats import Heartbeats
from perimortem.monitor.platform.windows.job import MSG_NEW_PROCESS, Job
from perimortem.monitor.preload import Preload
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.monitor.tree import ProcessTree
from perimortem.system.windows.handle_selector import HandleSelector
from perimortem.winapi.system_processes import forget_processes, list_processes_now
from perimortem.wire.layout import SOCKET_VARIABLE

_BIRTH_NS = 20_000_000
"""A process that is announced has a thread by then, if it ever gets one. Arbitrary."""


class Command:
    """Everything is made ready first; :meth:`start` starts it, :meth:`wire` joins it to the loop."""

    preload_source = "perimortem"

    def __init__(
        self, argv: tuple[str, ...], settings: Settings, address: str | None, now_ns: int
    ) -> None:
        """``address``: where crashes are told. Raises LaunchFailed when there is no such program."""
        self._argv = argv
        self._settings = settings
        self._address = address
        self._stack = ExitStack()
        self.program = find_program(argv[0])
        self.name = self.program.name
        self.preload = Preload(None, is_for_program=True)
        self.heartbeats = Heartbeats(settings, now_ns)
        self.helper_pids: set[int] = set()
        self._console = Console()
        self._stack.callback(self._console.close)
        self._job = Job() if settings.follow else None
        self._new_pids: set[int] = set()
        """Announced by the job, and not taken into the tree yet."""
        self._new_timer = Timer(None, self._take_new)
        if self._job is not None:
            self._stack.callback(self._job.close)
        self.list_orphans: Callable[[], list[int]] | None = (
            self._list_members if self._job is not None else None
        )

    def start(self) -> ProcessRef:
        """Raises LaunchFailed."""
        os.environ["PERIMORTEM_RUN_DIR"] = str(self._settings.run_dir)
        os.environ["PERIMORTEM_MONITOR_PID"] = str(os.getpid())
        os.environ.pop(SOCKET_VARIABLE, None)
        if self._address is not None:
            os.environ[SOCKET_VARIABLE] = self._address
        process, popen = create_process(self.program, self._argv, self._job)
        self._stack.callback(popen._handle.Close)  # type: ignore[attr-defined]
        self._stack.callback(setattr, popen, "returncode", 0)
        return process

    def wire(
        self,
        monitor: Monitor,
        session: Session,
        tree: ProcessTree,
        helper_pids: Callable[[], set[int]],
    ) -> None:
        """From now on what reaches us is noted; ``helper_pids``: children that are not its."""
        self._monitor, self._session, self._tree = monitor, session, tree
        monitor.selector.register(self._console.waitable(), self._take_events)
        selector = monitor.selector
        if self._job is not None and isinstance(selector, HandleSelector):
            self._job.report_to(selector.port, selector.open_port_key(self._take_job_message))
            tree.take_orphans(monitor.now_ns())  # those who came before it reported
            monitor.timers.append(self._new_timer)

    def finish_output(self) -> None:
        """Its output is its own."""

    def close(self) -> None:
        self._stack.close()

    def _list_members(self) -> list[int]:
        """Of the job, but the clones without threads that dumps are taken of."""
        assert self._job is not None
        forget_processes()
        entries = list_processes_now()
        return [pid for pid in self._job.list_pids() if pid in entries and entries[pid].threads]

    def _take_events(self, now_ns: int) -> None:
        """Whatever the console says it says to all who are attached to it."""
        for event in self._console.receive():
            # After a close nobody goes on: an exit some seconds later still is its answer.
            number = SIGTERM if event.is_final else SIGINT
            request = Request(number, None, event.at_ns, True, to_group=True, words=event.name)
            for session in (self._session, *self._tree.living.values()):
                session.requests.append(request)
            if event.is_final:
                self._monitor.keep_all()  # a target that ends in time gets its whole verdict

    def _take_job_message(self, message: int, value: int, now_ns: int) -> None:
        if message == MSG_NEW_PROCESS:
            self._new_pids.add(value)
            self._take_new(now_ns)
            self._new_timer.due_ns = now_ns + _BIRTH_NS if self._new_pids else None

    def _take_new(self, now_ns: int) -> None:
        """A process is announced before it has a thread; a clone for a dump never gets one."""
        forget_processes()
        entries = list_processes_now()
        for pid in list(self._new_pids):
            if pid in entries and entries[pid].threads and self._tree.take_new(pid, now_ns):
                self._new_pids.discard(pid)
        if self._new_timer.due_ns is not None and self._new_timer.due_ns <= now_ns:
            self._new_pids.clear()  # the next scan finds them, if there is anything to find
            self._new_timer.due_ns = None
