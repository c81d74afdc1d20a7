"""Ends of processes by pidfd: of children with waitid, of all others with PIDFD_GET_INFO.

A pidfd holds the process, so the pid cannot be reused under us (pidfd_open(2), Linux 5.3). The
status of a process that is not our child is available only after it was reaped; the sources for
such a process, in order, are PIDFD_INFO_EXIT (6.15+), the zombie's own /proc/PID/stat, the proc
connector, and then "unknown" rather than a guess.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys

assert sys.platform == "linux"

from perimortem.errors import AccessDenied, PerimortemError, ProcessGone
from perimortem.exits.decode import decode_wait_status
from perimortem.exits.linux.cgroup_memory import CgroupMemory
from perimortem.exits.linux.pidfd_info import read_exit_status
from perimortem.exits.linux.proc_connector import ProcConnector
from perimortem.exits.linux.resource_limits import find_reached_limit
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import Fact, FactCode, observed
from perimortem.model.process import ProcessRef
from perimortem.procfs.stat import read_stat

_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = 1, 2, 3
_GIVE_UP_NS = 2_000_000_000
"""How long we query the status of a process that is not reaped. Arbitrary."""


def open_pidfd(process: ProcessRef) -> int:
    """A pidfd that certainly refers to ``process``: its start time is compared after the open."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise ProcessGone(f"process {process.pid} has ended") from error
        if error.errno == errno.EMFILE:
            raise PerimortemError(
                "too many processes are watched at once",
                why="the limit of open files is reached",
                remedy="raise it: ulimit -n",
            ) from error
        raise AccessDenied(
            f"cannot hold process {process.pid}",
            why=f"pidfd_open: {error.strerror}",
            remedy="Linux 5.3 or later is needed, and no seccomp filter on pidfd_open",
        ) from error
    facts = read_stat(process.pid)
    if facts is None or facts.start_time_ticks != process.start_time_ticks:
        os.close(fd)
        raise ProcessGone(f"process {process.pid} has ended", why="its pid was reused")
    return fd


def note_memory(end: Exit, memory: CgroupMemory, facts: list[Fact]) -> None:
    """A SIGKILL may come from the out-of-memory killer."""
    kills = memory.describe_kills() if end.signal in (signal.SIGKILL, None) else None
    if kills is not None and end.code is None:
        facts.append(observed(FactCode.CGROUP_OOM, "memory cgroup", text=kills))


def note_limit(pid: int, end: Exit, facts: list[Fact]) -> None:
    """Before it is reaped."""
    reached = find_reached_limit(pid, end.signal)
    if reached is not None:
        facts.append(reached)


class _PidfdWatch:
    """A process that is held by a pidfd."""

    retry_after_s = 0.002

    def __init__(self, process: ProcessRef) -> None:
        self.process = process
        self.facts: list[Fact] = []
        self._fd = open_pidfd(process)
        self._memory = CgroupMemory(process.pid)

    def waitable(self) -> int:
        return self._fd

    def send_signal(self, number: int) -> None:
        if self._fd >= 0:  # else it was released, and the descriptor may have been reused
            signal.pidfd_send_signal(self._fd, number)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ChildExitWatch(_PidfdWatch):
    """Our own child: waitid returns everything at once, and reaps it."""

    def collect_exit(self, now_ns: int) -> Exit | None:
        """None while a tracer (a dump worker, a debugger) still holds the dead process."""
        try:
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if info is None:
                return None
            end = _decode_siginfo(info)
            note_limit(self.process.pid, end, self.facts)
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return Exit(ExitKind.UNKNOWN, ExitSource.NONE)
        note_memory(end, self._memory, self.facts)
        return end


def _decode_siginfo(info: os.waitid_result) -> Exit:
    if info.si_code == _CLD_EXITED:
        return Exit(
            ExitKind.EXITED,
            ExitSource.WAITID,
            code=info.si_status,
            raw_status=info.si_status << 8,
        )
    dumped = info.si_code == _CLD_DUMPED
    return Exit(
        ExitKind.SIGNALED,
        ExitSource.WAITID,
        signal=info.si_status,
        core_dumped=dumped,
        raw_status=info.si_status | (0x80 if dumped else 0),
    )


def _collect_adopted(pidfd: int) -> Exit | None:
    """An orphan reparented to us (we are a subreaper, or pid 1) is now our child; reaped here."""
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    return None if info is None else _decode_siginfo(info)


class ForeignExitWatch(_PidfdWatch):
    """A process that is not our child: its status is read from one source after another."""

    def __init__(self, process: ProcessRef, connector: ProcConnector | None = None) -> None:
        super().__init__(process)
        self._connector = connector if connector is not None else ProcConnector.shared()
        self._asked_since_ns: int | None = None

    def collect_exit(self, now_ns: int) -> Exit | None:
        end = self._ask(now_ns)
        if end is not None:
            note_memory(end, self._memory, self.facts)
        return end

    def _ask(self, now_ns: int) -> Exit | None:
        if self._asked_since_ns is None:
            self._asked_since_ns = now_ns
        adopted = _collect_adopted(self._fd)
        if adopted is not None:
            return adopted
        status = read_exit_status(self._fd)
        if status is not None:
            return decode_wait_status(status, ExitSource.PIDFD_INFO)
        zombie = read_stat(self.process.pid)
        is_ours = zombie is not None and zombie.start_time_ticks == self.process.start_time_ticks
        if zombie is not None and is_ours and zombie.is_dead and zombie.exit_code is not None:
            end = decode_wait_status(zombie.exit_code, ExitSource.ZOMBIE_STAT)
            note_limit(self.process.pid, end, self.facts)
            return end
        if self._connector is not None and zombie is None:
            # Last: it reports the leader, which may have exited long before the process ended.
            status = self._connector.take_exit_status(self.process.pid)
            if status is not None:
                return decode_wait_status(status, ExitSource.PROC_CONNECTOR)
        if self._is_reaped() or now_ns - self._asked_since_ns > _GIVE_UP_NS:
            # The last query comes after the reaping, in case it became available meanwhile.
            status = read_exit_status(self._fd)
            if status is not None:
                return decode_wait_status(status, ExitSource.PIDFD_INFO)
            self.facts.append(
                observed(FactCode.STATUS_UNKNOWN, "PIDFD_GET_INFO, proc connector, /proc/PID/stat")
            )
            return Exit(ExitKind.UNKNOWN, ExitSource.NONE)
        return None

    def _is_reaped(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(events & select.POLLHUP for _, events in poll.poll(0))
