"""A copy-on-write clone of a frozen process: the clone stays frozen, the process runs on.

The clone is a child that never runs: created by a system call injected into a frozen thread
(native/capture/inject.c). It shares the tables of descriptors, directories and semaphores at birth, so
that it keeps no pipe open, and its own table is emptied right after. It has no exit signal, and is
reaped by a second such call.
docs/decisions/0014-snapshot.md says what is refused and why.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

assert sys.platform == "linux"

from perimortem.binary.proc_maps import parse_maps
from perimortem.binary.regions import find_region
from perimortem.capture.linux import native, ptrace
from perimortem.capture.linux.freeze import PtraceStop
from perimortem.capture.linux.memory_room import read_memory_room
from perimortem.capture.linux.native import InjectionError
from perimortem.capture.linux.threads import find_living_thread
from perimortem.errors import PerimortemError
from perimortem.model.snapshot import Region, Registers
from perimortem.procfs.file import read_file
from perimortem.procfs.stat import read_stat, read_thread_stat
from perimortem.procfs.status import read_status, sum_kib
from perimortem.procfs.threads import list_threads

_CLONE, _WAIT4 = 56, 61
"""On x86-64, the only architecture of dumps."""
_CLONE_FS, _CLONE_FILES, _CLONE_SYSVSEM, _CLONE_IO = 0x200, 0x400, 0x40000, 0x80000000
_WALL, _WNOHANG = 0x40000000, 1
_REAP_S, _REAP_PAUSE_S = 3.0, 0.005
_STACK_ROOM = native.FRAME_BYTES_MAX + 4096
_REASONS = {
    InjectionError.GONE: "the thread went away",
    InjectionError.NO_REGISTERS: "its registers are not those of 64-bit x86",
    InjectionError.RSEQ: "the thread is inside a restartable sequence",
    InjectionError.SHADOW_STACK: "it has shadow stacks",
    InjectionError.USER_DISPATCH: "its system calls go to its own handler, as under Wine",
    InjectionError.MEMORY: "its stack or the vdso cannot be written",
    InjectionError.SECCOMP: "it has seccomp filters, and only root may suspend them",
    InjectionError.STOPS: "the thread stopped for another reason meanwhile",
}
_OF_ONE_THREAD = (InjectionError.NO_REGISTERS, InjectionError.RSEQ, InjectionError.SHADOW_STACK)
"""Another thread may do; nothing was changed yet."""


class CannotClone(PerimortemError):
    """Why this process is not cloned, briefly."""


@dataclass(frozen=True)
class CloneFacts:
    """What was found out before the process was frozen."""

    regions: tuple[Region, ...]
    """With their VmFlags."""
    has_seccomp: bool


def check_clonable(pid: int, regions: tuple[Region, ...]) -> CloneFacts:
    """Raises :class:`CannotClone`; nothing is touched yet."""
    facts = read_thread_stat(pid, find_living_thread(pid))
    if _has_userfaultfd(pid) or any(r.vm_flags & {"um", "uw", "ui"} for r in regions):
        raise CannotClone("it uses userfaultfd: a fault of the clone would never be answered")
    if any("ht" in r.vm_flags and not r.shared for r in regions):
        raise CannotClone("it has private huge pages of hugetlbfs, of which there may be no more")
    if _namespace(pid, "pid_for_children") != _namespace(pid, "pid"):
        raise CannotClone("its children live in another pid namespace: the clone would be its init")
    if facts is not None and facts.state in ("T", "t"):
        raise CannotClone("it is stopped: a snapshot would gain nothing")
    needed = _private_bytes(pid)
    room = read_memory_room(pid)
    if room is not None and needed > room:
        raise CannotClone(
            f"it has {needed >> 20} MiB of private memory, and should it write to all of it while it is "
            f"copied, only {room >> 20} MiB are left"
        )
    return CloneFacts(regions, has_seccomp(pid))


class Clone:
    """``pid`` keeps the memory of that instant, frozen, until :meth:`close`."""

    def __init__(
        self, freeze: PtraceStop, registers: dict[int, Registers | None], facts: CloneFacts
    ) -> None:
        """The threads of ``freeze`` are stopped. Raises :class:`CannotClone`."""
        self._target_pid = freeze.pid
        self._has_seccomp = facts.has_seccomp
        flags = _CLONE_FS | _CLONE_FILES | _CLONE_SYSVSEM | _CLONE_IO
        self.pid = 0
        reason = "no thread has a stack with room for a signal frame"
        for tid in freeze.stopped:
            thread_registers = registers.get(tid)
            if tid in freeze.signalled or thread_registers is None:
                continue
            if not _has_room(facts.regions, thread_registers.general["rsp"]):
                continue
            error, result, child = _inject(
                freeze.pid, tid, _CLONE, (flags, 0, 0, 0, 0),
                is_clone=True, has_seccomp=facts.has_seccomp,
            )  # fmt: skip
            if error is InjectionError.DONE:
                self.pid = child
                break
            if (
                child > 0
            ):  # created, but not ours to keep: what is left of it our monitor has reaped
                with contextlib.suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            reason = _REASONS.get(error) or f"clone: {os.strerror(-result)}"
            if error not in _OF_ONE_THREAD:
                break
        if not self.pid:
            raise CannotClone(reason)
        with contextlib.suppress(OSError):  # if memory runs out, the clone is killed first
            Path(f"/proc/{self.pid}/oom_score_adj").write_text("1000")

    def close(self) -> None:
        """End the clone without a trace. Safe to call again."""
        if not self.pid:
            return
        clone, self.pid = self.pid, 0
        with contextlib.suppress(OSError):
            os.kill(clone, signal.SIGKILL)
            os.waitpid(clone, ptrace.WALL)
        reap_clone(self._target_pid, clone, has_seccomp=self._has_seccomp)


def reap_clone(pid: int, clone: int, *, has_seccomp: bool) -> bool:
    """Have ``pid`` wait for its child ``clone``, which is dead or dying; true if it is gone.

    Each thread is tried in turn: some end meanwhile, some do not stop, some are where no frame
    fits. One that did not stop remains traced until we exit.
    """
    deadline = time.monotonic() + _REAP_S
    for attempt in count():
        # A thread that is gone or unusable is not a failure: the next one is tried.
        with contextlib.suppress(PerimortemError, OSError):
            tids = sorted(list_threads(pid), reverse=True)
            if tids and _is_zombie(clone):
                _reap_in(pid, tids[attempt % len(tids)], clone, has_seccomp=has_seccomp)
        if not os.path.exists(f"/proc/{clone}") or time.monotonic() > deadline:
            break
        time.sleep(_REAP_PAUSE_S)  # it may still be freeing memory, or the target be elsewhere
    return not os.path.exists(f"/proc/{clone}")


def _reap_in(pid: int, tid: int, clone: int, *, has_seccomp: bool) -> None:
    with PtraceStop(pid, threads=[tid], spares_writes=True) as freeze:
        thread_registers = freeze.read_registers().get(tid)
        if tid not in freeze.stopped or tid in freeze.signalled or thread_registers is None:
            return
        if _has_room(_read_regions(pid, tid), thread_registers.general["rsp"]):
            arguments = (_own_number(clone), 0, _WALL | _WNOHANG, 0)
            _inject(pid, tid, _WAIT4, arguments, is_clone=False, has_seccomp=has_seccomp)


def _own_number(clone: int) -> int:
    """The id by which its parent knows it: the last, in the innermost pid namespace."""
    status = read_status(clone)
    return status.numbers[-1] if status is not None and status.numbers else clone


def find_left_clones(pid: int, since_ticks: int) -> list[int]:
    """Children of ``pid`` as a killed worker leaves them: dead or dying, without an exit signal, without
    CPU time, untraced, not older than the worker."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for word in read_file(task).split():
            child = int(word)
            facts = read_stat(child)
            if (
                facts is not None
                and facts.exit_signal == 0
                and facts.user_ticks == 0
                and facts.start_time_ticks >= since_ticks
                and (facts.state == "Z" or not _is_traced(child))
            ):
                found.append(child)
    return found


