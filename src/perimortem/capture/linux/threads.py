"""Threads: registers of the stopped ones, names and times of all."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.binary.regions import find_region
from perimortem.binary.user_regs import SIZE, parse_registers
from perimortem.capture.linux import ptrace
from perimortem.model.snapshot import ReadMemory, Region, Registers, Thread
from perimortem.procfs.stat import read_thread_stat
from perimortem.procfs.threads import has_thread_ended, list_threads
from perimortem.text import printable

_START_ROUTINE_OFFSETS = (0x638, 0x640)
"""Of struct pthread, x86-64: glibc 2.36 and 2.17 to 2.35."""
_TICK_100NS = 10_000_000 // os.sysconf("SC_CLK_TCK")


def read_registers(tid: int) -> Registers | None:
    """All register sets of a stopped thread; None when it went away."""
    general = ptrace.read_regset(tid, ptrace.NT_PRSTATUS)
    if general is None or len(general) != SIZE:
        return None
    return Registers(
        general=parse_registers(general),
        floating_point=ptrace.read_regset(tid, ptrace.NT_PRFPREG),
        extended=None,
    )


def find_living_thread(pid: int) -> int:
    """The leader, or another if that exited by pthread_exit: a zombie's /proc is empty."""
    tids = sorted(list_threads(pid), key=lambda tid: tid != pid)
    return next((tid for tid in tids if not has_thread_ended(pid, tid)), pid)


def read_xstate(tid: int) -> bytes | None:
    """The XSAVE area of a stopped thread: AVX and later extensions."""
    return ptrace.read_regset(tid, ptrace.NT_X86_XSTATE)


def find_start_address(thread: Thread, regions: tuple[Region, ...], read: ReadMemory) -> int:
    """The function given to pthread_create: glibc keeps it in struct pthread; 0 if not found."""
    pointer = thread.registers.general["fs_base"] if thread.registers else 0
    if not pointer:
        return 0
    first = _START_ROUTINE_OFFSETS[0]
    data = read(pointer + first, _START_ROUTINE_OFFSETS[-1] + 8 - first)
    for offset in _START_ROUTINE_OFFSETS:
        at = offset - first
        if at + 8 <= len(data):
            (address,) = struct.unpack_from("<Q", data, at)
            region = find_region(regions, address)
            if region is not None and region.executable:
                return int(address)
    return 0


def collect_thread(pid: int, thread: Thread, boot_100ns: int) -> Thread:
    """``thread`` with its name and times; if it is gone, unknown ones keep their defaults.

    ``boot_100ns``: the time of boot, in 100 ns units since 1601 (FILETIME).
    """
    facts = read_thread_stat(pid, thread.tid)
    try:
        affinity = sum(1 << cpu for cpu in os.sched_getaffinity(thread.tid) if cpu < 64)
    except OSError:
        affinity = 0
    if facts is None:
        return replace(thread, affinity=affinity)
    return replace(
        thread,
        name=printable(facts.name),
        state=facts.state,
        user_time_100ns=facts.user_ticks * _TICK_100NS,
        kernel_time_100ns=facts.kernel_ticks * _TICK_100NS,
        start_time_100ns=boot_100ns + facts.start_time_ticks * _TICK_100NS,
        affinity=affinity,
        priority=facts.priority,
    )
