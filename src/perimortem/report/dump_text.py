"""A minidump listed in the spirit and order of WinDbg's ``.dumpdebug``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ROWS_MAX = 1000
_TEXT_LINES_MAX = 20


def render_dump(document: dict[str, Any], *, limit: int = _ROWS_MAX) -> str:
    """The listing of ``describe_dump``'s document; at most ``limit`` rows a stream."""
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
    for text in document["missing"]:
        lines.append(f"MISSING: {text}")
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
    return lines


def _cut(rows: list[str], limit: int) -> list[str]:
    if len(rows) <= limit:
        return rows
    return [*rows[:limit], f"  ... {len(rows) - limit} more (--all, or --json)"]


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
    return [f"  {len(stream['threads'])} threads", *_cut(rows, limit)]


def _thread_infos(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  RVA {info['rva']:08X}, ID {info['id']:X} ({info['id']}), "
        f"user {info['user_time_s']:.2f} s, kernel {info['kernel_time_s']:.2f} s, "
        f"created {info['created_at'] or 'unknown'}"
        for info in stream["thread_infos"]
    ]
    return _cut(rows, limit)


def _names(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [f"  ID {name['id']:X} ({name['id']}): '{name['name']}'" for name in stream["names"]]
    return _cut(rows, limit)


def _modules(stream: dict[str, Any], limit: int) -> list[str]:
    rows = []
    for module in stream["modules"]:
        base = int(module["base"], 16)
        end = base + module["size_bytes"]
        identity = f", id {module['build_id']}" if module.get("build_id") else ""
        rows.append(f"  {_address(base)} - {_address(end)}: '{module['name']}'{identity}")
    return [f"  {len(stream['modules'])} modules", *_cut(rows, limit)]


def _address(value: int) -> str:
    return f"{value >> 32:08x}`{value & 0xFFFFFFFF:08x}"


def _ranges(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  {index:6}  {r['rva']:08X}  {_address(int(r['address'], 16))}  {r['size_bytes']:08X}"
        for index, r in enumerate(stream["ranges"][: limit + 1])
    ]
    more = len(stream["ranges"]) - limit
    lines = [
        f"  {len(stream['ranges'])} memory ranges",
        "  range#  RVA       Address            Size",
    ]
    lines += rows[:limit]
    if more > 0:
        lines.append(f"  ... {more} more (--all, or --json)")
    lines.append(f"  Total memory: {stream['total_bytes']:x}")
    if stream["outside_file"]:
        lines.append("  ERROR: the data of some ranges lie outside the file; was it cut?")
    return lines


def _regions(stream: dict[str, Any], limit: int) -> list[str]:
    rows = [
        f"  {_address(int(r['base'], 16))}  {r['size_bytes']:012X}  "
        f"state {r['state']}  protect {r['protect']}  type {r['type']}"
        for r in stream["regions"]
    ]
    return [f"  {len(stream['regions'])} regions", *_cut(rows, limit)]


def _handles(stream: dict[str, Any], limit: int) -> list[str]:
    head = (
        f"  {len(stream['handles'])} descriptors, header size is {stream['header_size']}, "
        f"descriptor size is {stream['descriptor_size']}"
    )
    rows = [f'    Handle({h["handle"]},"{h["type"]}","{h["name"]}")' for h in stream["handles"]]
    return [head, *_cut(rows, limit)]


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
        "process_id": "ProcessId        ",
        "process_created_at": "ProcessCreateTime",
        "process_user_time_s": "ProcessUserTime  ",
        "process_kernel_time_s": "ProcessKernelTime",
    }
    return [f"  {label} {stream[key]}" for key, label in names.items() if key in stream]


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
    "process_id": _misc,
    "text": _text,
    "soft_errors": _soft_errors,
}
