"""A minidump listed in the style and order of WinDbg's ``.dumpdebug``. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from perimortem.minidump.format import StreamType

KNOWN_TYPES = frozenset(int(kind) for kind in StreamType)
_ROWS_MAX = 1000
_TEXT_LINES_MAX = 20


def render_dump(document: dict[str, Any], *, limit: int = _ROWS_MAX, with_head: bool = True) -> str:
    """The listing of ``describe_dump``'s document; at most ``limit`` rows a stream.

    ``with_head``: the header first, and at the end what is missing or wrong.
    """
    if not with_head:
        return "".join(render_rows(stream, limit) for stream in document["streams"])
    lines = [
        "----- User Mini Dump Analysis",
        "",
        "MINIDUMP_HEADER:",
        f"Version         {document['version']}",
        f"NumberOfStreams {document['stream_count']}",
        f"Created         {document['created_at']}",
        f"Flags           {document['flags']['value'].removeprefix('0x')}",
    ]
    lines += [f"                {name}" for name in document["flags"]["names"]]
    lines += ["", "Streams:"]
    for stream in document["streams"]:
        lines += _render_stream(stream, limit)
    lines += [f"MISSING: {text}" for text in document["missing"]]
    lines += [f"PROBLEM: {text}" for text in document["problems"]]
    return "\n".join(lines) + "\n"


def _render_stream(stream: dict[str, Any], limit: int) -> list[str]:
    number = stream["type"]
    shown = f"{number:#x}" if number > 0xFFFF else str(number)
    lines = [
        f"Stream {stream['index']}: type {stream['name']} ({shown}), "
        f"size {stream['size_bytes']:08X}, RVA {stream['rva']:08X}"
    ]
    if "error" in stream:
        return [*lines, f"  ERROR: {stream['error']}"]
    for key, render in _RENDERERS.items():
        if key in stream:
            return lines + render(stream, limit)
    if number not in KNOWN_TYPES:
        return [*lines, "  unknown to this version: not decoded"]
    return lines


def render_rows(stream: dict[str, Any], limit: int) -> str:
    """A single stream, as its part of the listing."""
    return "\n".join(_render_stream(stream, limit)) + "\n"


def _cut(rows: list[str], limit: int, count: int | None = None) -> list[str]:
    """``count``: the number of all rows, if ``rows`` is already cut."""
    more = (len(rows) if count is None else count) - min(limit, len(rows))
    return [*rows[:limit], f"  ... {more} more (--all, or --json)"] if more > 0 else rows


def _threads(stream: dict[str, Any], limit: int) -> list[str]:
    rows = []
    for thread in stream["threads"]:
        name = f" '{thread['name']}'" if thread["name"] else ""
        rows.append(
            f"  ID {thread['id']:X} ({thread['id']}){name}, Teb:{thread['teb']}, "
            f"stack {thread['stack']['address']} ({thread['stack']['size_bytes']:#x} bytes)"
            + (
                f", ip {thread['instruction_pointer']}"
                if thread["instruction_pointer"]
                else ", no registers"
            )
        )
    return [f"  {stream['count']} threads", *_cut(rows, limit, stream["count"])]


def _thread_infos(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  RVA {info['rva']:08X}, ID {info['id']:X} ({info['id']}), "
        f"start {_address(int(info['start_address'], 16))}, "
        f"user {info['user_time_s']:.2f} s, kernel {info['kernel_time_s']:.2f} s, "
        f"created {info['created_at'] or 'unknown'}, affinity {info['affinity']}"
        for info in stream["thread_infos"]
    ]
    return _cut(rows, limit, stream["count"])


def _names(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [f"  ID {name['id']:X} ({name['id']}): '{name['name']}'" for name in stream["names"]]
    return _cut(rows, limit, stream["count"])


def _modules(stream: dict[str, Any], limit: int) -> list[str]:
    rows = []
    for module in stream["modules"]:
        base = int(module["base"], 16)
        end = base + module["size_bytes"]
        identity = f", id {module['build_id']}" if module.get("build_id") else ""
        rows.append(f"  {_address(base)} - {_address(end)}: '{module['name']}'{identity}")
    return [f"  {stream['count']} modules", *_cut(rows, limit, stream["count"])]


def _address(value: int) -> str:
    return f"{value >> 32:08x}`{value & 0xFFFFFFFF:08x}"


def _ranges(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  {index:6}  {r['rva']:08X}  {_address(int(r['address'], 16))}  {r['size_bytes']:08X}"
        for index, r in enumerate(stream["ranges"][:limit])
    ]
    lines = [
        f"  {stream['count']} memory ranges",
        "  range#  RVA       Address            Size",
        *_cut(rows, limit, stream["count"]),
        f"  Total memory: {stream['total_bytes']:x}",
    ]
    if stream["outside_file"]:
        outside = stream["outside_file"]
        lines.append(f"  ERROR: {outside} ranges have data outside the file; was it cut?")
    if stream["overlapping"]:
        lines.append(f"  {stream['overlapping']} ranges overlap the previous one")
    return lines


def _regions(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  {_address(int(r['base'], 16))}  {r['size_bytes']:012X}  "
        f"state {r['state']}  protect {r['protect']}  type {r['type']}"
        for r in stream["regions"]
    ]
    return [f"  {stream['count']} regions", *_cut(rows, limit, stream["count"])]


def _handles(stream: dict[str, Any], limit: int) -> list[str]:
    head = (
        f"  {stream['count']} descriptors, header size is {stream['header_size']}, "
        f"descriptor size is {stream['descriptor_size']}"
    )
    rows = [
        f'    Handle({h["handle"]},"{h["type"]}","{h["name"]}")' + _details(h["details"])
        for h in stream["handles"]
    ]
    return [head, *_cut(rows, limit, stream["count"])]


def _details(details: dict[str, Any]) -> str:
    return "".join(f" {key}={value}" for key, value in details.items())


def _exception(stream: dict[str, Any], _limit: int) -> list[str]:
    lines = [
        f"  ThreadID {stream['thread_id']}",
        f"  ExceptionCode {stream['code']} ({stream['text']})",
        f"  ExceptionAddress {stream['address']}",
    ]
    if stream["parameters"]:
        lines.append(f"  Parameters {' '.join(stream['parameters'])}")
    context = stream["context"]
    return [*lines, f"  Context record RVA {context['rva']:x}, size {context['size_bytes']:x}"]


def _system(stream: dict[str, Any], _limit: int) -> list[str]:
    return [
        f"  ProcessorArchitecture {stream['processor_architecture']}",
        f"  ProcessorLevel        {stream['processor_level']}",
        f"  ProcessorRevision     {stream['processor_revision']}",
        f"  NumberOfProcessors    {stream['processor_count']}",
        f"  Platform              {stream['platform']} {stream['os_version']}",
        f"  CSDVersion            {stream['csd_version']}",
        *([f"  CPU vendor            {stream['cpu_vendor']}"] if stream["cpu_vendor"] else []),
    ]


def _misc(stream: dict[str, Any], _limit: int) -> list[str]:
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
    return [f"  {label:21} {stream[key]}" for key, label in names.items() if key in stream]


def _fields(key: str) -> Callable[[dict[str, Any], int], list[str]]:
    """A dictionary, one line per entry."""

    def render(stream: dict[str, Any], limit: int) -> list[str]:
        return _cut([f"  {name} {value}" for name, value in stream[key].items()], limit)

    return render


def _variables(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [f"    {name}" for name in stream["variables"]]
    head = f"  {stream['count']} variables; values are not shown"
    return [head, *_cut(rows, limit, stream["count"])]


def _link_maps(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [f"  {_address(int(m['base'], 16))}  '{m['name']}'" for m in stream["link_maps"]]
    return [f"  {stream['count']} objects", *_cut(rows, limit, stream["count"])]


def _crashpad(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [f"  {key} = {value}" for key, value in stream["simple_annotations"].items()]
    for module in stream["crashpad_modules"]:
        named = {**module["simple_annotations"], **module["annotations"]}
        rows += [f"  module {module['module_index']}: {key} = {v}" for key, v in named.items()]
        rows += [
            f"  module {module['module_index']}: {text}" for text in module["list_annotations"]
        ]
    head = [f"  report {stream['report_id']}, client {stream['client_id']}"]
    return head + _cut(rows, limit)


def _tokens(stream: dict[str, Any], limit: int) -> list[str]:
    rows = []
    for token in stream["tokens"]:
        rows.append(f"  of {token['token_id']}, {token['size_bytes']} bytes")
        rows += [f"    {key} {value}" for key, value in token.get("token", {}).items()]
    return _cut(rows, limit)


def _xstates(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  ID {x['id']:X} ({x['id']}): {x['size_bytes']} bytes at RVA {x['rva']:08X}"
        for x in stream["xstates"]
    ]
    return _cut(rows, limit, stream["count"])


def _record(stream: dict[str, Any], limit: int) -> list[str]:
    return _cut(
        [f"  {line}" for line in json.dumps(stream["record"], indent=1).splitlines()], limit
    )


def _breakpad(stream: dict[str, Any], _limit: int) -> list[str]:
    names = {"dump_thread_id": "dump thread", "requesting_thread_id": "requesting thread"}
    return [f"  {label} {stream[key]:#x}" for key, label in names.items() if key in stream]


def _text(stream: dict[str, Any], limit: int) -> list[str]:
    rows = stream["text"].splitlines()
    shown = max(_TEXT_LINES_MAX, limit if limit > _ROWS_MAX else 0)
    return _cut([f"    {row}" for row in rows], shown)


def _soft_errors(stream: dict[str, Any], limit: int) -> list[str]:
    errors = stream["soft_errors"]
    rows = [f"  {error}" for error in errors] if isinstance(errors, list) else [f"  {errors}"]
    return _cut(rows, limit)


_RENDERERS: dict[str, Callable[[dict[str, Any], int], list[str]]] = {
    "threads": _threads,
    "thread_infos": _thread_infos,
    "names": _names,
    "modules": _modules,
    "ranges": _ranges,
    "regions": _regions,
    "handles": _handles,
    "thread_id": _exception,
    "processor_architecture": _system,
    "misc_flags": _misc,
    "variables": _variables,
    "link_maps": _link_maps,
    "crashpad_modules": _crashpad,
    "tokens": _tokens,
    "xstates": _xstates,
    "record": _record,
    "validity": _breakpad,
    "auxv": _fields("auxv"),
    "assertion": _fields("assertion"),
    "vm_counters": _fields("vm_counters"),
    "system_memory": _fields("system_memory"),
    "text": _text,
    "soft_errors": _soft_errors,
}
