"""A minidump as a JSON document: what ``inspect`` shows. Pure.

A damaged stream becomes ``{"error": ...}`` in its place; the others are read all the same. Data that
were asked for (the header's flags) and are not there are named in ``missing``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from perimortem.clock import format_rfc3339
from perimortem.errors import MalformedInput
from perimortem.exits.decode import explain_code
from perimortem.exits.ntstatus import STATUSES
from perimortem.exits.signals import signal_name
from perimortem.minidump.context import read_context_amd64
from perimortem.minidump.format import (
    MISC1_PROCESS_ID,
    MISC1_PROCESS_TIMES,
    Platform,
    ProcessorArchitecture,
    StreamType,
)
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.model.dump import MinidumpType, format_flags
from perimortem.text import printable

_TEXT_MAX = 64 << 10
_FILETIME_EPOCH_S = 11_644_473_600

_TEXT_STREAMS = frozenset(
    {
        StreamType.CommentStreamA,
        StreamType.LinuxCpuInfo,
        StreamType.LinuxProcStatus,
        StreamType.LinuxLsbRelease,
        StreamType.LinuxCmdLine,
        StreamType.LinuxMaps,
        StreamType.MozLinuxLimits,
    }
)
_EXPECTED = {
    MinidumpType.WITH_FULL_MEMORY: StreamType.Memory64ListStream,
    MinidumpType.WITH_HANDLE_DATA: StreamType.HandleDataStream,
    MinidumpType.WITH_UNLOADED_MODULES: StreamType.UnloadedModuleListStream,
    MinidumpType.WITH_FULL_MEMORY_INFO: StreamType.MemoryInfoListStream,
    MinidumpType.WITH_THREAD_INFO: StreamType.ThreadInfoListStream,
    MinidumpType.WITH_TOKEN_INFORMATION: StreamType.TokenStream,
}


def describe_dump(dump: MinidumpFile) -> dict[str, Any]:
    """Header, every stream in the order of the directory, and what is missing."""
    header = dump.header
    return {
        "size_bytes": dump.size,
        "version": f"{header.version & 0xFFFF:04X} ({header.version >> 16:04X})",
        "stream_count": header.stream_count,
        "created_at": format_rfc3339(header.time_date_stamp * 1_000_000_000),
        "flags": {"value": f"{header.flags:#x}", "names": format_flags(header.flags)},
        "streams": [_describe_stream(dump, entry) for entry in dump.streams],
        "missing": _describe_missing(dump),
    }


def _describe_stream(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    head = {
        "index": entry.index,
        "type": entry.type,
        "name": entry.name,
        "size_bytes": entry.size,
        "rva": entry.rva,
    }
    if entry.size == 0 and entry.type == StreamType.UnusedStream:
        return head
    try:
        describe = _DESCRIBERS.get(entry.type)
        if describe is not None:
            return head | describe(dump, entry)
        if entry.type in _TEXT_STREAMS:
            return head | _describe_text(dump, entry)
        dump.read_bytes(entry.rva, entry.size)
    except MalformedInput as error:
        return head | {"error": str(error)}
    return head


def _describe_missing(dump: MinidumpFile) -> list[str]:
    present = {entry.type for entry in dump.streams}
    return [
        f"{format_flags(flag)[0]} was asked for, but there is no {stream.name}"
        for flag, stream in _EXPECTED.items()
        if dump.header.flags & flag and stream not in present
    ]


def _describe_threads(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    names_entry = dump.find(StreamType.ThreadNamesStream)
    names: dict[int, str] = {}
    if names_entry is not None:
        try:
            names = dump.read_thread_names(names_entry)
        except MalformedInput:
            names = {}
    threads = []
    for thread in dump.read_threads(entry):
        registers = None
        if 0 < thread.context_size < 1 << 16:
            try:
                raw = dump.read_bytes(thread.context_rva, thread.context_size)
                registers = read_context_amd64(raw)
            except MalformedInput:
                registers = None
        threads.append(
            {
                "id": thread.thread_id,
                "name": printable(names.get(thread.thread_id, "")) or None,
                "suspend_count": thread.suspend_count,
                "priority": thread.priority,
                "teb": f"{thread.teb:#x}",
                "stack": {
                    "address": f"{thread.stack.address:#x}",
                    "size_bytes": thread.stack.data_size,
                },
                "instruction_pointer": registers and f"{registers['rip']:#x}",
                "stack_pointer": registers and f"{registers['rsp']:#x}",
            }
        )
    return {"threads": threads}


def _describe_thread_infos(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    return {
        "thread_infos": [
            {
                "rva": rva,
                "id": info.thread_id,
                "created_at": _filetime(info.create_time),
                "user_time_s": info.user_time / 1e7,
                "kernel_time_s": info.kernel_time / 1e7,
                "start_address": f"{info.start_address:#x}",
                "affinity": f"{info.affinity:#x}",
            }
            for rva, info in dump.read_thread_infos(entry)
        ]
    }


def _describe_thread_names(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    names = dump.read_thread_names(entry)
    return {"names": [{"id": tid, "name": printable(name)} for tid, name in names.items()]}


def _describe_modules(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    return {
        "modules": [
            {
                "rva": module.rva,
                "base": f"{module.raw.base:#x}",
                "size_bytes": module.raw.image_size,
                "name": printable(module.name),
                "build_id": module.build_id,
                "timestamp": module.raw.time_date_stamp,
            }
            for module in dump.read_modules(entry)
        ]
    }


def _describe_unloaded(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    return {
        "modules": [
            {"base": f"{raw.base:#x}", "size_bytes": raw.image_size, "name": printable(name)}
            for raw, name in dump.read_unloaded_modules(entry)
        ]
    }


def _describe_memory(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    ranges = dump.read_memory_list(entry)
    return {
        "ranges": [
            {"rva": r.rva, "address": f"{r.address:#x}", "size_bytes": r.data_size} for r in ranges
        ],
        "total_bytes": sum(r.data_size for r in ranges),
        "outside_file": sum(r.rva + r.data_size > dump.size for r in ranges),
    }


def _describe_memory64(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    facts = dump.read_memory64(entry)
    rva, ranges = facts.base_rva, []
    for r in facts.ranges:
        ranges.append({"rva": rva, "address": f"{r.address:#x}", "size_bytes": r.data_size})
        rva += r.data_size
    return {
        "ranges": ranges,
        "total_bytes": rva - facts.base_rva,
        "outside_file": int(rva > dump.size),
    }


def _describe_memory_infos(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    return {
        "regions": [
            {
                "base": f"{info.base_address:#x}",
                "allocation_base": f"{info.allocation_base:#x}",
                "size_bytes": info.region_size,
                "state": f"{info.state:#x}",
                "protect": f"{info.protect:#x}",
                "type": f"{info.type:#x}",
            }
            for info in dump.read_memory_infos(entry)
        ]
    }


def _describe_handles(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    header, handles = dump.read_handles(entry)
    return {
        "header_size": header.header_size,
        "descriptor_size": header.descriptor_size,
        "handles": [
            {
                "handle": f"{handle.raw.handle:016X}",
                "type": printable(handle.type_name),
                "name": printable(handle.object_name),
                "granted_access": f"{handle.raw.granted_access:#x}",
            }
            for handle in handles
        ],
    }


def _describe_exception(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    facts = dump.read_exception(entry)
    return {
        "thread_id": facts.raw.thread_id,
        "code": f"{facts.raw.code:#x}",
        "text": _exception_text(dump, facts.raw.code),
        "flags": f"{facts.raw.flags:#x}",
        "address": f"{facts.raw.address:#x}",
        "parameters": [f"{value:#x}" for value in facts.parameters],
        "context": {"rva": facts.context.rva, "size_bytes": facts.context.data_size},
    }


def _exception_text(dump: MinidumpFile, code: int) -> str:
    entry = dump.find(StreamType.SystemInfoStream)
    platform = dump.read_system_info(entry).platform_id if entry else 0
    if platform >= Platform.UNIX:
        return "dump requested" if code in (0xFFFFFFFF, 0) else signal_name(code)
    if code in STATUSES:
        explained = explain_code(str(code))
        return f"{explained.name}: {explained.meaning}"
    return "not in the table of known codes"


def _describe_system(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    info = dump.read_system_info(entry)
    vendor = ""
    if info.processor_architecture in (ProcessorArchitecture.INTEL, ProcessorArchitecture.AMD64):
        raw = info.cpu[:12]
        vendor = raw.decode("ascii") if raw.isascii() and raw.strip(b"\0") else ""
    return {
        "processor_architecture": _enum_name(ProcessorArchitecture, info.processor_architecture),
        "processor_level": info.processor_level,
        "processor_revision": f"{info.processor_revision:#06x}",
        "processor_count": info.processor_count,
        "platform": _enum_name(Platform, info.platform_id),
        "os_version": f"{info.major_version}.{info.minor_version}.{info.build_number}",
        "csd_version": printable(dump.read_string(info.csd_version_rva)),
        "cpu_vendor": printable(vendor.rstrip("\0")) or None,
    }


def _enum_name(kind: type[ProcessorArchitecture] | type[Platform], value: int) -> str:
    try:
        return kind(value).name
    except ValueError:
        return f"{value:#x}"


def _describe_misc(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    info = dump.read_misc_info(entry)
    facts: dict[str, Any] = {"flags": f"{info.flags1:#x}"}
    if info.flags1 & MISC1_PROCESS_ID:
        facts["process_id"] = info.process_id
    if info.flags1 & MISC1_PROCESS_TIMES:
        facts["process_created_at"] = format_rfc3339(info.process_create_time * 1_000_000_000)
        facts["process_user_time_s"] = info.process_user_time
        facts["process_kernel_time_s"] = info.process_kernel_time
    return facts


def _describe_text(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    raw = dump.read_bytes(entry.rva, entry.size)[:_TEXT_MAX]
    text = raw.replace(b"\0", b" ").decode("utf-8", "backslashreplace")
    return {"text": "\n".join(printable(line) for line in text.expandtabs(8).splitlines())}


def _describe_soft_errors(dump: MinidumpFile, entry: StreamEntry) -> dict[str, Any]:
    raw = dump.read_stream(entry).rstrip(b"\0")
    try:
        return {"soft_errors": json.loads(raw)}
    except (ValueError, RecursionError) as error:
        raise MalformedInput("the soft errors are not JSON", why=str(error)) from error


def _filetime(value: int) -> str | None:
    """100 ns since 1601 as RFC 3339; None for zero and for what no calendar holds."""
    seconds = value // 10_000_000 - _FILETIME_EPOCH_S
    if value == 0 or not 0 <= seconds < 1 << 36:
        return None
    return format_rfc3339(seconds * 1_000_000_000 + value % 10_000_000 * 100)


_DESCRIBERS: dict[int, Callable[[MinidumpFile, StreamEntry], dict[str, Any]]] = {
    StreamType.ThreadListStream: _describe_threads,
    StreamType.ThreadInfoListStream: _describe_thread_infos,
    StreamType.ThreadNamesStream: _describe_thread_names,
    StreamType.ModuleListStream: _describe_modules,
    StreamType.UnloadedModuleListStream: _describe_unloaded,
    StreamType.MemoryListStream: _describe_memory,
    StreamType.Memory64ListStream: _describe_memory64,
    StreamType.MemoryInfoListStream: _describe_memory_infos,
    StreamType.HandleDataStream: _describe_handles,
    StreamType.ExceptionStream: _describe_exception,
    StreamType.SystemInfoStream: _describe_system,
    StreamType.MiscInfoStream: _describe_misc,
    StreamType.MozSoftErrors: _describe_soft_errors,
}
