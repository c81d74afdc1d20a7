"""Read an ELF core of x86-64 or aarch64 as a snapshot. Every count and offset is checked. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from perimortem.binary.elf import (
    EM_X86_64,
    ET_CORE,
    PN_XNUM,
    PT_LOAD,
    PT_NOTE,
    ElfHeader,
    ProgramHeader,
    SectionHeader,
    iterate_notes,
    read_header,
)
from perimortem.binary.pieces import Piece, PieceMemory, ReadAt, bound_pieces
from perimortem.elfcore import layout
from perimortem.elfcore.link_map import AT_SYSINFO_EHDR, parse_auxv, read_dso_debug
from perimortem.elfcore.modules import derive_modules, guess_program
from perimortem.elfcore.notes import (
    HEAD_MAX,
    MACHINES,
    CoreNotes,
    parse_notes,
)
from perimortem.elfcore.other_machines import read_other_core
from perimortem.elfcore.regions import derive_regions, parse_files, render_maps
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import (
    ORIGINAL_EXCEPTION,
    Architecture,
    ExceptionRecord,
    Handle,
    OperatingSystem,
    Region,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.text import printable

_SEGMENTS_MAX = 1 << 21
_FILES_MAX = 1 << 20
_ADDRESS = (1 << 64) - 1
_PAGE = 4096


def is_core(head: bytes) -> bool:
    """By the first 18 bytes of a file."""
    order = {1: "<H", 2: ">H"}.get(head[5]) if head[:4] == b"\x7fELF" and len(head) >= 18 else None
    return order is not None and head[16:18] == struct.pack(order, ET_CORE)


def read_core(read: ReadAt, size: int) -> Snapshot:
    """A core of any machine. Raises :class:`MalformedInput`."""
    header = read_header(read)
    if header is not None and header.machine in MACHINES:
        return CoreFile(read, size).read_snapshot()
    return read_other_core(read, size)


class CoreFile:
    """A core that is read on demand."""

    def __init__(self, read: ReadAt, size: int) -> None:
        """``size``: of the file, in bytes. Raises :class:`MalformedInput` if it is not a core."""
        self._read = read
        self.size = size
        header = read_header(read)
        if header is None or header.type != ET_CORE:
            raise MalformedInput("not a core that can be read", why="it is no 64-bit ELF core")
        self.header: ElfHeader = header
        if header.machine not in MACHINES or header.program_header_size != ProgramHeader.size():
            raise MalformedInput(
                "not a core that can be read", why="it is not one of x86-64 or aarch64"
            )
        self.segments = list(self._read_segments())
        self.soft_errors: list[str] = []

    def read_snapshot(self) -> Snapshot:
        """What it knows of the process. Raises :class:`MalformedInput`."""
        raw = self._read_notes()
        notes = parse_notes(raw, self.header.machine)
        record = _find_record(raw)
        original = _dict(_dict(record.get("record")).get(ORIGINAL_EXCEPTION))
        memory = PieceMemory(self._read, bound_pieces(self._list_pieces(), self.size))
        auxv = parse_auxv(notes.auxv)
        names = _dict(record.get("region_names"))
        vdso_at = auxv.get(AT_SYSINFO_EHDR)
        files = _read_files(raw)
        regions = tuple(
            replace(region, path=_special_name(region, names, vdso_at))
            if not region.path
            else region
            for region in derive_regions(self.segments, files)
        )
        dso = read_dso_debug(auxv, memory.read)
        executable = next((r.path for r in regions if r.path.startswith("/")), None)
        thread_names = _dict(record.get("thread_names"))
        threads = tuple(
            Thread(
                thread.tid,
                printable(str(thread_names.get(str(thread.tid), notes.name if not index else ""))),
                # All zero stands for unknown: no thread runs without a stack and a code segment.
                thread.registers if any(thread.registers.general.values()) else None,
            )
            for index, thread in enumerate(notes.threads)
        )
        return Snapshot(
            pid=notes.pid or notes.threads[0].tid,
            taken_at_s=_number(record.get("taken_at_s")),
            process_create_time_s=_number(record.get("process_create_time_s")),
            user_time_s=0,
            kernel_time_s=0,
            system=_read_system(_dict(record.get("system")), self.header.machine, original),
            threads=threads,
            modules=derive_modules(regions, memory.read, executable)
            or guess_program(notes.command_line, auxv, regions),
            regions=regions,
            memory=memory.ranges,
            handles=_read_handles(record.get("handles")),
            files={
                "auxv": notes.auxv,
                "maps": render_maps(regions),
                "cmdline": notes.command_line.replace(b" ", b"\0"),
            },
            content=memory,
            exception=_read_original(original, notes.threads[0].tid) or _read_exception(notes),
            dso_debug=dso[0] if dso else None,
            token=record["token"] if isinstance(record.get("token"), dict) else None,
            record=record["record"] if isinstance(record.get("record"), dict) else None,
            soft_errors=[*self.soft_errors, *_texts(record.get("soft_errors"))],
        )

    def _read_segments(self) -> Iterator[ProgramHeader]:
        count, at = self.header.program_header_count, self.header.program_headers_offset
        if count == PN_XNUM:
            raw = self._read(self.header.section_headers_offset, SectionHeader.size())
            count = SectionHeader.read(raw).info
        size = count * ProgramHeader.size()
        if count > _SEGMENTS_MAX or at + size > self.size:
            raise MalformedInput("the core is damaged", why=f"it claims {count} program headers")
        raw = self._read(at, size)
        if len(raw) != size:
            raise MalformedInput("the core is truncated", why="its program headers are incomplete")
        return ProgramHeader.read_each(raw)

    def _read_notes(self) -> bytes:
        segment = next((s for s in self.segments if s.type == PT_NOTE), None)
        if segment is None:
            raise MalformedInput("not a core that can be read", why="it has no notes")
        if segment.file_size > HEAD_MAX or segment.offset + segment.file_size > self.size:
            raise MalformedInput("the core is truncated", why="its notes are incomplete")
        return self._read(segment.offset, segment.file_size)

    def _list_pieces(self) -> Iterator[Piece]:
        missing = 0
        for segment in self.segments:
            if segment.type != PT_LOAD or not segment.file_size:
                continue
            there = max(0, min(segment.file_size, self.size - segment.offset))
            missing += segment.file_size - there
            if there and segment.address + there <= 1 << 64:
                yield Piece(segment.address, there, segment.offset)
        if missing:
            self.soft_errors.append(
                f"{missing} bytes of memory are outside the file: it was truncated"
            )


def _special_name(region: Region, names: dict[str, Any], vdso_at: int | None) -> str:
    if region.start == vdso_at:
        return "[vdso]"
    name = printable(str(names.get(str(region.start), "")))
    return name if name.startswith("[") else ""


def _read_files(notes: bytes) -> list[Region]:
    found = (content for _, kind, content in iterate_notes(notes) if kind == layout.NT_FILE)
    return parse_files(next(found, b""), "<Q")


def _find_record(notes: bytes) -> dict[str, Any]:
    for owner, kind, content in iterate_notes(notes):
        if owner == layout.OWNER and kind == layout.NOTE_RECORD:
            try:
                return _dict(json.loads(content))
            except (ValueError, RecursionError):
                return {}
    return {}


def _read_exception(notes: CoreNotes) -> ExceptionRecord | None:
    signal = notes.signal
    if signal is None or not signal.number:
        return None
    return ExceptionRecord(
        notes.threads[0].tid,
        signal.number & 0xFFFFFFFF,
        signal.si_code & 0xFFFFFFFF,
        signal.address,
        has_flags=signal.has_code,
    )


def _read_original(original: dict[str, Any], tid: int) -> ExceptionRecord | None:
    """Of a dump of another system that was converted; None if it was none."""
    if _read_os(original) is OperatingSystem.LINUX:
        return None
    parameters = original.get("parameters")
    return ExceptionRecord(
        tid,
        _number(original.get("code")),
        _number(original.get("flags")),
        _number(original.get("address"), _ADDRESS),
        tuple(_number(p, _ADDRESS) for p in parameters) if isinstance(parameters, list) else (),
    )


def _read_os(original: dict[str, Any]) -> OperatingSystem:
    name = original.get("system")
    return next((os for os in OperatingSystem if os.value == name), OperatingSystem.LINUX)


def _read_system(facts: dict[str, Any], machine: int, original: dict[str, Any]) -> SystemFacts:
    version = facts.get("os_version")
    numbers = [_number(n) for n in version][:3] if isinstance(version, list) else []
    major, minor, build = (*numbers, 0, 0, 0)[:3]
    return SystemFacts(
        architecture=Architecture.X86_64 if machine == EM_X86_64 else Architecture.AARCH64,
        os_release=printable(str(facts.get("os_release", "Linux"))),
        os_version=(major, minor, build),
        processor_count=_number(facts.get("processor_count")),
        cpu_vendor=printable(str(facts.get("cpu_vendor", ""))),
        cpu_family=_number(facts.get("cpu_family")),
        cpu_model=_number(facts.get("cpu_model")),
        cpu_stepping=_number(facts.get("cpu_stepping")),
        os=_read_os(original),
    )


def _read_handles(value: Any) -> tuple[Handle, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(
        Handle(
            _number(h.get("number")),
            printable(str(h.get("type_name", ""))),
            printable(str(h.get("object_name", ""))),
            _number(h.get("flags")),
            {str(k): v for k, v in _dict(h.get("details")).items() if isinstance(v, str | int)},
        )
        for h in value
        if isinstance(h, dict)
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, mask: int = 0xFFFFFFFF) -> int:
    return value & mask if isinstance(value, int) else 0


def _texts(value: Any) -> list[str]:
    return [printable(str(text)) for text in value] if isinstance(value, list) else []
