"""A command on Windows, prepared: it shares our console and belongs to a job of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack

assert sys.platform == "win32"

from perimortem.model.exits import Exit
from perimortem.model.process import ProcessRef
from perimortem.monitor.platform.windows.console import Console
from perimortem.monitor.platform.windows.create_process import create_process, find_program
from perimortem.monitor.platform.windows.heartbeats import Heartbeats
from perimortem.monitor.platform.windows.job import Job
from perimortem.monitor.preload import Preload
from perimortem.monitor.settings import Settings
from perimortem.winapi.system_processes import forget_processes, list_processes_now
from perimortem.wire.layout import SOCKET_VARIABLE


class Command:
    """What must exist before the program runs; :meth:`start` starts it."""

    preload_source = "perimortem"

    def __init__(
        self, argv: tuple[str, ...], settings: Settings, address: str | None, now_ns: int
    ) -> None:
        """``address``: where crashes are reported. Raises LaunchFailed if there is no such program."""
        self._argv = argv
        self._settings = settings
        self._address = address
        self._stack = ExitStack()
        self.program = find_program(argv[0])
        self.name = self.program.name
        self.preload = Preload(None, is_for_program=True)
        self.heartbeats = Heartbeats(settings, now_ns)
        self.helper_pids: set[int] = set()
        self.console = Console()
        self._stack.callback(self.console.close)
        self.job = Job() if settings.follow else None
        if self.job is not None:
            self._stack.callback(self.job.close)
        self.list_orphans: Callable[[], list[int]] | None = (
            self._list_members if self.job is not None else None
        )

    def start(self) -> ProcessRef:
        """Raises LaunchFailed."""
        os.environ["PERIMORTEM_RUN_DIR"] = str(self._settings.run_dir)
        os.environ["PERIMORTEM_MONITOR_PID"] = str(os.getpid())
        os.environ.pop(SOCKET_VARIABLE, None)
        if self._address is not None:
            os.environ[SOCKET_VARIABLE] = self._address
        process, popen = create_process(self.program, self._argv, self.job)
        self._stack.callback(popen._handle.Close)  # type: ignore[attr-defined]
        self._stack.callback(setattr, popen, "returncode", 0)
        return process

    def find_link_failure(self, end: Exit) -> str | None:
        """The exit code says so itself (0xC0000135, 0xC0000139)."""
        return None

    def close(self) -> None:
        self._stack.close()

    def _list_members(self) -> list[int]:
        """The job's processes, except the threadless clones that dumps are taken from."""
        assert self.job is not None
        forget_processes()
        entries = list_processes_now()
        return [pid for pid in self.job.list_pids() if pid in entries and entries[pid].threads]
