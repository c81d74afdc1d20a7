"""A minidump listed in the style and order of WinDbg's ``.dumpdebug``. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

import msgspec
from msgspec import UNSET

from perimortem.documents import dump_listing as documents
from perimortem.documents.base import Document
from perimortem.minidump.format import StreamType
from perimortem.report.units import format_count

KNOWN_TYPES = frozenset(int(kind) for kind in StreamType)
_ROWS_MAX = 1000
_TEXT_LINES_MAX = 20


def render_dump(
    document: documents.DumpListing, *, limit: int = _ROWS_MAX, with_head: bool = True
) -> str:
    """The listing of ``describe_dump``'s document; at most ``limit`` rows a stream.

    ``with_head``: the header first, and at the end what is missing or wrong.
    """
    if not with_head:
        return "".join(render_rows(stream, limit) for stream in document.streams)
    lines = [
        "----- User Mini Dump Analysis",
        "",
        "MINIDUMP_HEADER:",
        f"Version         {document.version}",
        f"NumberOfStreams {document.stream_count}",
        f"Created         {document.created_at}",
        f"Flags           {document.flags.value.removeprefix('0x')}",
    ]
    lines += [f"                {name}" for name in document.flags.names]
    lines += ["", "Streams:"]
    for stream in document.streams:
        lines += _render_stream(stream, limit)
    lines += [f"MISSING: {text}" for text in document.missing]
    lines += [f"PROBLEM: {text}" for text in document.problems]
    return "\n".join(lines) + "\n"


def _render_stream(stream: documents.Stream, limit: int) -> list[str]:
    number = stream.type
    shown = f"{number:#x}" if number > 0xFFFF else str(number)
    lines = [
        f"Stream {stream.index}: type {stream.name} ({shown}), "
        f"size {stream.size_bytes:08X}, RVA {stream.rva:08X}"
    ]
    return lines + _render_content(stream, limit)


@singledispatch
def _render_content(stream: documents.Stream, _limit: int) -> list[str]:
    """The lines below the head of a stream."""
    return [] if stream.type in KNOWN_TYPES else ["  unknown to this version: not decoded"]


@_render_content.register
def _damaged(stream: documents.DamagedStream, _limit: int) -> list[str]:
    return [f"  ERROR: {stream.error}"]


def render_rows(stream: documents.Stream, limit: int) -> str:
    """A single stream, as its part of the listing."""
    return "\n".join(_render_stream(stream, limit)) + "\n"


def _cut(rows: list[str], limit: int, count: int | None = None) -> list[str]:
    """``count``: the number of all rows, if ``rows`` is already cut."""
    more = (len(rows) if count is None else count) - min(limit, len(rows))
    return [*rows[:limit], f"  ... {more} more (--all, or --json)"] if more > 0 else rows


@_render_content.register
def _threads(stream: documents.ThreadList, limit: int) -> list[str]:
    rows = []
    for thread in stream.threads:
        name = f" '{thread.name}'" if thread.name else ""
        rows.append(
            f"  ID {thread.id:X} ({thread.id}){name}, Teb:{thread.teb}, "
            f"stack {thread.stack.address} ({thread.stack.size_bytes:#x} bytes)"
            + (
                f", ip {thread.instruction_pointer}"
                if thread.instruction_pointer
                else ", no registers"
            )
        )
    return [f"  {format_count(stream.count, 'thread')}", *_cut(rows, limit, stream.count)]


@_render_content.register
def _thread_infos(stream: documents.ThreadInfoList, limit: int) -> list[str]:
    rows = [
        f"  RVA {info.rva:08X}, ID {info.id:X} ({info.id}), "
        f"start {_address(int(info.start_address, 16))}, "
        f"user {info.user_time_s:.2f} s, kernel {info.kernel_time_s:.2f} s, "
        f"created {info.created_at or 'unknown'}, affinity {info.affinity}"
        for info in stream.thread_infos
    ]
    return _cut(rows, limit, stream.count)


@_render_content.register
def _names(stream: documents.ThreadNameList, limit: int) -> list[str]:
    rows = [f"  ID {name.id:X} ({name.id}): '{name.name}'" for name in stream.names]
    return _cut(rows, limit, stream.count)


@_render_content.register
def _modules(stream: documents.ModuleList | documents.UnloadedModuleList, limit: int) -> list[str]:
    rows = []
    for module in stream.modules:
        base = int(module.base, 16)
        end = base + module.size_bytes
        build_id = module.build_id if isinstance(module, documents.Module) else None
        identity = f", id {build_id}" if build_id else ""
        rows.append(f"  {_address(base)} - {_address(end)}: '{module.name}'{identity}")
    return [f"  {format_count(stream.count, 'module')}", *_cut(rows, limit, stream.count)]


def _address(value: int) -> str:
    return f"{value >> 32:08x}`{value & 0xFFFFFFFF:08x}"


@_render_content.register
def _ranges(stream: documents.MemoryList, limit: int) -> list[str]:
    rows = [
        f"  {index:6}  {r.rva:08X}  {_address(int(r.address, 16))}  {r.size_bytes:08X}"
        for index, r in enumerate(stream.ranges[:limit])
    ]
    lines = [
        f"  {format_count(stream.count, 'memory range')}",
        "  range#  RVA       Address            Size",
        *_cut(rows, limit, stream.count),
        f"  Total memory: {stream.total_bytes:x}",
    ]
    if stream.outside_file:
        outside = stream.outside_file
        lines.append(f"  ERROR: {outside} ranges have data outside the file; was it cut?")
    if stream.overlapping:
        lines.append(
            f"  {format_count(stream.overlapping, 'range')} "
            f"{'overlaps' if stream.overlapping == 1 else 'overlap'} the previous one"
        )
    return lines


@_render_content.register
def _regions(stream: documents.RegionList, limit: int) -> list[str]:
    rows = [
        f"  {_address(int(r.base, 16))}  {r.size_bytes:012X}  "
        f"state {r.state}  protect {r.protect}  type {r.type}"
        for r in stream.regions
    ]
    return [f"  {format_count(stream.count, 'region')}", *_cut(rows, limit, stream.count)]


@_render_content.register
def _handles(stream: documents.HandleList, limit: int) -> list[str]:
    head = (
        f"  {stream.count} descriptors, header size is {stream.header_size}, "
        f"descriptor size is {stream.descriptor_size}"
    )
    rows = [
        f'    Handle({h.handle},"{h.type}","{h.name}")' + _details(h.details)
        for h in stream.handles
    ]
    return [head, *_cut(rows, limit, stream.count)]


def _details(details: dict[str, Any]) -> str:
    return "".join(f" {key}={value}" for key, value in details.items())


@_render_content.register
def _exception(stream: documents.ExceptionRecord, _limit: int) -> list[str]:
    lines = [
        f"  ThreadID {stream.thread_id}",
        f"  ExceptionCode {stream.code} ({stream.text})",
        f"  ExceptionAddress {stream.address}",
    ]
    if stream.parameters:
        lines.append(f"  Parameters {' '.join(stream.parameters)}")
    context = stream.context
    return [*lines, f"  Context record RVA {context.rva:x}, size {context.size_bytes:x}"]


@_render_content.register
def _system(stream: documents.System, _limit: int) -> list[str]:
    return [
        f"  ProcessorArchitecture {stream.processor_architecture}",
        f"  ProcessorLevel        {stream.processor_level}",
        f"  ProcessorRevision     {stream.processor_revision}",
        f"  NumberOfProcessors    {stream.processor_count}",
        f"  Platform              {stream.platform} {stream.os_version}",
        f"  CSDVersion            {stream.csd_version}",
        *([f"  CPU vendor            {stream.cpu_vendor}"] if stream.cpu_vendor else []),
    ]


@_render_content.register
def _misc(stream: documents.Misc, _limit: int) -> list[str]:
    names = {
        "process_id": "ProcessId",
        "process_created_at": "ProcessCreateTime",
        "process_user_time_s": "ProcessUserTime",
        "process_kernel_time_s": "ProcessKernelTime",
        "processor_max_mhz": "ProcessorMaxMhz",
        "processor_current_mhz": "ProcessorCurrentMhz",
        "process_integrity_level": "ProcessIntegrityLevel",
        "process_execute_flags": "ProcessExecuteFlags",
        "protected_process": "ProtectedProcess",
        "time_zone_id": "TimeZoneId",
        "build_string": "BuildString",
        "debugger_build": "DbgBldStr",
        "process_cookie": "ProcessCookie",
    }
    values = {key: getattr(stream, key) for key in names}
    return [f"  {names[key]:21} {value}" for key, value in values.items() if value is not UNSET]


@_render_content.register
def _auxv(stream: documents.AuxiliaryVector, limit: int) -> list[str]:
    return _cut([f"  {name} {value}" for name, value in stream.auxv.items()], limit)


@_render_content.register
def _assertion(stream: documents.Assertion, _limit: int) -> list[str]:
    return _fields(stream.assertion)


@_render_content.register
def _vm_counters(stream: documents.VmCounterSet, _limit: int) -> list[str]:
    return _fields(stream.vm_counters)


@_render_content.register
def _system_memory(stream: documents.SystemMemorySet, _limit: int) -> list[str]:
    return _fields(stream.system_memory)


def _fields(part: Document) -> list[str]:
    return [f"  {name} {value}" for name, value in msgspec.structs.asdict(part).items()]


@_render_content.register
def _variables(stream: documents.Environment, limit: int) -> list[str]:
    rows = [f"    {name}" for name in stream.variables]
    head = f"  {stream.count} variables; values are not shown"
    return [head, *_cut(rows, limit, stream.count)]


@_render_content.register
def _link_maps(stream: documents.LinkMapList, limit: int) -> list[str]:
    rows = [f"  {_address(int(m.base, 16))}  '{m.name}'" for m in stream.link_maps]
    return [f"  {stream.count} objects", *_cut(rows, limit, stream.count)]


@_render_content.register
def _crashpad(stream: documents.Crashpad, limit: int) -> list[str]:
    rows = [f"  {key} = {value}" for key, value in stream.simple_annotations.items()]
    for module in stream.crashpad_modules:
        named = {**module.simple_annotations, **module.annotations}
        rows += [f"  module {module.module_index}: {key} = {v}" for key, v in named.items()]
        rows += [f"  module {module.module_index}: {text}" for text in module.list_annotations]
    head = [f"  report {stream.report_id}, client {stream.client_id}"]
    return head + _cut(rows, limit)


@_render_content.register
def _tokens(stream: documents.TokenList, limit: int) -> list[str]:
    rows = []
    for token in stream.tokens:
        rows.append(f"  of {token.token_id}, {token.size_bytes} bytes")
        rows += [f"    {key} {value}" for key, value in _list_token(token.token)]
    return _cut(rows, limit)


def _list_token(token: Any) -> Iterable[tuple[str, Any]]:
    return token.items() if isinstance(token, dict) else ()


@_render_content.register
def _xstates(stream: documents.XStateList, limit: int) -> list[str]:
    rows = [
        f"  ID {x.id:X} ({x.id}): {x.size_bytes} bytes at RVA {x.rva:08X}" for x in stream.xstates
    ]
    return _cut(rows, limit, stream.count)


@_render_content.register
def _record(stream: documents.Record, limit: int) -> list[str]:
    return _cut([f"  {line}" for line in json.dumps(stream.record, indent=1).splitlines()], limit)


@_render_content.register
def _breakpad(stream: documents.Breakpad, _limit: int) -> list[str]:
    values = {"dump": stream.dump_thread_id, "requesting": stream.requesting_thread_id}
    return [f"  {label} thread {tid:#x}" for label, tid in values.items() if tid is not UNSET]


@_render_content.register
def _text(stream: documents.Text, limit: int) -> list[str]:
    rows = stream.text.splitlines()
    shown = max(_TEXT_LINES_MAX, limit if limit > _ROWS_MAX else 0)
    return _cut([f"    {row}" for row in rows], shown)


@_render_content.register
def _soft_errors(stream: documents.SoftErrors, limit: int) -> list[str]:
    errors = stream.soft_errors
    rows = [f"  {error}" for error in errors] if isinstance(errors, list) else [f"  {errors}"]
    return _cut(rows, limit)
