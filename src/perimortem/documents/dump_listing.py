"""The contents of a minidump of any writer, as `perimortem inspect` lists them: docs/dump.schema.json.

Sizes and RVAs are numbers. What a stream holds is named by its ``content``. Old writers knew less than
today's: what they left out is absent.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from perimortem.documents.base import Document, Hex, Time


class Stream(Document, frozen=True, tag_field="content", tag="unknown"):
    """A stream whose content this version does not know, or an empty one."""

    index: int
    type: int
    name: str
    size_bytes: int
    rva: int


class DamagedStream(Stream, frozen=True, tag="damaged"):
    """A stream that could not be read."""

    error: str


class Location(Document, frozen=True):
    """Bytes of the file."""

    rva: int
    size_bytes: int


class Stack(Document, frozen=True):
    """The memory of a stack, as far as it is in the dump."""

    address: Hex
    size_bytes: int
    rva: int


class Thread(Document, frozen=True):
    """An entry of the thread list."""

    id: int
    name: str | None
    suspend_count: int
    priority: int
    teb: Hex
    stack: Stack
    context: Location
    instruction_pointer: Hex | None
    stack_pointer: Hex | None


class ThreadList(Stream, frozen=True, tag="threads"):
    """ThreadListStream. ``count``, here and below: of all entries, however many are listed."""

    count: int
    threads: list[Thread]


class ThreadInfo(Document, frozen=True):
    """Times of a thread."""

    rva: int
    id: int
    dump_flags: Hex
    exit_status: Hex
    created_at: Time | None
    exited_at: Time | None
    user_time_s: float
    kernel_time_s: float
    start_address: Hex
    affinity: Hex


class ThreadInfoList(Stream, frozen=True, tag="thread-infos"):
    """ThreadInfoListStream."""

    count: int
    thread_infos: list[ThreadInfo]


class ThreadName(Document, frozen=True):
    """The name of a thread."""

    id: int
    name: str


class ThreadNameList(Stream, frozen=True, tag="thread-names"):
    """ThreadNamesStream."""

    count: int
    names: list[ThreadName]


class Module(Document, frozen=True):
    """A loaded program or library."""

    rva: int
    base: Hex
    size_bytes: int
    name: str
    build_id: str | None
    version: str | None
    checksum: Hex
    timestamp: int


class ModuleList(Stream, frozen=True, tag="modules"):
    """ModuleListStream."""

    count: int
    modules: list[Module]


class UnloadedModule(Document, frozen=True):
    """A library that had been unloaded."""

    base: Hex
    size_bytes: int
    name: str
    timestamp: int


class UnloadedModuleList(Stream, frozen=True, tag="unloaded-modules"):
    """UnloadedModuleListStream."""

    count: int
    modules: list[UnloadedModule]


class MemoryRange(Document, frozen=True):
    """Memory that is in the dump."""

    rva: int
    address: Hex
    size_bytes: int


class MemoryList(Stream, frozen=True, tag="memory"):
    """MemoryListStream and Memory64ListStream."""

    count: int
    ranges: list[MemoryRange]
    total_bytes: int
    outside_file: int
    """Ranges whose data are not all in the file."""
    overlapping: int
    """Ranges that begin before the one below them ends."""
    base_rva: int | UnsetType = UNSET
    """Of Memory64ListStream: where its data begin."""


class Region(Document, frozen=True):
    """A part of the address space, whether its memory is in the dump or not."""

    base: Hex
    allocation_base: Hex
    size_bytes: int
    state: Hex
    protect: Hex
    type: Hex


class RegionList(Stream, frozen=True, tag="regions"):
    """MemoryInfoListStream."""

    count: int
    regions: list[Region]


class Handle(Document, frozen=True):
    """An open handle or descriptor."""

    handle: str
    """In hexadecimal, without 0x."""
    type: str
    name: str
    attributes: Hex
    granted_access: Hex
    details: dict[str, Any]
    """Ours: what fdinfo and the socket tables say."""


class HandleList(Stream, frozen=True, tag="handles"):
    """HandleDataStream."""

    count: int
    header_size: int
    descriptor_size: int
    handles: list[Handle]


class ExceptionRecord(Stream, frozen=True, tag="exception"):
    """ExceptionStream."""

    thread_id: int
    code: Hex
    text: str
    flags: Hex
    address: Hex
    parameters: list[Hex]
    context: Location


class System(Stream, frozen=True, tag="system"):
    """SystemInfoStream."""

    processor_architecture: str
    processor_level: int
    processor_revision: Hex
    processor_count: int
    platform: str
    os_version: str
    product_type: int
    csd_version: str
    cpu_vendor: str | None


class Misc(Stream, frozen=True, tag="misc"):
    """MiscInfoStream, as far as its flags say that a field is valid."""

    misc_flags: Hex
    misc_size: int
    process_id: int | UnsetType = UNSET
    process_created_at: Time | UnsetType = UNSET
    process_user_time_s: int | UnsetType = UNSET
    process_kernel_time_s: int | UnsetType = UNSET
    processor_max_mhz: int | UnsetType = UNSET
    processor_current_mhz: int | UnsetType = UNSET
    process_integrity_level: Hex | UnsetType = UNSET
    process_execute_flags: Hex | UnsetType = UNSET
    protected_process: int | UnsetType = UNSET
    time_zone_id: int | UnsetType = UNSET
    build_string: str | UnsetType = UNSET
    debugger_build: str | UnsetType = UNSET
    process_cookie: Hex | UnsetType = UNSET


class VmCounters(Document, frozen=True):
    """Memory use of the process."""

    page_fault_count: int
    working_set_bytes: int
    peak_working_set_bytes: int
    pagefile_bytes: int
    peak_pagefile_bytes: int
    paged_pool_bytes: int
    nonpaged_pool_bytes: int


class VmCounterSet(Stream, frozen=True, tag="vm-counters"):
    """ProcessVmCountersStream."""

    revision: int
    vm_counters: VmCounters


class SystemMemory(Document, frozen=True):
    """Memory of the machine."""

    page_size: int
    physical_pages: int
    processor_count: int
    minimum_user_address: Hex
    maximum_user_address: Hex


class SystemMemorySet(Stream, frozen=True, tag="system-memory"):
    """SystemMemoryInfoStream."""

    revision: int
    system_memory: SystemMemory


class CountedStream(Stream, frozen=True, tag="counted"):
    """FunctionTableStream and HandleOperationListStream: entries that are not listed."""

    count: int


class Text(Stream, frozen=True, tag="text"):
    """A comment, or a text of /proc or /etc; of very long ones the beginning."""

    text: str


class Environment(Stream, frozen=True, tag="environment"):
    """LinuxEnviron."""

    count: int
    variables: list[str]
    """Their names: values may hold passwords."""


class SoftErrors(Stream, frozen=True, tag="soft-errors"):
    """MozSoftErrors."""

    soft_errors: Any
    """What the writer did less than it was asked for, as it says so."""


class Record(Stream, frozen=True, tag="record"):
    """Ours: heartbeats and last events of the flight recorder."""

    record: Any


class XState(Document, frozen=True):
    """Extended registers of a thread."""

    id: int
    rva: int
    size_bytes: int


class XStateList(Stream, frozen=True, tag="xstates"):
    """Ours: registers beyond the CONTEXT of a thread."""

    count: int
    xstates: list[XState]


class Token(Document, frozen=True):
    """Identity and rights of a process."""

    token_id: int
    size_bytes: int
    token: Any | UnsetType = UNSET
    """Ours: user, groups and capabilities."""


class TokenList(Stream, frozen=True, tag="tokens"):
    """TokenStream."""

    count: int
    tokens: list[Token]


class Breakpad(Stream, frozen=True, tag="breakpad"):
    """BreakpadInfoStream."""

    validity: int
    dump_thread_id: int | UnsetType = UNSET
    requesting_thread_id: int | UnsetType = UNSET


class AssertionInfo(Document, frozen=True):
    """A failed assertion."""

    expression: str
    function: str
    file: str
    line: int
    type: int


class Assertion(Stream, frozen=True, tag="assertion"):
    """AssertionInfoStream."""

    assertion: AssertionInfo


class AuxiliaryVector(Stream, frozen=True, tag="auxv"):
    """LinuxAuxv."""

    auxv: dict[str, Hex]


class LinkMap(Document, frozen=True):
    """A library, as the loader knows it."""

    base: Hex
    name: str


class LinkMapList(Stream, frozen=True, tag="link-maps"):
    """LinuxDsoDebug."""

    count: int
    linker_version: int
    loader_base: Hex
    dynamic: Hex
    link_maps: list[LinkMap]


class CrashpadModule(Document, frozen=True):
    """Annotations of a module."""

    module_index: int
    list_annotations: list[str]
    simple_annotations: dict[str, str]
    annotations: dict[str, str]


class Crashpad(Stream, frozen=True, tag="crashpad"):
    """CrashpadInfoStream."""

    crashpad_version: int
    report_id: str
    client_id: str
    simple_annotations: dict[str, str]
    crashpad_modules: list[CrashpadModule]


class Flags(Document, frozen=True):
    """MINIDUMP_TYPE."""

    value: Hex
    names: list[str]


AnyStream = (
    Stream
    | DamagedStream
    | ThreadList
    | ThreadInfoList
    | ThreadNameList
    | ModuleList
    | UnloadedModuleList
    | MemoryList
    | RegionList
    | HandleList
    | ExceptionRecord
    | System
    | Misc
    | VmCounterSet
    | SystemMemorySet
    | CountedStream
    | Text
    | Environment
    | SoftErrors
    | Record
    | XStateList
    | TokenList
    | Breakpad
    | Assertion
    | AuxiliaryVector
    | LinkMapList
    | Crashpad
)


class DumpListing(Document, frozen=True):
    """A minidump."""

    size_bytes: int
    version: str
    stream_count: int
    created_at: Time
    flags: Flags
    streams: list[AnyStream]
    missing: list[str]
    """What the flags ask for and is not there."""
    problems: list[str]
    """Streams that share bytes or come twice."""
