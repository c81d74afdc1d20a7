"""From a live process to a snapshot: what is copied during the pause, and what before and after.

The pause covers only what must be of one instant: registers, mappings, memory. What costs the kernel a
walk through all pages (VmFlags) is read before it; names, times and descriptors after it.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

assert sys.platform == "linux"

from perimortem.binary.proc_maps import parse_maps, parse_smaps
from perimortem.binary.regions import with_flags
from perimortem.capture.linux.access import check_access, denied_error, require_process
from perimortem.capture.linux.choose_memory import (
    Choice,
    choose_memory,
    is_device,
)
from perimortem.capture.linux.clone import CannotClone, Clone, CloneFacts, check_clonable
from perimortem.capture.linux.copied_memory import CopiedMemory
from perimortem.capture.linux.core_hold import CoreDumpStop
from perimortem.capture.linux.crashed_thread import return_to_crash
from perimortem.capture.linux.exit_stop import ExitStop
from perimortem.capture.linux.freeze import PtraceStop
from perimortem.capture.linux.handles import collect_handles
from perimortem.capture.linux.memory import LiveMemory
from perimortem.capture.linux.redact import filter_memory, filter_paths, filter_triage
from perimortem.capture.linux.system import collect_system_facts, read_boot_time_s
from perimortem.capture.linux.threads import (
    collect_thread,
    find_living_thread,
    find_start_address,
    read_xstate,
)
from perimortem.capture.linux.token import collect_token
from perimortem.capture.linux.unstopped import NoStop
from perimortem.elfcore.link_map import AT_ENTRY, parse_auxv, read_dso_debug
from perimortem.elfcore.modules import derive_modules
from perimortem.errors import CaptureFailed, ProcessGone
from perimortem.model.crash import Crash
from perimortem.model.dump import (
    BULK_TYPES,
    DumpFormat,
    DumpOptions,
    MinidumpType,
    Pause,
    format_flags,
)
from perimortem.model.memory import Memory
from perimortem.model.process import ProcessRef
from perimortem.model.snapshot import (
    Architecture,
    MemoryRange,
    Module,
    ReadMemory,
    Region,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.procfs.file import read_file
from perimortem.procfs.stat import read_stat, read_thread_stat

ARENA_MAX = 24 << 20
"""Up to this much is copied at once, and the target released; more is written while it is stopped,
or from a clone."""
_NOT_FORKED_MAX = 16 << 20
_UNKNOWN_HERE = {
    MinidumpType.WITH_UNLOADED_MODULES: "Linux keeps no list of libraries that were unloaded",
    MinidumpType.WITH_IPT_TRACE: "processor traces are recorded by perf",
}
_WITHOUT_PYTHON = (
    MinidumpType.FILTER_MEMORY
    | MinidumpType.FILTER_MODULE_PATHS
    | MinidumpType.WITHOUT_OPTIONAL_DATA
    | MinidumpType.FILTER_TRIAGE
)
_FILETIME_EPOCH_S = 11_644_473_600
"""1601-01-01 to 1970-01-01."""


StopStrategy = PtraceStop | CoreDumpStop | ExitStop | NoStop
"""What keeps the process stopped while it is read, if anything."""


WhileStopped = Callable[[Snapshot, ReadMemory], None]
"""A hook for the time it is stopped: gets the snapshot, without names and times yet, and all of its
memory."""


class Capture:
    """A snapshot, how it was taken, and the pause it cost (known once the target runs again)."""

    def __init__(
        self, snapshot: Snapshot, hold: StopStrategy, pause: Pause, types: MinidumpType
    ) -> None:
        self.snapshot = snapshot
        self.pause = pause
        self.types = types
        """The requested types, without those that were not possible."""
        self._hold = hold

    @property
    def paused_ms(self) -> float:
        return self._hold.paused_ns / 1e6


@contextmanager
def capture(
    process: ProcessRef,
    options: DumpOptions,
    crash: Crash | None = None,
    at_exit: ExitStop | None = None,
    while_stopped: WhileStopped | None = None,
) -> Iterator[Capture]:
    """A snapshot of ``process``; if it crashed, with the thread as it was at the fault.

    ``at_exit``: it is already stopped at its exit. ``while_stopped`` is called before it runs on.

    What fits into :data:`ARENA_MAX` is copied at once, and the target runs on before the body does.
    More is left to the body, which copies memory straight to the file: from the stopped target, from
    a clone of it (Pause.SNAPSHOT), or from the running target (Pause.NONE).
    Raises ProcessGone, AccessDenied or CaptureFailed, before anything was stopped where possible.
    """
    system = collect_system_facts()
    if system.architecture is not Architecture.X86_64:
        raise CaptureFailed(
            "cannot dump on this machine",
            why=f"only x86-64 is supported, not {system.architecture}",
        )
    hold = _choose_hold(process, options, crash, at_exit)
    before = _look_before(process, options, hold)
    with hold:
        _check_identity(process)
        taking = _Taking(process, options, hold, before, system)
        try:
            yield taking.take(crash, while_stopped)
        finally:
            hold.thaw()
            taking.close()


def _choose_hold(
    process: ProcessRef, options: DumpOptions, crash: Crash | None, at_exit: ExitStop | None
) -> StopStrategy:
    if at_exit is not None:
        return at_exit
    if crash is not None and crash.core_notes is not None:
        return CoreDumpStop(process.pid, Path(crash.core_notes))
    check_access(process.pid, is_traced=options.pause is not Pause.NONE)
    if options.pause is Pause.NONE:
        return NoStop(process.pid)
    return PtraceStop(process.pid, spares_writes=crash is None)  # what has crashed writes no more


@dataclass(frozen=True)
class _Before:
    """What was learned while the target was still running."""

    regions: tuple[Region, ...] = ()
    """With their VmFlags: what the program excluded from dumps, what belongs to a device."""
    clone: CloneFacts | None = None
    """None: no clone, for the reason ``cannot_clone``, or because none was requested."""
    cannot_clone: str = ""


def _look_before(process: ProcessRef, options: DumpOptions, hold: StopStrategy) -> _Before:
    """Raises ProcessGone if there is no such process."""
    if isinstance(hold, PtraceStop | NoStop):
        require_process(process.pid)
    tid = find_living_thread(process.pid)
    smaps = read_file(f"/proc/{process.pid}/task/{tid}/smaps")
    if not options.types & BULK_TYPES:
        return _Before(parse_smaps(smaps, of_note=True))
    regions = parse_smaps(smaps)
    if options.pause is not Pause.SNAPSHOT or not isinstance(hold, PtraceStop):
        return _Before(regions)
    if sum(r.size for r in regions if r.readable and r.writable) <= ARENA_MAX:
        return _Before(regions)  # copied at once, as fast as it could be cloned
    try:
        return _Before(regions, check_clonable(process.pid, regions))
    except CannotClone as error:
        return _Before(regions, None, str(error))


def _check_identity(process: ProcessRef) -> None:
    """Once stopped, the process cannot vanish: now its start time proves its identity."""
    facts = read_stat(process.pid)
    if facts is None or facts.start_time_ticks != process.start_time_ticks:
        raise ProcessGone(f"process {process.pid} has ended", why="its pid was reused")


class _Taking:
    """One capture under way."""

    def __init__(
        self,
        process: ProcessRef,
        options: DumpOptions,
        hold: StopStrategy,
        before: _Before,
        system: SystemFacts,
    ) -> None:
        self._process, self._options, self._hold, self._before = process, options, hold, before
        self._system = system
        self._pause = Pause.NONE if isinstance(hold, NoStop) else Pause.STOP
        self._memories: list[LiveMemory] = []
        self._clone: Clone | None = None
        self._maps = b""
        self._unforked: list[tuple[int, bytes]] = []
        self._filtered_stacks: list[MemoryRange] = []
        self._soft_errors: list[str] = []

    def take(self, crash: Crash | None, while_stopped: WhileStopped | None = None) -> Capture:
        registers = self._read_registers()
        self._soft_errors += self._hold.soft_errors
        self._soft_errors += [
            f"{format_flags(flag)[0]} was requested: {why}"
            for flag, why in _UNKNOWN_HERE.items()
            if self._options.types & flag
        ]
        pid = self._process.pid
        exception = return_to_crash(crash, pid, registers, self._soft_errors) if crash else None
        if self._before.clone or self._before.cannot_clone:
            self._clone_target(registers)
        crashing_tid = exception.tid if exception is not None else None
        snapshot = replace(self._collect(registers, crashing_tid), exception=exception)
        if while_stopped is not None:
            while_stopped(snapshot, self._memories[-1].read)
        if isinstance(snapshot.content, CopiedMemory):
            self._hold.thaw()
        snapshot = self._complete(snapshot)
        if self._options.types & MinidumpType.FILTER_MEMORY:
            snapshot = filter_memory(snapshot, self._filtered_stacks)
        if self._options.types & MinidumpType.FILTER_MODULE_PATHS:
            snapshot = filter_paths(snapshot)
        if self._options.types & MinidumpType.FILTER_TRIAGE:
            snapshot = filter_triage(snapshot)
        return Capture(snapshot, self._hold, self._pause, self._options.types)

    def _read_registers(self) -> dict[int, Registers | None]:
        registers = self._hold.read_registers()
        is_core = self._options.format is DumpFormat.CORE
        if is_core or self._options.types & MinidumpType.WITH_AVX_XSTATE_CONTEXT:
            for tid, found in registers.items():
                is_stopped = tid in self._hold.stopped
                if found is not None and is_stopped and not isinstance(self._hold, CoreDumpStop):
                    registers[tid] = replace(found, extended=read_xstate(tid))
        return registers

    def close(self) -> None:
        """After the body: the clone ends, descriptors are closed."""
        for memory in self._memories:
            memory.close()
        if self._clone is not None:
            self._clone.close()

    def _collect(
        self, registers: dict[int, Registers | None], crashing_tid: int | None
    ) -> Snapshot:
        """The part inside the pause."""
        pid, hold = self._process.pid, self._hold
        tid = hold.stopped[0] if hold.stopped else find_living_thread(pid)
        if self._clone is not None:
            memory = self._open_memory(self._clone.pid, self._clone.pid)
        else:
            memory = self._open_memory(pid, tid)
            self._maps = read_file(f"/proc/{pid}/task/{tid}/maps")
        maps = self._maps
        regions = with_flags(parse_maps(maps), self._before.regions)
        memory.declare(regions)
        auxv = read_file(f"/proc/{pid}/task/{tid}/auxv")
        modules = derive_modules(regions, memory.read, regions[0].path if regions else None)
        dso = read_dso_debug(parse_auxv(auxv), memory.read)
        threads = tuple(
            Thread(tid, "", registers.get(tid)) for tid in sorted({*hold.stopped, *hold.running})
        )
        if self._options.types & MinidumpType.WITH_THREAD_INFO:
            entry = parse_auxv(auxv).get(AT_ENTRY, 0)
            threads = tuple(
                replace(
                    thread,
                    start_address=entry
                    if thread.tid == pid
                    else find_start_address(thread, regions, memory.read),
                )
                for thread in threads
            )

        choice = choose_memory(
            self._options, threads, regions, modules,
            [*(dso[1] if dso else []), *self._choose_python(modules, threads, memory, crashing_tid)],
            memory.read, memory.iter_changed, self._soft_errors, _find_environment(pid),
            crashing_tid=crashing_tid,
        )  # fmt: skip
        content, ranges = self._take_memory(choice, memory, regions)
        return Snapshot(
            pid=pid,
            taken_at_s=int(time.time()),
            process_create_time_s=0,
            user_time_s=0,
            kernel_time_s=0,
            system=self._system,
            threads=threads,
            modules=modules,
            regions=regions,
            memory=ranges,
            handles=None,
            files={"maps": maps, "auxv": auxv},
            content=content,
            dso_debug=dso[0] if dso else None,
            is_alive=lambda: bool(read_file(f"/proc/{memory.pid}/task/{memory.tid}/maps")),
            soft_errors=self._soft_errors,
        )

    def _choose_python(
        self,
        modules: tuple[Module, ...],
        threads: tuple[Thread, ...],
        memory: LiveMemory,
        crashing_tid: int | None,
    ) -> list[MemoryRange]:
        """A full dump has it anyway; one without data should not have the names of source files."""
        if self._options.types & (_WITHOUT_PYTHON | MinidumpType.WITH_FULL_MEMORY):
            return []
        if not any("python" in module.path for module in modules):
            return []
        from perimortem.capture.linux.python_memory import choose_python  # for Python alone

        return choose_python(modules, threads, memory.read, crashing_tid)

    def _clone_target(self, registers: dict[int, Registers | None]) -> None:
        """Then release the target; or do without the bulk of memory: with ``--pause snapshot`` the
        target cannot bear the pause."""
        assert isinstance(self._hold, PtraceStop)
        reason = self._before.cannot_clone
        if not self._hold.stopped:
            reason = "no thread of it could be stopped"
        elif self._before.clone is not None:
            tid = self._hold.stopped[0]
            self._maps = read_file(f"/proc/{self._process.pid}/task/{tid}/maps")
            self._copy_unforked(tid)
            try:
                self._clone = Clone(self._hold, registers, self._before.clone)
                self._pause = Pause.SNAPSHOT
                self._hold.thaw()
                return
            except CannotClone as error:
                reason = str(error)
        self._soft_errors.append(
            f"the bulk of memory was left out: no snapshot was possible: {reason} "
            "(--pause stop takes it)"
        )
        self._options = replace(self._options, types=self._options.types & ~BULK_TYPES)

    def _copy_unforked(self, tid: int) -> None:
        """What a clone lacks: MADV_DONTFORK, and MADV_WIPEONFORK, which is zero in it."""
        missing = [
            region
            for region in self._before.regions
            if region.readable and region.vm_flags & {"dc", "wf"} and not is_device(region)
        ]
        if not missing:
            return
        memory = LiveMemory(self._process.pid, tid)
        left_out = 0
        for region in missing:
            if region.size <= _NOT_FORKED_MAX - sum(len(data) for _, data in self._unforked):
                self._unforked.append((region.start, memory.read(region.start, region.size)))
            else:
                left_out += region.size
        memory.close()
        if left_out:
            self._soft_errors.append(
                f"{left_out} bytes are zero: marked MADV_DONTFORK or MADV_WIPEONFORK, and too many "
                "to copy"
            )

    def _take_memory(
        self, choice: Choice, memory: LiveMemory, regions: tuple[Region, ...]
    ) -> tuple[Memory, tuple[MemoryRange, ...]]:
        """The source of the snapshot's memory, and its ranges."""
        if choice.stacks and (self._clone or choice.size > ARENA_MAX):
            self._soft_errors.append(
                "stacks were not filtered: pointless with this much other memory in the dump"
            )
        if self._clone is not None:
            shared = sum(r.size for r in regions if r.shared and r.writable and r.readable)
            if shared:
                self._soft_errors.append(
                    f"{shared} bytes of shared memory were read after the snapshot: they may have "
                    "changed"
                )
            content = CopiedMemory(self._unforked, memory) if self._unforked else memory
            return content, tuple(choice.ranges)
        if choice.size > ARENA_MAX:
            return memory, tuple(choice.ranges)
        copies = [(r.address, memory.read(r.address, r.size)) for r in choice.ranges]
        copies = [(address, data) for address, data in copies if data]
        self._filtered_stacks = choice.stacks
        return CopiedMemory(copies), tuple(MemoryRange(at, len(data)) for at, data in copies)

    def _complete(self, snapshot: Snapshot) -> Snapshot:
        """Names, times and descriptors: read after the target was released."""
        pid, types = self._process.pid, self._options.types
        boot_100ns = (read_boot_time_s() + _FILETIME_EPOCH_S) * 10_000_000
        threads = tuple(collect_thread(pid, t, boot_100ns) for t in snapshot.threads)
        tid = next((t.tid for t in threads if t.registers), pid)  # the leader may be dead
        files = dict(snapshot.files)
        for name in ("status", "cmdline", "limits"):
            files[name] = read_file(f"/proc/{pid}/task/{tid}/{name}")
        handles = None
        if types & MinidumpType.WITH_HANDLE_DATA:
            handles = collect_handles(pid, snapshot.soft_errors)
        token = None
        if types & MinidumpType.WITH_TOKEN_INFORMATION:
            token = collect_token(pid, files["status"])
        if types & MinidumpType.WITHOUT_OPTIONAL_DATA:
            files = {name: files[name] for name in ("maps", "auxv")}
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
            token=token,
        )

    def _open_memory(self, pid: int, tid: int) -> LiveMemory:
        try:
            memory = LiveMemory(pid, tid)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise denied_error(pid, error) from error
            raise ProcessGone(f"process {pid} has ended", why=error.strerror or "") from error
        self._memories.append(memory)
        return memory


def _find_environment(pid: int) -> MemoryRange | None:
    """The environment at the end of the first stack, full of secrets."""
    facts = read_thread_stat(pid, find_living_thread(pid))
    start, end = facts.environment if facts is not None else (0, 0)
    return MemoryRange(start, end - start) if 0 < start < end else None
