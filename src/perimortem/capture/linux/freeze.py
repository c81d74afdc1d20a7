"""Stop every thread of a process, and let them all run on, even if something fails in between.

PTRACE_SEIZE and PTRACE_INTERRUPT send no signal that the program could see. A stop may be ours
(PTRACE_EVENT_STOP) or a signal on its way to the thread: that signal is kept and handed back at the
detach. A thread that does not stop in time (vfork parent, uninterruptible sleep) is left in its call,
with a soft error; it can be detached only once it stops, or when its tracer exits: one reason why dumps
are taken by a separate process, which exits right after.
"""

from __future__ import annotations

import errno
import os
import sys
import time

assert sys.platform == "linux"

from perimortem.capture.linux import ptrace
from perimortem.capture.linux.access import denied_error
from perimortem.capture.linux.partial_call import is_in_partial_call
from perimortem.capture.linux.restart import restart_call
from perimortem.capture.linux.threads import read_registers
from perimortem.capture.linux.unstopped import read_call_registers
from perimortem.errors import ProcessGone
from perimortem.model.snapshot import Registers
from perimortem.procfs.stat import read_thread_stat
from perimortem.procfs.threads import has_thread_ended, list_threads

STOP_DEADLINE_S = 0.1
"""How long the stops may take together: a longer uninterruptible sleep is not waited for."""
_RUN_DEADLINE_S = 2.0
"""The same for threads that stop as soon as they are given a processor. Arbitrary."""
_LATE_DEADLINE_S = 0.3
"""How long we wait, after the others run on, for threads that stop late. Arbitrary."""
_POLL_S = 0.0002
_ROUNDS_MAX = 16
"""Threads may be created while others are stopped; each round catches the new ones."""