def _is_traced(pid: int) -> bool:
    status = read_status(pid)
    return status is not None and status.tracer_pid != 0


def has_seccomp(pid: int) -> bool:
    """Does it have seccomp filters?"""
    status = read_status(pid, find_living_thread(pid))
    return status is not None and status.has_seccomp


def _inject(
    pid: int, tid: int, call: int, arguments: tuple[int, ...], *, is_clone: bool, has_seccomp: bool
) -> tuple[InjectionError, int, int]:
    """(DONE or the obstacle, result, child)"""
    stub = _find_stub(pid, tid)
    memory_fd = os.open(f"/proc/{pid}/task/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        injection = native.Injection(
            tid=tid, memory_fd=memory_fd, stub=stub, call=call,
            is_clone=is_clone, has_seccomp=has_seccomp,
        )  # fmt: skip
        for index, argument in enumerate(arguments):
            injection.arguments[index] = argument
        error = native.inject(injection)
        return error, int(injection.result), int(injection.child)
    finally:
        os.close(memory_fd)


def _find_stub(pid: int, tid: int) -> int:
    """Unused bytes at the end of the vdso, which is executable in every process."""
    for region in _read_regions(pid, tid):
        if region.path == "[vdso]":
            at = region.end - native.STUB_BYTES
            with open(f"/proc/{pid}/task/{tid}/mem", "rb", buffering=0) as file:
                file.seek(at - native.STUB_BYTES)
                if file.read(2 * native.STUB_BYTES) == bytes(2 * native.STUB_BYTES):
                    return at
            raise CannotClone("its vdso has no room at its end")
    raise CannotClone("it has no vdso")


def _has_room(regions: tuple[Region, ...], stack_pointer: int) -> bool:
    """Is below the pointer a stack, and nothing else? Small stacks in a heap are not written to."""
    stack = find_region(regions, stack_pointer)
    if (
        stack is None
        or not stack.writable
        or stack.shared
        or stack_pointer - stack.start < _STACK_ROOM
    ):
        return False
    if stack.path == "[stack]":
        return True
    below = find_region(regions, stack.start - 1)
    return not stack.inode and below is not None and not below.readable and not below.writable


def _read_regions(pid: int, tid: int) -> tuple[Region, ...]:
    return parse_maps(read_file(f"/proc/{pid}/task/{tid}/maps"))


def _has_userfaultfd(pid: int) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if "userfaultfd" in os.readlink(entry.path):
                        return True
    except OSError:
        return True
    return False


def _private_bytes(pid: int) -> int:
    """Memory that may have to exist twice. For a process whose leader has ended only VmRSS is known."""
    private = sum_kib(read_file(f"/proc/{pid}/smaps_rollup"), ("Private_Dirty", "Swap"))
    if private:
        return private
    status = read_status(pid, find_living_thread(pid))
    return status.held_bytes if status is not None else 0


def _namespace(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{name}")
    except OSError:
        return ""


def _is_zombie(pid: int) -> bool:
    facts = read_stat(pid)
    return facts is not None and facts.state == "Z"
