"""Streams of minidumpapiset.h. Pure."""

from __future__ import annotations

from itertools import accumulate
from operator import add, gt

from msgspec import UNSET

from perimortem.clock import format_rfc3339
from perimortem.documents import dump_listing as documents
from perimortem.errors import MalformedInput
from perimortem.exits.decode import explain_code
from perimortem.exits.ntstatus import STATUSES
from perimortem.exits.signals import signal_name
from perimortem.minidump import format as layout
from perimortem.minidump.context import read_context_amd64
from perimortem.minidump.format import Platform, ProcessorArchitecture, StreamType
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.report.minidump.describing import Describe, decode_utf16, format_filetime, list_head
from perimortem.text import printable


def _describe_threads(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    names_entry = dump.find(StreamType.ThreadNamesStream)
    names: dict[int, str] = {}
    if names_entry is not None:
        try:
            names = dump.read_thread_names(names_entry)
        except MalformedInput:
            names = {}
    listed = dump.read_threads(entry)
    threads = []
    for thread in listed[:limit]:
        registers = None
        if 0 < thread.context_size < 1 << 16:
            try:
                raw = dump.read_bytes(thread.context_rva, thread.context_size)
                registers = read_context_amd64(raw)
            except MalformedInput:
                registers = None
        threads.append(
            documents.Thread(
                id=thread.thread_id,
                name=printable(names.get(thread.thread_id, "")) or None,
                suspend_count=thread.suspend_count,
                priority=thread.priority,
                teb=f"{thread.teb:#x}",
                stack=documents.Stack(
                    f"{thread.stack.address:#x}", thread.stack.data_size, thread.stack.rva
                ),
                context=documents.Location(thread.context_rva, thread.context_size),
                instruction_pointer=f"{registers['rip']:#x}" if registers else None,
                stack_pointer=f"{registers['rsp']:#x}" if registers else None,
            )
        )
    return documents.ThreadList(*list_head(entry), count=len(listed), threads=threads)


def _describe_thread_infos(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    infos = dump.read_thread_infos(entry)
    return documents.ThreadInfoList(
        *list_head(entry),
        count=len(infos),
        thread_infos=[
            documents.ThreadInfo(
                rva=infos.rva_of(index),
                id=info.thread_id,
                dump_flags=f"{info.dump_flags:#x}",
                exit_status=f"{info.exit_status:#x}",
                created_at=format_filetime(info.create_time),
                exited_at=format_filetime(info.exit_time),
                user_time_s=info.user_time / 1e7,
                kernel_time_s=info.kernel_time / 1e7,
                start_address=f"{info.start_address:#x}",
                affinity=f"{info.affinity:#x}",
            )
            for index, info in enumerate(infos[:limit])
        ],
    )


def _describe_thread_names(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    names = list(dump.read_thread_names(entry).items())
    rows = [documents.ThreadName(tid, printable(name)) for tid, name in names[:limit]]
    return documents.ThreadNameList(*list_head(entry), count=len(names), names=rows)


def _describe_modules(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    raws = dump.read_raw_modules(entry)
    modules = [
        dump.describe_module(raw, raws.rva_of(index)) for index, raw in enumerate(raws[:limit])
    ]
    return documents.ModuleList(
        *list_head(entry),
        count=len(raws),
        modules=[
            documents.Module(
                rva=module.rva,
                base=f"{module.raw.base:#x}",
                size_bytes=module.raw.image_size,
                name=printable(module.name),
                build_id=module.build_id,
                version=_format_version(module.raw.version),
                checksum=f"{module.raw.checksum:#x}",
                timestamp=module.raw.time_date_stamp,
            )
            for module in modules
        ],
    )


def _format_version(version: layout.FixedFileInfo) -> str | None:
    high, low = version.file_version_high, version.file_version_low
    if version.signature != layout.FIXED_FILE_INFO_SIGNATURE or not high | low:
        return None
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def _describe_unloaded(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    modules = dump.read_unloaded_modules(entry)
    return documents.UnloadedModuleList(
        *list_head(entry),
        count=len(modules),
        modules=[
            documents.UnloadedModule(
                base=f"{raw.base:#x}",
                size_bytes=raw.image_size,
                name=printable(dump.read_string(raw.name_rva)),
                timestamp=raw.time_date_stamp,
            )
            for raw in modules[:limit]
        ],
    )


def _describe_memory(dump: MinidumpFile, entry: StreamEntry, limit: int | None) -> documents.Stream:
    ranges = dump.read_memory_list(entry)
    addresses, sizes = ranges.column("Q", 0), ranges.column("I", 8)
    rvas = ranges.column("I", 12)
    return documents.MemoryList(
        *list_head(entry),
        count=len(ranges),
        ranges=[
            documents.MemoryRange(r.rva, f"{r.address:#x}", r.data_size) for r in ranges[:limit]
        ],
        total_bytes=sum(sizes),
        outside_file=sum(end > dump.size for end in map(add, rvas, sizes)),
        overlapping=_count_overlaps(list(addresses), list(sizes)),
    )


def _describe_memory64(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    facts = dump.read_memory64(entry)
    addresses, sizes = facts.ranges.column("Q", 0), facts.ranges.column("Q", 8)
    shown = list(sizes[:limit])
    rvas = accumulate(shown, initial=facts.base_rva)
    total = sum(sizes)
    return documents.MemoryList(
        *list_head(entry),
        count=len(facts.ranges),
        base_rva=facts.base_rva,
        ranges=[
            documents.MemoryRange(rva, f"{address:#x}", size)
            for rva, address, size in zip(rvas, addresses, shown, strict=False)
        ],
        total_bytes=total,
        outside_file=_count_outside(facts.base_rva, list(sizes), dump.size)
        if facts.base_rva + total > dump.size
        else 0,
        overlapping=_count_overlaps(list(addresses), list(sizes)),
    )


def _count_outside(base: int, sizes: list[int], file_size: int) -> int:
    return sum(end > file_size for end in accumulate(sizes, initial=base)) - (base > file_size)


def _count_overlaps(addresses: list[int], sizes: list[int]) -> int:
    """Ranges that start before the previous one ends."""
    if any(map(gt, addresses, addresses[1:])):
        pairs = sorted(zip(addresses, sizes, strict=True))
        addresses = [address for address, _ in pairs]
        sizes = [size for _, size in pairs]
    return sum(map(gt, map(add, addresses, sizes), addresses[1:]))


def _describe_memory_infos(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    infos = dump.read_memory_infos(entry)
    return documents.RegionList(
        *list_head(entry),
        count=len(infos),
        regions=[
            documents.Region(
                base=f"{info.base_address:#x}",
                allocation_base=f"{info.allocation_base:#x}",
                size_bytes=info.region_size,
                state=f"{info.state:#x}",
                protect=f"{info.protect:#x}",
                type=f"{info.type:#x}",
            )
            for info in infos[:limit]
        ],
    )


def _describe_handles(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    header, handles = dump.read_handles(entry, limit)
    return documents.HandleList(
        *list_head(entry),
        count=header.count,
        header_size=header.header_size,
        descriptor_size=header.descriptor_size,
        handles=[
            documents.Handle(
                handle=f"{handle.raw.handle:016X}",
                type=printable(handle.type_name),
                name=printable(handle.object_name),
                attributes=f"{handle.raw.attributes:#x}",
                granted_access=f"{handle.raw.granted_access:#x}",
                details={
                    printable(key): printable(value) if isinstance(value, str) else value
                    for key, value in handle.details.items()
                },
            )
            for handle in handles
        ],
    )


def _describe_exception(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    facts = dump.read_exception(entry)
    return documents.ExceptionRecord(
        *list_head(entry),
        thread_id=facts.raw.thread_id,
        code=f"{facts.raw.code:#x}",
        text=_exception_text(dump, facts.raw.code),
        flags=f"{facts.raw.flags:#x}",
        address=f"{facts.raw.address:#x}",
        parameters=[f"{value:#x}" for value in facts.parameters],
        context=documents.Location(facts.context.rva, facts.context.data_size),
    )


def _exception_text(dump: MinidumpFile, code: int) -> str:
    entry = dump.find(StreamType.SystemInfoStream)
    platform = dump.read_system_info(entry).platform_id if entry else 0
    if platform >= Platform.UNIX:
        return "dump requested" if code in (0xFFFFFFFF, 0) else signal_name(code)
    if code in STATUSES:
        explained = explain_code(str(code))
        return f"{explained.name}: {explained.meaning}"
    return "not in the table of known codes"


def _describe_system(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    info = dump.read_system_info(entry)
    vendor = ""
    if info.processor_architecture in (ProcessorArchitecture.INTEL, ProcessorArchitecture.AMD64):
        raw = info.cpu[:12]
        vendor = raw.decode("ascii") if raw.isascii() and raw.strip(b"\0") else ""
    return documents.System(
        *list_head(entry),
        processor_architecture=_enum_name(ProcessorArchitecture, info.processor_architecture),
        processor_level=info.processor_level,
        processor_revision=f"{info.processor_revision:#06x}",
        processor_count=info.processor_count,
        platform=_enum_name(Platform, info.platform_id),
        os_version=f"{info.major_version}.{info.minor_version}.{info.build_number}",
        product_type=info.product_type,
        csd_version=printable(dump.read_string(info.csd_version_rva)),
        cpu_vendor=printable(vendor.rstrip("\0")) or None,
    )


def _enum_name(kind: type[ProcessorArchitecture] | type[Platform], value: int) -> str:
    try:
        return kind(value).name
    except ValueError:
        return f"{value:#x}"


def _describe_misc(dump: MinidumpFile, entry: StreamEntry, _limit: int | None) -> documents.Stream:
    data = dump.read_stream(entry)
    info = layout.MiscInfo.read(data)
    flags = info.flags1
    has_id = flags & layout.MISC1_PROCESS_ID
    has_times = flags & layout.MISC1_PROCESS_TIMES
    size = min(info.size_of_info, len(data))
    power = third = None
    if size >= layout.MiscInfo2.size() and flags & layout.MISC1_PROCESSOR_POWER_INFO:
        power = layout.MiscInfo2.read(data)
    if size >= layout.MiscInfo3.size():
        third = layout.MiscInfo3.read(data)
    build_at = layout.MISC4_BUILD_STRING_OFFSET
    has_build = size >= build_at + 600 and flags & layout.MISC4_BUILD_STRING
    has_cookie = size >= layout.MISC5_SIZE and flags & layout.MISC5_PROCESS_COOKIE
    cookie = int.from_bytes(data[layout.MISC5_SIZE - 4 : layout.MISC5_SIZE], "little")
    return documents.Misc(
        *list_head(entry),
        misc_flags=f"{flags:#x}",
        misc_size=info.size_of_info,
        process_id=info.process_id if has_id else UNSET,
        process_created_at=format_rfc3339(info.process_create_time * 1_000_000_000)
        if has_times
        else UNSET,
        process_user_time_s=info.process_user_time if has_times else UNSET,
        process_kernel_time_s=info.process_kernel_time if has_times else UNSET,
        processor_max_mhz=power.processor_max_mhz if power else UNSET,
        processor_current_mhz=power.processor_current_mhz if power else UNSET,
        process_integrity_level=f"{third.process_integrity_level:#x}"
        if third and flags & layout.MISC3_PROCESS_INTEGRITY
        else UNSET,
        process_execute_flags=f"{third.process_execute_flags:#x}"
        if third and flags & layout.MISC3_PROCESS_EXECUTE_FLAGS
        else UNSET,
        protected_process=third.protected_process
        if third and flags & layout.MISC3_PROTECTED_PROCESS
        else UNSET,
        time_zone_id=third.time_zone_id if third and flags & layout.MISC3_TIME_ZONE else UNSET,
        build_string=decode_utf16(data[build_at : build_at + 520]) if has_build else UNSET,
        debugger_build=decode_utf16(data[build_at + 520 : build_at + 600]) if has_build else UNSET,
        process_cookie=f"{cookie:#x}" if has_cookie else UNSET,
    )


def _describe_vm_counters(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    data = dump.read_stream(entry)
    counters = layout.VmCounters.read(data)
    return documents.VmCounterSet(
        *list_head(entry),
        revision=counters.revision,
        vm_counters=documents.VmCounters(
            page_fault_count=counters.page_fault_count,
            working_set_bytes=counters.working_set,
            peak_working_set_bytes=counters.peak_working_set,
            pagefile_bytes=counters.pagefile,
            peak_pagefile_bytes=counters.peak_pagefile,
            paged_pool_bytes=counters.paged_pool,
            nonpaged_pool_bytes=counters.nonpaged_pool,
        ),
    )


def _describe_system_memory(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    head = layout.SystemMemoryHead.read(dump.read_stream(entry))
    return documents.SystemMemorySet(
        *list_head(entry),
        revision=head.revision,
        system_memory=documents.SystemMemory(
            page_size=head.page_size,
            physical_pages=head.physical_pages,
            processor_count=head.processor_count,
            minimum_user_address=f"{head.minimum_user_address:#x}",
            maximum_user_address=f"{head.maximum_user_address:#x}",
        ),
    )


def _describe_function_tables(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    header = layout.FunctionTableHeader.read(dump.read_stream(entry))
    return documents.CountedStream(*list_head(entry), count=header.count)


def _describe_handle_operations(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    header = layout.HandleDataHeader.read(dump.read_stream(entry))
    return documents.CountedStream(*list_head(entry), count=header.count)


def _describe_comment(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    raw = dump.read_stream(entry)
    if entry.type == StreamType.CommentStreamW:
        text = decode_utf16(raw)
    else:
        text = printable(raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"))
    return documents.Text(*list_head(entry), text=text)


SDK_STREAMS: dict[int, Describe] = {
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
    StreamType.ProcessVmCountersStream: _describe_vm_counters,
    StreamType.SystemMemoryInfoStream: _describe_system_memory,
    StreamType.FunctionTableStream: _describe_function_tables,
    StreamType.HandleOperationListStream: _describe_handle_operations,
    StreamType.CommentStreamA: _describe_comment,
    StreamType.CommentStreamW: _describe_comment,
}
