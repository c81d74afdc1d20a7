"""From a live process to a snapshot: what is copied during the pause, and what before and after.

The pause holds only what must be of one instant: registers, mappings, memory. Names, times and
descriptors are read after it.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

assert sys.platform == "linux"

from perimortem.capture.linux.access import check_access
from perimortem.capture.linux.core_hold import CoreHold
from perimortem.capture.linux.crashed_thread import return_to_crash
from perimortem.capture.linux.dso_debug import parse_auxv, read_dso_debug
from perimortem.capture.linux.exit_stop import ExitStop
from perimortem.capture.linux.freeze import Freeze
from perimortem.capture.linux.handles import collect_handles
from perimortem.capture.linux.maps import parse_maps, parse_smaps
from perimortem.capture.linux.memory import LiveMemory
from perimortem.capture.linux.modules import derive_modules
from perimortem.capture.linux.select_memory import select_memory
from perimortem.capture.linux.system import collect_system_facts, read_boot_time_s
from perimortem.capture.linux.threads import collect_thread
from perimortem.errors import CaptureFailed, ProcessGone
from perimortem.model.crash import Crash
from perimortem.model.dump import MinidumpType
from perimortem.model.process import ProcessRef
from perimortem.model.snapshot import (
    Architecture,
    MemoryRange,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)

_SUPPORTED = (
    MinidumpType.WITH_DATA_SEGS
    | MinidumpType.WITH_FULL_MEMORY
    | MinidumpType.WITH_HANDLE_DATA
    | MinidumpType.WITH_PROCESS_THREAD_DATA
    | MinidumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | MinidumpType.WITH_FULL_MEMORY_INFO
    | MinidumpType.WITH_THREAD_INFO
    | MinidumpType.WITH_CODE_SEGS
    | MinidumpType.IGNORE_INACCESSIBLE_MEMORY
)
_FILETIME_EPOCH_S = 11_644_473_600
"""1601-01-01 to 1970-01-01."""


_Hold = Freeze | CoreHold | ExitStop
"""What keeps the process still while it is read."""


class Capture:
    """A snapshot and the pause it cost (known once the target runs again)."""

    def __init__(self, snapshot: Snapshot, freeze: _Hold) -> None:
        self.snapshot = snapshot
        self._freeze = freeze

    @property
    def paused_ms(self) -> float:
        return self._freeze.paused_ns / 1e6


@contextmanager
def capture(
    process: ProcessRef,
    types: MinidumpType,
    crash: Crash | None = None,
    at_exit: ExitStop | None = None,
) -> Iterator[Capture]:
    """A snapshot of ``process``; of one that crashes, with the thread as it was at the fault.

    ``at_exit``: it stands on its way out already.

    Without full memory everything is copied at once and the target runs on before the body does;
    with full memory it stays frozen for the body, which copies memory straight to the file.
    Raises ProcessGone, AccessDenied or CaptureFailed, before anything was stopped where possible.
    """
    system = collect_system_facts()
    if system.architecture is not Architecture.X86_64:
        raise CaptureFailed(
            "cannot dump on this machine",
            why=f"only x86-64 is supported, not {system.architecture}",
        )
    hold = _choose_hold(process, crash, at_exit)
    is_full = bool(types & MinidumpType.WITH_FULL_MEMORY)
    with hold as freeze:
        _check_identity(process)
        registers = freeze.read_registers()
        soft_errors = [*freeze.soft_errors, *_name_unsupported(types)]
        exception = return_to_crash(crash, process.pid, registers, soft_errors) if crash else None
        memory = LiveMemory(process.pid, freeze.stopped[0] if freeze.stopped else process.pid)
        try:
            snapshot = _collect(process, types, freeze, registers, memory, soft_errors, system)
            snapshot = replace(snapshot, exception=exception)
            if not is_full:
                freeze.thaw()
            yield Capture(_complete(snapshot, process, types), freeze)
        finally:
            freeze.thaw()
            memory.close()


def _choose_hold(process: ProcessRef, crash: Crash | None, at_exit: ExitStop | None) -> _Hold:
    if at_exit is not None:
        return at_exit
    if crash is not None and crash.core_notes is not None:
        return CoreHold(process.pid, Path(crash.core_notes))
    check_access(process.pid)
    return Freeze(process.pid)


def _check_identity(process: ProcessRef) -> None:
    """Stopped, the process cannot go away: now its start time proves who it is."""
    fields = _read_proc(process.pid, "stat").rpartition(b")")[2].split()
    if len(fields) < 20 or int(fields[19]) != process.start_time_ticks:
        raise ProcessGone(
            f"process {process.pid} has ended", why="its pid was given to another process"
        )


def _name_unsupported(types: MinidumpType) -> list[str]:
    return [
        f"{flag.name} was asked for and is not written by this version"
        for flag in MinidumpType
        if flag and types & flag and not flag & _SUPPORTED
    ]


def _collect(
    process: ProcessRef,
    types: MinidumpType,
    freeze: _Hold,
    registers: dict[int, Registers | None],
    memory: LiveMemory,
    soft_errors: list[str],
    system: SystemFacts,
) -> Snapshot:
    """The part inside the pause."""
    pid = process.pid
    tid = freeze.stopped[0] if freeze.stopped else pid
    is_full = bool(types & MinidumpType.WITH_FULL_MEMORY)
    maps = _read_proc(pid, f"task/{tid}/maps")
    regions = parse_smaps(_read_proc(pid, f"task/{tid}/smaps")) if is_full else parse_maps(maps)
    auxv = _read_proc(pid, f"task/{tid}/auxv")
    executable = regions[0].path if regions else None
    modules = derive_modules(regions, memory.read, executable)
    threads = tuple(
        Thread(tid, "", registers.get(tid)) for tid in sorted({*freeze.stopped, *freeze.running})
    )
    dso = read_dso_debug(parse_auxv(auxv), memory.read)
    wanted = dso[1] if dso else []
    chosen = select_memory(types, threads, regions, modules, wanted, soft_errors)
    if is_full:
        ranges, read = tuple(chosen), memory.read
    else:
        copies = [(r.address, memory.read(r.address, r.size)) for r in chosen]
        copies = [(address, data) for address, data in copies if data]
        ranges = tuple(MemoryRange(address, len(data)) for address, data in copies)
        read = CopiedMemory(copies).read
    return Snapshot(
        pid=pid,
        taken_at_s=int(time.time()),
        process_create_time_s=0,
        user_time_s=0,
        kernel_time_s=0,
        system=system,
        threads=threads,
        modules=modules,
        regions=regions,
        memory=ranges,
        handles=None,
        files={"maps": maps, "auxv": auxv},
        read=read,
        dso_debug=dso[0] if dso else None,
        is_alive=lambda: bool(_read_proc(pid, f"task/{tid}/maps")),
        soft_errors=soft_errors,
    )


def _complete(snapshot: Snapshot, process: ProcessRef, types: MinidumpType) -> Snapshot:
    """Names, times and descriptors: read when they cost the target no more time."""
    pid = process.pid
    boot_s = read_boot_time_s()
    boot_100ns = (boot_s + _FILETIME_EPOCH_S) * 10_000_000
    threads = tuple(collect_thread(pid, t.tid, t.registers, boot_100ns) for t in snapshot.threads)
    tid = next((t.tid for t in threads if t.registers), pid)  # the leader may be dead
    files = dict(snapshot.files)
    for name in ("status", "cmdline", "limits"):
        files[name] = _read_proc(pid, f"task/{tid}/{name}")
    handles = None
    if types & MinidumpType.WITH_HANDLE_DATA:
        handles = collect_handles(pid, snapshot.soft_errors)
    leader = next((t for t in threads if t.tid == pid), None)
    created_s = leader.start_time_100ns // 10_000_000 - _FILETIME_EPOCH_S if leader else 0
    return replace(
        snapshot,
        process_create_time_s=max(0, created_s),
        user_time_s=sum(t.user_time_100ns for t in threads) // 10_000_000,
        kernel_time_s=sum(t.kernel_time_100ns for t in threads) // 10_000_000,
        threads=threads,
        handles=handles,
        files=files,
    )


class CopiedMemory:
    """Memory that was copied during the pause, found again by address."""

    def __init__(self, copies: list[tuple[int, bytes]]) -> None:
        self._copies = sorted(copies, key=lambda copy: copy[0])
        self._starts = [address for address, _ in self._copies]

    def read(self, address: int, size: int) -> bytes:
        """The bytes there, up to the end of the copied range."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return b""
        start, data = self._copies[index]
        return data[address - start : address - start + size]


def _read_proc(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