class PtraceStop:
    """All threads of ``pid``, stopped until :meth:`thaw`. Use as a context manager."""

    def __init__(
        self,
        pid: int,
        *,
        restarts_calls: bool = True,
        spares_writes: bool = False,
        threads: list[int] | None = None,
    ) -> None:
        """``restarts_calls``: interrupted calls are restarted instead of failing with EINTR;
        ``spares_writes``: a thread that sleeps in a call that a stop would cut short is not stopped.

        ``threads``: only these, by their ids; the others run on.
        """
        self.pid = pid
        self._spares_writes = spares_writes
        self._spared: dict[int, Registers | None] = {}
        self._threads = threads
        self._restarts_calls = restarts_calls
        self.soft_errors: list[str] = []
        self.stopped: list[int] = []
        """Threads that are stopped now, in thread id order."""
        self.running: list[int] = []
        """Threads that did not stop in time, or were left in their calls."""
        self.paused_ns = 0
        self._seized: dict[int, int] = {}
        """Seized thread to the signal that must be handed back (0 for none)."""
        self._since_ns = 0

    def __enter__(self) -> PtraceStop:
        self._since_ns = time.perf_counter_ns()
        try:
            self._stop_all()
        except BaseException:
            self.thaw()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()

    @property
    def signalled(self) -> set[int]:
        """Threads stopped with a signal that is about to be delivered."""
        return {tid for tid, signal in self._seized.items() if signal}

    def read_registers(self) -> dict[int, Registers | None]:
        """For every stopped thread, and those that its call shows of one that was left in it."""
        return {tid: read_registers(tid) for tid in self.stopped} | self._spared

    def thaw(self) -> None:
        """Let every thread run on. Safe to call again."""
        stopped = set(self.stopped)
        # What stopped since we gave up waiting for it may have been stopped by a signal.
        late = [tid for tid in self._seized if tid not in stopped]
        for tid, signal in self._seized.items():
            try:
                if tid in stopped:
                    self._detach(tid, signal)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
                late.append(tid)  # it is gone
        if self._seized:
            self.paused_ns = time.perf_counter_ns() - self._since_ns
        self._seized = {}
        self._detach_late(late)

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_DEADLINE_S
        for _ in range(_ROUNDS_MAX):
            fresh = [tid for tid in self._list_threads() if tid not in self._seized]
            fresh = [tid for tid in fresh if tid not in self.running and not self._spare(tid)]
            fresh = [tid for tid in fresh if self._seize(tid)]
            if not fresh:
                break
            self._await_stops(fresh, deadline)
        if not self._seized and not self._spared:
            raise ProcessGone(f"process {self.pid} has ended", why="no thread of it is alive")
        self.stopped.sort()

    def _list_threads(self) -> list[int]:
        if self._threads is not None:
            return self._threads
        tids = list_threads(self.pid)
        if not tids:
            raise ProcessGone(f"process {self.pid} has ended")
        return tids

    def _spare(self, tid: int) -> bool:
        if not self._spares_writes or not is_in_partial_call(self.pid, tid):
            return False
        self._spared[tid] = read_call_registers(self.pid, tid)
        self.running.append(tid)
        self.soft_errors.append(
            f"thread {tid} was not stopped: it writes, and a stop would have cut that short; only the "
            "registers of its system call are there"
        )
        return True

    def _seize(self, tid: int) -> bool:
        try:
            ptrace.seize(tid)
        except OSError as error:
            if error.errno == errno.ESRCH or has_thread_ended(self.pid, tid):
                return False
            raise denied_error(self.pid, error) from error
        self._seized[tid] = 0
        try:
            ptrace.interrupt(tid)
        except OSError:
            del self._seized[tid]
            return False
        return True

    def _await_stops(self, tids: list[int], deadline: float) -> None:
        waiting = list(tids)
        while waiting:
            waiting = [tid for tid in waiting if not self._has_stopped(tid)]
            late = time.monotonic() - deadline
            if waiting and late > 0 and (late > _RUN_DEADLINE_S or not self._will_run(waiting)):
                for tid in waiting:
                    self._leave(tid)
                return
            if waiting:
                time.sleep(_POLL_S)

    def _will_run(self, tids: list[int]) -> bool:
        """Whether one of them waits for a processor: on a busy machine, that takes its time."""
        states = (read_thread_stat(self.pid, tid) for tid in tids)
        return any(facts is not None and facts.state == "R" for facts in states)

    def _leave(self, tid: int) -> None:
        """It has not stopped: what its call shows of it is all that there is."""
        facts = read_thread_stat(self.pid, tid)
        registers = read_call_registers(self.pid, tid)
        self._spared[tid] = registers
        self.running.append(tid)
        is_asleep = facts is not None and facts.state == "D"
        why = "in an uninterruptible sleep or a vfork" if is_asleep else "why is unknown"
        there = (
            "only the registers of its system call are there"
            if registers
            else "it has no registers"
        )
        waited = f"{STOP_DEADLINE_S * 1e3:.0f} ms"
        self.soft_errors.append(f"thread {tid} did not stop within {waited} ({why}): {there}")

    def _has_stopped(self, tid: int) -> bool:
        """True if the thread needs no more waiting for: stopped, or gone."""
        try:
            pid, status = os.waitpid(tid, ptrace.WALL | os.WNOHANG)
        except ChildProcessError:
            self._seized.pop(tid, None)
            return True
        if pid == 0:
            return False
        if not os.WIFSTOPPED(status):
            self._seized.pop(tid, None)
            return True
        if status >> 16 != ptrace.PTRACE_EVENT_STOP:
            self._seized[tid] = os.WSTOPSIG(status)
        self.stopped.append(tid)
        return True

    def _detach_late(self, tids: list[int]) -> None:
        """Threads that have not stopped so far would stay stopped once they do, until we exit."""
        deadline = time.monotonic() + _LATE_DEADLINE_S
        while tids:
            tids = [tid for tid in tids if not self._detach_if_stopped(tid)]
            if not tids or time.monotonic() > deadline:
                return
            time.sleep(_POLL_S)

    def _detach(self, tid: int, signal: int) -> None:
        """Lets it run on: with the signal that stopped it, or in the call that we cut short."""
        if signal == 0 and self._restarts_calls:
            restart_call(tid)
        ptrace.detach(tid, signal)

    def _detach_if_stopped(self, tid: int) -> bool:
        """True if nothing more is to be done: detached, or gone."""
        try:
            pid, status = os.waitpid(tid, ptrace.WALL | os.WNOHANG)
            if pid == 0:
                return False
            if os.WIFSTOPPED(status):
                is_ours = status >> 16 == ptrace.PTRACE_EVENT_STOP
                self._detach(tid, 0 if is_ours else os.WSTOPSIG(status))
        except OSError:
            return True
        return True
