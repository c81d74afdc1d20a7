"""Wait until a process is about to exit, and stop it there with its memory intact.

PTRACE_O_TRACEEXIT stops each thread as it exits, for any cause: _exit in a library, a SIGKILL.
Until then the process runs as usual, but is traced: TracerPid shows it, and no other tracer can attach.
A single thread that exits is released at once; so are those that another thread's exec ends.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

assert sys.platform == "linux"

from perimortem.capture.linux import ptrace
from perimortem.capture.linux.access import denied_error
from perimortem.capture.linux.threads import read_registers
from perimortem.errors import ProcessGone
from perimortem.model.snapshot import Registers
from perimortem.procfs.threads import has_thread_ended, list_threads

_OPTIONS = ptrace.PTRACE_O_TRACEEXIT | ptrace.PTRACE_O_TRACECLONE
_POLL_S = 0.001  # waitpid(2) has no time limit
_GATHER_S = 0.1
"""Threads of a dying process reach their stops within that time; others are left out."""
_SYS_EXIT_GROUP = 231
"""On x86-64, the only architecture of dumps."""
_STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class ExitStop:
    """All threads of ``pid``, traced until its end."""

    paused_ns = 0

    def __init__(self, pid: int) -> None:
        """Raises ProcessGone or AccessDenied."""
        self.pid = pid
        self.stopped: list[int] = []
        """Threads stopped at their exit, in order of arrival."""
        self.running: list[int] = []
        self.soft_errors: list[str] = []
        self._traced: set[int] = set()
        self._since_ns = 0
        try:
            self._seize_all()
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> ExitStop:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def await_exit(self) -> bool:
        """True when the whole process is stopped at its exit; False when it is gone."""
        while True:
            stopped = self._await_stop(block=True)
            if stopped is None:
                return False
            tid, event, number = stopped
            if event != ptrace.PTRACE_EVENT_EXIT:
                self._pass(tid, event, number)
            elif self._ends_whole_process(tid):
                self._since_ns = time.perf_counter_ns()
                self.stopped.append(tid)
                self._gather()
                return True
            else:
                self._traced.discard(tid)
                _ignore_gone(partial(ptrace.resume, tid))

    def read_registers(self) -> dict[int, Registers | None]:
        return {tid: read_registers(tid) for tid in self.stopped}

    def thaw(self) -> None:
        """Not before the dump is on disk: see :meth:`release`."""

    def release(self) -> None:
        """Let it exit."""
        if self._since_ns:
            self.paused_ns = time.perf_counter_ns() - self._since_ns
        for tid in self.stopped:
            _ignore_gone(partial(ptrace.detach, tid))
        self.stopped = []

    def _seize_all(self) -> None:
        while fresh := set(self._list_threads()) - self._traced:
            for tid in fresh:
                try:
                    ptrace.seize(tid, _OPTIONS)
                except OSError as error:
                    if error.errno == errno.ESRCH:
                        self._traced.add(tid)  # it has just exited
                        continue
                    if tid not in self._traced and error.errno == errno.EPERM and self._traced:
                        # A thread that one of ours created meanwhile is already traced.
                        self._traced.add(tid)
                        continue
                    raise denied_error(self.pid, error) from error
                self._traced.add(tid)

    def _is_thread(self, tid: int) -> bool:
        return os.path.exists(f"/proc/{self.pid}/task/{tid}")

    def _list_threads(self) -> list[int]:
        tids = list_threads(self.pid)
        if not tids:
            raise ProcessGone(f"process {self.pid} has ended")
        return tids

    def _await_stop(self, *, block: bool) -> tuple[int, int, int] | None:
        """(thread, event, signal); None if there is none, or, unless ``block``, none now."""
        while True:
            try:
                tid, status = os.waitpid(-1, ptrace.WALL | (0 if block else os.WNOHANG))
            except ChildProcessError:
                return None
            if tid == 0:
                return None
            if os.WIFSTOPPED(status):
                if tid not in self._traced and not self._is_thread(tid):
                    # A process that clone(2) created: not ours.
                    _ignore_gone(partial(ptrace.detach, tid))
                    continue
                self._traced.add(tid)
                return tid, status >> 16, os.WSTOPSIG(status)
            self._traced.discard(tid)

    def _pass(self, tid: int, event: int, number: int) -> None:
        """Continues any stop other than at exit, as if we were not there."""
        if event == ptrace.PTRACE_EVENT_STOP and number in _STOPPING:
            _ignore_gone(partial(ptrace.listen, tid))
        elif event:
            _ignore_gone(partial(ptrace.resume, tid))
        else:
            _ignore_gone(partial(ptrace.resume, tid, number))

    def _ends_whole_process(self, tid: int) -> bool:
        """A single exiting thread has status 0 and calls exit(2), not exit_group(2)."""
        try:
            status = ptrace.read_event_message(tid)
        except OSError:
            return False
        registers = read_registers(tid)
        call = registers.general["orig_rax"] if registers else 0
        return status != 0 or call == _SYS_EXIT_GROUP or not self._rest(besides=tid)

    def _gather(self) -> None:
        deadline = time.monotonic() + _GATHER_S
        while time.monotonic() < deadline:
            stopped = self._await_stop(block=False)
            if stopped is None:
                if not self._rest():
                    break
                time.sleep(_POLL_S)
            elif stopped[1] == ptrace.PTRACE_EVENT_EXIT:
                self.stopped.append(stopped[0])
            else:
                self._pass(*stopped)
        self.running = sorted(self._rest())
        if self.running:
            self.soft_errors.append(
                f"{len(self.running)} threads did not exit in time: without registers"
            )

    def _rest(self, besides: int = 0) -> set[int]:
        """Live threads that have not stopped."""
        left = set(list_threads(self.pid)) - set(self.stopped) - {besides}
        return {tid for tid in left if not has_thread_ended(self.pid, tid)}


def _ignore_gone(call: Callable[[], None]) -> None:
    """A SIGKILL takes a thread out of any stop."""
    try:
        call()
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
