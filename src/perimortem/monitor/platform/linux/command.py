"""A command on Linux, prepared: started as if we were not there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack

assert sys.platform == "linux"

from perimortem.model.exits import Exit, ExitKind
from perimortem.model.process import ProcessRef
from perimortem.monitor.platform.linux.heartbeats import Heartbeats
from perimortem.monitor.platform.linux.launch import (
    LaunchOptions,
    find_program,
    launch,
    take_children,
)
from perimortem.monitor.platform.linux.preload import choose_preload, preload_environment
from perimortem.monitor.platform.linux.process_group_probe import ProcessGroupProbe
from perimortem.monitor.platform.linux.reaper import become_subreaper, list_orphans, reap
from perimortem.monitor.platform.linux.signal_relay import RELAYED, SignalRelay
from perimortem.monitor.preload import Preload
from perimortem.monitor.settings import Settings
from perimortem.wire.layout import SOCKET_VARIABLE


class Command:
    """What must exist before the program runs; :meth:`start` starts it."""

    preload_source = "ELF file"

    def __init__(
        self, argv: tuple[str, ...], settings: Settings, address: str | None, now_ns: int
    ) -> None:
        """``address``: where crashes are reported. Raises LaunchFailed if there is no such program."""
        self._argv = argv
        self._settings = settings
        self._address = address
        self._stack = ExitStack()
        self.program = find_program(argv[0])
        self.name = os.path.basename(argv[0])[:15] or argv[0]  # as the kernel will name it
        self.preload = (
            choose_preload(self.program, argv[1:])
            if settings.use_agent
            else Preload(None, settings.why_no_agent)
        )
        self._ignores_children = take_children()
        self.relay = SignalRelay((*RELAYED, signal.SIGCHLD))
        self._stack.callback(self.relay.close)
        self.probe = ProcessGroupProbe(self.relay.signals - {signal.SIGCHLD})
        self._stack.callback(self.probe.close)
        self.helper_pids = {self.probe.pid}
        self.heartbeats = Heartbeats(settings, now_ns)
        self._stack.callback(self.heartbeats.close)
        self.list_orphans: Callable[[], list[int]] | None = list_orphans

    def start(self) -> ProcessRef:
        """Raises LaunchFailed, CannotWatch."""
        if self._settings.follow:
            become_subreaper()
        launched = launch(
            self._argv,
            LaunchOptions(
                environment=self.heartbeats.extend(self._environment()),
                signal_mask=self.relay.original_mask,
                ignores_children=self._ignores_children,
                stdout=self.heartbeats.stdout,
                stderr=self.heartbeats.stderr,
            ),
        )
        # We reap it: nothing is left for Popen to wait for.
        self._stack.callback(setattr, launched.popen, "returncode", 0)
        return launched.process

    def find_link_failure(self, end: Exit) -> str | None:
        """Why the dynamic linker ended it, if it did: something that the program needs is missing."""
        if end.kind is not ExitKind.EXITED:
            return None
        from perimortem.monitor.platform.linux.link_check import find_unresolved  # rarely

        try:
            return find_unresolved(self.program, end.code)
        except OSError:
            return None

    def close(self) -> None:
        if self._settings.follow:
            for pid in list_orphans():
                if pid not in self.helper_pids:
                    reap(pid)
        self._stack.close()

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment.pop(SOCKET_VARIABLE, None)
        if self._address is not None:
            environment |= {
                SOCKET_VARIABLE: self._address,
                "PERIMORTEM_RUN_DIR": str(self._settings.run_dir),
            }
        if self.preload.library is None:
            return environment
        return preload_environment(
            self.preload.library,
            self._settings.run_dir,
            os.getpid(),
            environment,
            follow=self._settings.follow,
        )
