"""A minidump of any writer as a snapshot: what analysis and converters work on. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from perimortem.binary.pieces import Piece, PieceMemory, bound_pieces
from perimortem.binary.proc_maps import parse_maps
from perimortem.errors import MalformedInput
from perimortem.minidump import format as layout
from perimortem.minidump.context import read_registers
from perimortem.minidump.format import (
    Location,
    Platform,
    ProcessorArchitecture,
    StreamType,
    UnloadedModule,
)
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.model.snapshot import (
    Architecture,
    ExceptionRecord,
    Handle,
    Module,
    OperatingSystem,
    Region,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.text import printable

_T = TypeVar("_T")
_ARCHITECTURES: dict[int, Architecture] = {
    ProcessorArchitecture.AMD64: Architecture.X86_64,
    ProcessorArchitecture.ARM64: Architecture.AARCH64,
    ProcessorArchitecture.ARM64_OLD: Architecture.AARCH64,
    ProcessorArchitecture.INTEL: Architecture.X86,
    ProcessorArchitecture.IA32_ON_WIN64: Architecture.X86,
    ProcessorArchitecture.ARM: Architecture.ARM,
    ProcessorArchitecture.MIPS: Architecture.MIPS,
    ProcessorArchitecture.MIPS64: Architecture.MIPS64,
    ProcessorArchitecture.PPC: Architecture.PPC,
    ProcessorArchitecture.PPC64: Architecture.PPC64,
    ProcessorArchitecture.RISCV: Architecture.RISCV,
    ProcessorArchitecture.RISCV64: Architecture.RISCV64,
    ProcessorArchitecture.SPARC: Architecture.SPARC,
    ProcessorArchitecture.IA64: Architecture.IA64,
}
_SYSTEMS: dict[int, OperatingSystem] = {
    Platform.LINUX: OperatingSystem.LINUX,
    Platform.ANDROID: OperatingSystem.LINUX,
    Platform.WIN32_NT: OperatingSystem.WINDOWS,
    Platform.MAC_OS_X: OperatingSystem.MACOS,
    Platform.IOS: OperatingSystem.MACOS,
    Platform.FUCHSIA: OperatingSystem.FUCHSIA,
}
_PAGE = 4096
_TEXTS = {
    "status": StreamType.LinuxProcStatus,
    "cmdline": StreamType.LinuxCmdLine,
    "auxv": StreamType.LinuxAuxv,
    "maps": StreamType.LinuxMaps,
    "limits": StreamType.MozLinuxLimits,
}
_UNLOADED_MAX = 1024
"""Windows keeps 64."""
_WRITABLE = (
    layout.PAGE_READWRITE | layout.PAGE_WRITECOPY
    | layout.PAGE_EXECUTE_READWRITE | layout.PAGE_EXECUTE_WRITECOPY
)  # fmt: skip
_EXECUTABLE = (
    layout.PAGE_EXECUTE | layout.PAGE_EXECUTE_READ
    | layout.PAGE_EXECUTE_READWRITE | layout.PAGE_EXECUTE_WRITECOPY
)  # fmt: skip


def read_snapshot(dump: MinidumpFile) -> Snapshot:
    """What is damaged is named in the soft errors; only without threads it raises MalformedInput."""
    return _Reading(dump).read()


def read_memory(dump: MinidumpFile) -> PieceMemory:
    """Memory alone."""
    return _Reading(dump).read_memory()


class _Reading:
    def __init__(self, dump: MinidumpFile) -> None:
        self._dump = dump
        self._soft_errors: list[str] = []

    def read_memory(self) -> PieceMemory:
        return PieceMemory(self._dump.read_file, bound_pieces(self._list_pieces(), self._dump.size))

    def read(self) -> Snapshot:
        dump = self._dump
        system = self._read_system()
        memory = self.read_memory()
        files = {
            name: text
            for name, kind in _TEXTS.items()
            if (text := self._try(kind, dump.read_stream)) is not None
        }
        listed = self._read_regions(files.get("maps", b""))
        regions = _cover(listed, memory)
        misc = self._try(StreamType.MiscInfoStream, dump.read_misc_info)
        exception = self._read_exception()
        threads = self._read_threads(system.architecture, exception)
        return Snapshot(
            pid=misc.process_id if misc else threads[0].tid if threads else 0,
            taken_at_s=dump.header.time_date_stamp,
            process_create_time_s=misc.process_create_time if misc else 0,
            user_time_s=misc.process_user_time if misc else 0,
            kernel_time_s=misc.process_kernel_time if misc else 0,
            system=system,
            threads=threads,
            modules=self._read_modules(),
            unloaded=self._read_unloaded(),
            regions=regions,
            memory=memory.ranges,
            handles=self._read_handles(),
            files=files,
            content=memory,
            exception=exception[0] if exception else None,
            has_all_regions=bool(listed),
            exception_lost=exception is None and dump.find(StreamType.ExceptionStream) is not None,
            token=self._read_json(StreamType.TokenStream, 32),
            record=self._read_json(StreamType.PerimortemRecord, 0),
            soft_errors=[*self._soft_errors, *self._read_soft_errors()],
        )

    def _try(self, kind: StreamType, read: Callable[[StreamEntry], _T]) -> _T | None:
        """None if there is no such stream, or it is damaged, which is recorded."""
        entry = self._dump.find(kind)
        if entry is None:
            return None
        try:
            return read(entry)
        except MalformedInput as error:
            self._soft_errors.append(str(error))
            return None

    def _read_system(self) -> SystemFacts:
        info = self._try(StreamType.SystemInfoStream, self._dump.read_system_info)
        if info is None:
            return SystemFacts(Architecture.UNKNOWN, "", (0, 0, 0), 0)
        return SystemFacts(
            architecture=_ARCHITECTURES.get(info.processor_architecture, Architecture.UNKNOWN),
            os_release=printable(self._dump.read_string(info.csd_version_rva)),
            os_version=(info.major_version, info.minor_version, info.build_number),
            processor_count=info.processor_count,
            cpu_vendor=printable(info.cpu[:12].decode("ascii", "replace").rstrip("\0")),
            cpu_family=info.processor_level,
            cpu_model=info.processor_revision >> 8,
            cpu_stepping=info.processor_revision & 0xFF,
            os=_SYSTEMS.get(info.platform_id, OperatingSystem.OTHER),
        )

    def _list_pieces(self) -> Iterator[Piece]:
        size = self._dump.size
        missing = 0
        ranges = self._try(StreamType.MemoryListStream, self._dump.read_memory_list)
        for memory in ranges or ():
            there = max(0, min(memory.data_size, size - memory.rva))
            missing += memory.data_size - there
            if there and memory.address + there <= 1 << 64:
                yield Piece(memory.address, there, memory.rva)
        facts = self._try(StreamType.Memory64ListStream, self._dump.read_memory64)
        if facts is not None:
            rva = facts.base_rva
            for long_range in facts.ranges:
                there = max(0, min(long_range.data_size, size - rva))
                missing += long_range.data_size - there
                if there and long_range.address + there <= 1 << 64:
                    yield Piece(long_range.address, there, rva)
                rva += long_range.data_size
        if missing:
            self._soft_errors.append(
                f"{missing} bytes of memory are outside the file: it was truncated"
            )

    def _read_regions(self, maps: bytes) -> tuple[Region, ...]:
        regions = parse_maps(maps)
        if regions:
            return regions
        infos = self._try(StreamType.MemoryInfoListStream, self._dump.read_memory_infos)
        return tuple(
            Region(
                start=info.base_address,
                end=info.base_address + info.region_size,
                readable=not info.protect & layout.PAGE_NOACCESS,
                writable=bool(info.protect & _WRITABLE),
                executable=bool(info.protect & _EXECUTABLE),
                shared=info.type == layout.MEM_MAPPED,
                file_offset=0,
                inode=0,
                path="",
            )
            for info in infos or ()
            if info.state == layout.MEM_COMMIT and info.base_address + info.region_size <= 1 << 64
        )

    def _read_threads(
        self, architecture: Architecture, exception: tuple[ExceptionRecord, Location] | None
    ) -> tuple[Thread, ...]:
        raws = self._try(StreamType.ThreadListStream, self._dump.read_threads) or ()
        names = self._try(StreamType.ThreadNamesStream, self._dump.read_thread_names) or {}
        listed = self._try(StreamType.ThreadInfoListStream, self._dump.read_thread_infos) or ()
        infos = {info.thread_id: info for info in listed}
        extended = self._read_xstates()
        threads = []
        for raw in raws:
            info = infos.get(raw.thread_id)
            rva, size = raw.context_rva, raw.context_size
            if (
                exception is not None
                and exception[0].tid == raw.thread_id
                and exception[1].data_size
            ):
                # Windows: the thread itself is in the code that wrote the dump.
                rva, size = exception[1].rva, exception[1].data_size
            registers = self._read_context(rva, size, raw.teb, architecture)
            if registers is not None and raw.thread_id in extended:
                registers = Registers(
                    registers.general, registers.floating_point, extended[raw.thread_id]
                )
            threads.append(
                Thread(
                    tid=raw.thread_id,
                    name=printable(names.get(raw.thread_id, "")),
                    registers=registers,
                    user_time_100ns=info.user_time if info else 0,
                    kernel_time_100ns=info.kernel_time if info else 0,
                    start_time_100ns=info.create_time if info else 0,
                    affinity=info.affinity if info else 0,
                    priority=raw.priority,
                    start_address=info.start_address if info else 0,
                )
            )
        return tuple(threads)

    def _read_context(
        self, rva: int, size: int, teb: int, architecture: Architecture
    ) -> Registers | None:
        if not 0 < size < 1 << 16:
            return None
        try:
            registers = read_registers(self._dump.read_bytes(rva, size), architecture)
        except MalformedInput as error:
            self._soft_errors.append(str(error))
            return None
        if registers is not None and architecture is Architecture.X86_64:
            registers.general["fs_base"] = teb
        return registers

    def _read_xstates(self) -> dict[int, bytes]:
        entries = self._try(StreamType.PerimortemXstate, self._dump.read_xstates) or ()
        found = {}
        for entry in entries:
            try:
                found[entry.thread_id] = self._dump.read_bytes(entry.rva, entry.data_size)
            except MalformedInput as error:
                self._soft_errors.append(str(error))
        return found

    def _read_modules(self) -> tuple[Module, ...]:
        modules = self._try(StreamType.ModuleListStream, self._dump.read_modules) or []
        return tuple(
            Module(
                m.raw.base,
                m.raw.image_size,
                printable(m.name),
                m.elf_build_id,
                timestamp=m.raw.time_date_stamp,
                debug_id=m.build_id if m.elf_build_id is None else None,
                debug_file=m.debug_file,
            )
            for m in modules
        )

    def _read_unloaded(self) -> tuple[Module, ...]:
        kind = StreamType.UnloadedModuleListStream
        found = self._try(kind, self._dump.read_unloaded_modules)
        modules: Iterable[UnloadedModule] = found or ()
        return tuple(
            Module(
                module.base,
                module.image_size,
                printable(self._dump.read_string(module.name_rva)),
                None,
                timestamp=module.time_date_stamp,
            )
            for module in islice(modules, _UNLOADED_MAX)
        )

    def _read_handles(self) -> tuple[Handle, ...] | None:
        answer = self._try(StreamType.HandleDataStream, self._dump.read_handles)
        if answer is None:
            return None
        return tuple(
            Handle(
                h.raw.handle,
                printable(h.type_name),
                printable(h.object_name),
                h.raw.granted_access,
                dict(h.details),
            )
            for h in answer[1]
        )

    def _read_exception(self) -> tuple[ExceptionRecord, Location] | None:
        """With the offset of its registers."""
        facts = self._try(StreamType.ExceptionStream, self._dump.read_exception)
        if facts is None:
            return None
        raw = facts.raw
        is_ours = self._dump.find(StreamType.PerimortemRecord) is not None
        record = ExceptionRecord(
            tid=raw.thread_id,
            code=raw.code,
            flags=raw.flags,
            has_flags=raw.flags != 0 or is_ours,  # older writers leave si_code out
            address=raw.address,
            parameters=facts.parameters,
        )
        return record, facts.context

    def _read_json(self, kind: StreamType, start: int) -> dict[str, Any] | None:
        raw = self._try(kind, self._dump.read_stream)
        try:
            value = json.loads(raw[start:]) if raw else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def _read_soft_errors(self) -> list[str]:
        raw = self._try(StreamType.MozSoftErrors, self._dump.read_stream)
        try:
            value = json.loads(raw.rstrip(b"\0")) if raw else []
        except (ValueError, RecursionError):
            return []
        return [printable(str(text)) for text in value] if isinstance(value, list) else []


def _cover(regions: tuple[Region, ...], memory: PieceMemory) -> tuple[Region, ...]:
    """In order, disjoint, and each contains all memory that it names."""
    found: list[Region] = []
    ordered = sorted(regions, key=lambda region: region.start)
    at = 0
    for region in ordered:
        if region.start >= at and region.end > region.start:
            found.append(region)
            at = region.end
    missing = []
    index = 0
    for wanted in memory.ranges:
        start, end = wanted.address, wanted.address + wanted.size
        while index < len(found) and found[index].end <= start:
            index += 1
        at = index
        while start < end:
            inside = found[at] if at < len(found) else None
            if inside is None or inside.start >= end:
                missing.append((start, end))
                break
            if start < inside.start:
                missing.append((start, inside.start))
            start = max(start, inside.end)
            at += 1
    found += [Region(a, b, True, True, False, False, 0, 0, "") for a, b in missing]
    return tuple(sorted(found, key=lambda region: region.start))
