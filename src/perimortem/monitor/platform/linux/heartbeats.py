"""The heartbeats of a command that do not come from its agent: the list, and their wiring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

assert sys.platform == "linux"

from perimortem.beats.file_age import list_files
from perimortem.beats.linux.notify_socket import NotifySocket, SdNotifyBeat
from perimortem.beats.linux.output import Output
from perimortem.beats.linux.stderr_file import StderrFile
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.beats.source import BeatSource
from perimortem.model.last_words import LastWords
from perimortem.model.process import ProcessRef
from perimortem.monitor.settings import Settings
from perimortem.proc import read_stat
from perimortem.reading import ProcessReader

_ANCESTORS_MAX = 64
_LAST_WORDS_S = 1.0
"""How long the verdict waits for our own reader to take what was printed. Arbitrary."""


class Heartbeats:
    """Created before the command starts, since it needs its environment and streams."""

    def __init__(self, settings: Settings, now_ns: int) -> None:
        wanted = settings.beat_from
        self.main_pid: int | None = None
        """The process that the command announced as its main one (MAINPID)."""
        self.stdout: int | None = None
        self.stderr: int | None = None
        self.socket: NotifySocket | None = None
        self._notified: SdNotifyBeat | None = None
        self._output: Output | None = None
        self._is_strict = "progress" in wanted
        self._wanted = wanted
        self._interval_ns = settings.policy.progress_interval_ns
        self._watchdog_ns = (
            settings.policy.threshold_of_ns.get("watchdog") or settings.policy.threshold_ns
        )
        above = os.environ.get("NOTIFY_SOCKET")
        if "sd-notify" in wanted or above:
            self.socket = NotifySocket(above)
            threshold_ns = _given_watchdog_ns()
            self._notified = SdNotifyBeat(now_ns, threshold_ns, is_expected="sd-notify" in wanted)
        self._judges_output = "output" in wanted
        is_between = self._judges_output or settings.force_pty
        self._stderr_file = StderrFile()
        if is_between or settings.keeps_output:
            self._output = Output(now_ns, force_pty=settings.force_pty, only_stderr=not is_between)
            self.stdout, self.stderr = self._output.stdout, self._output.stderr

    def extend(self, environment: dict[str, str]) -> dict[str, str]:
        """The environment variables that the command needs to reach us."""
        if self.socket is None:
            return environment
        environment = {**environment, "NOTIFY_SOCKET": self.socket.name}
        environment.pop(
            "WATCHDOG_PID", None
        )  # it names us, so the program would disable its watchdog
        environment.setdefault("WATCHDOG_USEC", str(self._watchdog_ns // 1000))
        return environment

    def begin(
        self,
        process: ProcessRef,
        now_ns: int,
        tree_pids: Callable[[], list[int]],
        reader: ProcessReader,
    ) -> list[BeatSource]:
        """The command is running."""
        strict_pids = tree_pids if self._is_strict else None
        sources: list[BeatSource] = [
            ProcessStateBeat(process, now_ns),
            Progress(process.pid, now_ns, strict_pids, interval_ns=self._interval_ns),
            *list_files(self._wanted, now_ns, reader.read_change),
        ]
        if self._notified is not None:
            sources.append(self._notified)
        if self._output is not None:
            self._output.begin()
            if self._judges_output:
                sources.append(self._output)
        return sources

    def take_notifications(self, now_ns: int, tree: set[int]) -> None:
        """For any process of the tree; none for a stranger."""
        assert self.socket is not None
        assert self._notified is not None
        for pid, said in self.socket.receive():
            if not _descends_from(pid, tree):
                continue
            self._notified.take(said, now_ns)
            if said.main_pid is not None and said.main_pid in tree:
                self.main_pid = said.main_pid

    def resize(self) -> bool:
        """The terminal was resized; True once the command's own terminal has the new size, too."""
        return self._output is not None and self._output.resize()

    def take_last_words(self, now_ns: int, tree: set[int]) -> None:
        """The command has ended, and its last output may still be in transit."""
        if self.socket is not None:
            self.take_notifications(now_ns, tree)
        if self._output is not None:
            self._output.finish(_LAST_WORDS_S)

    def read_last_words(self) -> LastWords | None:
        """What the command and its children printed last on standard error, where that can be seen."""
        from perimortem.analysis.last_words import read_last_words  # not for the start

        if self._output is not None:
            return read_last_words(self._output.read_end(), "stderr, through perimortem")
        return read_last_words(self._stderr_file.read(), "the file that stderr is")

    def finish(self, timeout_s: float) -> bool:
        """Whether all its output has been written."""
        return self._output is None or self._output.finish(timeout_s)

    def soft_errors(self) -> list[str]:
        """Notifications that were rejected."""
        refused = self.socket.refused if self.socket else 0
        return [f"{refused} notifications were too long and not read"] if refused else []

    def close(self) -> None:
        self.finish(0)
        self._stderr_file.close()
        if self.socket is not None:
            self.socket.close()


def _given_watchdog_ns() -> int | None:
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) * 1000 if text.isascii() and text.isdigit() and len(text) < 16 else None


def _descends_from(pid: int, tree: set[int]) -> bool:
    """A sender that is gone already knew the socket's secret name, so it is trusted."""
    for _ in range(_ANCESTORS_MAX):
        if pid in tree:
            return True
        facts = read_stat(pid)
        if facts is None:
            return True
        pid = facts.parent_pid
        if pid <= 1:
            return pid in tree
    return False
