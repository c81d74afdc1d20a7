"""Records of the Windows SDK that we read or write, as the file has them.

Source: minidumpapiset.h (Windows SDK). Reader and writer derive from these declarations; those of other
writers' streams are in ``extensions``.
"""

from __future__ import annotations

from enum import IntEnum

from perimortem.binary.record import U8, U16, U32, U64, Bytes4, Bytes24, Record

SIGNATURE = b"MDMP"
VERSION = 0xA793


class StreamType(IntEnum):
    """MINIDUMP_STREAM_TYPE and the types that other writers added."""

    UnusedStream = 0
    ThreadListStream = 3
    ModuleListStream = 4
    MemoryListStream = 5
    ExceptionStream = 6
    SystemInfoStream = 7
    ThreadExListStream = 8
    Memory64ListStream = 9
    CommentStreamA = 10
    CommentStreamW = 11
    HandleDataStream = 12
    FunctionTableStream = 13
    UnloadedModuleListStream = 14
    MiscInfoStream = 15
    MemoryInfoListStream = 16
    ThreadInfoListStream = 17
    HandleOperationListStream = 18
    TokenStream = 19
    JavaScriptDataStream = 20
    SystemMemoryInfoStream = 21
    ProcessVmCountersStream = 22
    IptTraceStream = 23
    ThreadNamesStream = 24
    # Breakpad
    BreakpadInfoStream = 0x47670001
    AssertionInfoStream = 0x47670002
    LinuxCpuInfo = 0x47670003
    LinuxProcStatus = 0x47670004
    LinuxLsbRelease = 0x47670005
    LinuxCmdLine = 0x47670006
    LinuxEnviron = 0x47670007
    LinuxAuxv = 0x47670008
    LinuxMaps = 0x47670009
    LinuxDsoDebug = 0x4767000A
    # Crashpad
    CrashpadInfoStream = 0x43500001
    # Mozilla
    MozMacosCrashInfoStream = 0x4D7A0001
    MozMacosBootArgsStream = 0x4D7A0002
    MozLinuxLimits = 0x4D7A0003
    MozSoftErrors = 0x4D7A0004
    # Chromium, through Crashpad ("Kk")
    SyzyAsanProtobuf = 0x4B6B0001
    ChromiumStabilityReport = 0x4B6B0002
    ChromiumSystemProfile = 0x4B6B0003
    ChromiumGwpAsan = 0x4B6B0004
    # Facebook
    FacebookAppCustomData = 0xFACECAFA
    FacebookBuildID = 0xFACECAFB
    FacebookAppVersionName = 0xFACECAFC
    FacebookJavaStack = 0xFACECAFD
    FacebookDalvikInfo = 0xFACECAFE
    FacebookUnwindSymbols = 0xFACECAFF
    FacebookDumpErrorLog = 0xFACECB00
    FacebookAppStateLog = 0xFACECCCC
    FacebookAbortReason = 0xFACEDEAD
    FacebookThreadName = 0xFACEE000
    # Windows CE
    ceStreamNull = 0x8000
    ceStreamSystemInfo = 0x8001
    ceStreamException = 0x8002
    ceStreamModuleList = 0x8003
    ceStreamProcessList = 0x8004
    ceStreamThreadList = 0x8005
    ceStreamThreadContextList = 0x8006
    ceStreamThreadCallStackList = 0x8007
    ceStreamMemoryVirtualList = 0x8008
    ceStreamMemoryPhysicalList = 0x8009
    ceStreamBucketParameters = 0x800A
    ceStreamProcessModuleMap = 0x800B
    ceStreamDiagnosisList = 0x800C
    # Ours ("PM")
    PerimortemRecord = 0x504D0001
    PerimortemXstate = 0x504D0002
    PerimortemHandles = 0x504D0003


class Header(Record):
    """MINIDUMP_HEADER."""

    signature: Bytes4
    version: U32
    stream_count: U32
    stream_directory_rva: U32
    checksum: U32
    time_date_stamp: U32
    flags: U64


class Location(Record):
    """MINIDUMP_LOCATION_DESCRIPTOR."""

    data_size: U32
    rva: U32


class Directory(Record):
    """MINIDUMP_DIRECTORY."""

    stream_type: U32
    data_size: U32
    rva: U32


class MemoryDescriptor(Record):
    """MINIDUMP_MEMORY_DESCRIPTOR."""

    address: U64
    data_size: U32
    rva: U32


class Memory64ListHeader(Record):
    """Head of MINIDUMP_MEMORY64_LIST; the data of all ranges follow each other from base_rva."""

    count: U64
    base_rva: U64


class MemoryDescriptor64(Record):
    """MINIDUMP_MEMORY_DESCRIPTOR64."""

    address: U64
    data_size: U64


class RawThread(Record):
    """MINIDUMP_THREAD."""

    thread_id: U32
    suspend_count: U32
    priority_class: U32
    priority: U32
    teb: U64
    stack: MemoryDescriptor
    context_size: U32
    context_rva: U32


class EntryListHeader(Record):
    """Head of lists with 32-bit counts: thread information."""

    header_size: U32
    entry_size: U32
    count: U32


class ThreadInfo(Record):
    """MINIDUMP_THREAD_INFO; times in 100 ns, create time since 1601."""

    thread_id: U32
    dump_flags: U32
    dump_error: U32
    exit_status: U32
    create_time: U64
    exit_time: U64
    kernel_time: U64
    user_time: U64
    start_address: U64
    affinity: U64


class ThreadNameEntry(Record):
    """MINIDUMP_THREAD_NAME (packed)."""

    thread_id: U32
    name_rva: U64


class FixedFileInfo(Record):
    """VS_FIXEDFILEINFO."""

    signature: U32
    struct_version: U32
    file_version_high: U32
    file_version_low: U32
    product_version_high: U32
    product_version_low: U32
    file_flags_mask: U32
    file_flags: U32
    file_os: U32
    file_type: U32
    file_subtype: U32
    file_date_high: U32
    file_date_low: U32


class RawModule(Record):
    """MINIDUMP_MODULE."""

    base: U64
    image_size: U32
    checksum: U32
    time_date_stamp: U32
    name_rva: U32
    version: FixedFileInfo
    cv_size: U32
    cv_rva: U32
    misc_size: U32
    misc_rva: U32
    reserved0: U64
    reserved1: U64


class UnloadedModule(Record):
    """MINIDUMP_UNLOADED_MODULE."""

    base: U64
    image_size: U32
    checksum: U32
    time_date_stamp: U32
    name_rva: U32


class RawSystemInfo(Record):
    """MINIDUMP_SYSTEM_INFO."""

    processor_architecture: U16
    processor_level: U16
    processor_revision: U16
    processor_count: U8
    product_type: U8
    major_version: U32
    minor_version: U32
    build_number: U32
    platform_id: U32
    csd_version_rva: U32
    suite_mask: U16
    reserved2: U16
    cpu: Bytes24


class MiscInfo(Record):
    """MINIDUMP_MISC_INFO, the part that every version has. Times in seconds."""

    size_of_info: U32
    flags1: U32
    process_id: U32
    process_create_time: U32
    process_user_time: U32
    process_kernel_time: U32


class MiscInfo2(MiscInfo):
    """MINIDUMP_MISC_INFO_2. Frequencies in MHz."""

    processor_max_mhz: U32
    processor_current_mhz: U32
    processor_mhz_limit: U32
    processor_max_idle_state: U32
    processor_current_idle_state: U32


class MiscInfo3(MiscInfo2):
    """MINIDUMP_MISC_INFO_3 up to the time zone, a TIME_ZONE_INFORMATION of 172 bytes."""

    process_integrity_level: U32
    process_execute_flags: U32
    protected_process: U32
    time_zone_id: U32


MISC4_BUILD_STRING_OFFSET = 232
"""In MINIDUMP_MISC_INFO_4: 260 UTF-16 units, then 40 of the debugger's build."""
MISC5_SIZE = 1364
"""MINIDUMP_MISC_INFO_5: the last 4 bytes are the process's cookie."""
MISC1_PROCESS_ID = 1
MISC1_PROCESS_TIMES = 2
MISC1_PROCESSOR_POWER_INFO = 4
MISC3_PROCESS_INTEGRITY = 0x10
MISC3_PROCESS_EXECUTE_FLAGS = 0x20
MISC3_TIME_ZONE = 0x40
MISC3_PROTECTED_PROCESS = 0x80
MISC4_BUILD_STRING = 0x100
MISC5_PROCESS_COOKIE = 0x200


class VmCounters(Record):
    """MINIDUMP_PROCESS_VM_COUNTERS_2 (packed to 4) up to what revision 1 has, too. Bytes."""

    revision: U16
    flags: U16
    page_fault_count: U32
    peak_working_set: U64
    working_set: U64
    peak_paged_pool: U64
    paged_pool: U64
    peak_nonpaged_pool: U64
    nonpaged_pool: U64
    pagefile: U64
    peak_pagefile: U64


class SystemMemoryHead(Record):
    """MINIDUMP_SYSTEM_MEMORY_INFO_1: revision, flags and MINIDUMP_SYSTEM_BASIC_INFORMATION."""

    revision: U16
    flags: U16
    timer_resolution: U32
    page_size: U32
    physical_pages: U32
    lowest_physical_page: U32
    highest_physical_page: U32
    allocation_granularity: U32
    minimum_user_address: U64
    maximum_user_address: U64
    active_processors: U64
    processor_count: U32


class FunctionTableHeader(Record):
    """MINIDUMP_FUNCTION_TABLE_STREAM."""

    header_size: U32
    descriptor_size: U32
    native_descriptor_size: U32
    function_entry_size: U32
    count: U32
    padding: U32


class HandleDataHeader(Record):
    """MINIDUMP_HANDLE_DATA_STREAM."""

    header_size: U32
    descriptor_size: U32
    count: U32
    reserved: U32


class HandleDescriptor(Record):
    """MINIDUMP_HANDLE_DESCRIPTOR."""

    handle: U64
    type_name_rva: U32
    object_name_rva: U32
    attributes: U32
    granted_access: U32
    handle_count: U32
    pointer_count: U32


class HandleDescriptor2(HandleDescriptor):
    """MINIDUMP_HANDLE_DESCRIPTOR_2."""

    object_info_rva: U32
    reserved0: U32


class TokenListHeader(Record):
    """MINIDUMP_TOKEN_INFO_LIST."""

    list_size: U32
    count: U32
    header_size: U32
    element_header_size: U32


class TokenInfo(Record):
    """MINIDUMP_TOKEN_INFO_HEADER; the token follows, and is counted in ``token_size``."""

    token_size: U32
    token_id: U32
    token_handle: U64


class MemoryInfoListHeader(Record):
    """MINIDUMP_MEMORY_INFO_LIST."""

    header_size: U32
    entry_size: U32
    count: U64


class MemoryInfo(Record):
    """MINIDUMP_MEMORY_INFO."""

    base_address: U64
    allocation_base: U64
    allocation_protect: U32
    alignment1: U32
    region_size: U64
    state: U32
    protect: U32
    type: U32
    alignment2: U32


class RawException(Record):
    """MINIDUMP_EXCEPTION_STREAM up to the parameters; 15 of them (u64) and a Location follow."""

    thread_id: U32
    alignment: U32
    code: U32
    flags: U32
    record: U64
    address: U64
    parameter_count: U32
    alignment2: U32


EXCEPTION_PARAMETERS = 15


class ProcessorArchitecture(IntEnum):
    """PROCESSOR_ARCHITECTURE_*; from 0x8000 on Breakpad's own."""

    INTEL = 0
    MIPS = 1
    ALPHA = 2
    PPC = 3
    SHX = 4
    ARM = 5
    IA64 = 6
    ALPHA64 = 7
    MSIL = 8
    AMD64 = 9
    IA32_ON_WIN64 = 10
    ARM64 = 12
    SPARC = 0x8001
    PPC64 = 0x8002
    ARM64_OLD = 0x8003
    MIPS64 = 0x8004
    RISCV = 0x8005
    RISCV64 = 0x8006


class Platform(IntEnum):
    """VER_PLATFORM_*; from 0x8000 on Breakpad's own."""

    WIN32S = 0
    WIN32_WINDOWS = 1
    WIN32_NT = 2
    WIN32_CE = 3
    UNIX = 0x8000
    MAC_OS_X = 0x8101
    IOS = 0x8102
    LINUX = 0x8201
    SOLARIS = 0x8202
    ANDROID = 0x8203
    PS3 = 0x8204
    NACL = 0x8205
    FUCHSIA = 0x8206


CV_SIGNATURE_ELF = 0x4270454C
"""CodeView record of an ELF module: this u32 ("LEpB" in the file), then the build-id."""
CV_SIGNATURE_PDB70 = 0x53445352
FIXED_FILE_INFO_SIGNATURE = 0xFEEF04BD

# CONTEXT of x86-64 (winnt.h): offsets of what we fill; 1232 bytes in all.
CONTEXT_X86 = 0x10000
CONTEXT_X86_REGISTERS_OFFSET = 0x9C
CONTEXT_X86_REGISTERS = (
    "edi", "esi", "ebx", "edx", "ecx", "eax", "ebp", "eip", "cs", "eflags", "esp",
)  # fmt: skip
CONTEXT_X86_HEAD = CONTEXT_X86_REGISTERS_OFFSET + 4 * len(CONTEXT_X86_REGISTERS)
CONTEXT_ARM = 0x40000000 | 0x200000
"""Of Breakpad, and of Windows: the same up to the status."""
CONTEXT_ARM_HEAD = 4 + 17 * 4
CONTEXT_ARM64, CONTEXT_ARM64_OLD = 0x400000, 0x80000000
CONTEXT_ARM64_HEAD = 8 + 33 * 8 + 4
"""Up to the program counter, and in the old one the status behind it."""
CONTEXT_AMD64_SIZE = 1232
CONTEXT_AMD64_FLAGS = 0x10000F
"""CONTEXT_AMD64 with control, integer, segments and floating point."""
CONTEXT_AMD64_FLAGS_OFFSET = 0x30
CONTEXT_AMD64_MXCSR_OFFSET = 0x34
CONTEXT_AMD64_SEGMENTS_OFFSET = 0x38  # cs, ds, es, fs, gs, ss: u16 each
CONTEXT_AMD64_EFLAGS_OFFSET = 0x44
CONTEXT_AMD64_FLOAT_OFFSET = 0x100  # XMM_SAVE_AREA32, the layout of FXSAVE
CONTEXT_AMD64_FLOAT_SIZE = 512
CONTEXT_AMD64_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
CONTEXT_AMD64_REGISTERS = {
    "rax": 0x78, "rcx": 0x80, "rdx": 0x88, "rbx": 0x90, "rsp": 0x98, "rbp": 0xA0, "rsi": 0xA8,
    "rdi": 0xB0, "r8": 0xB8, "r9": 0xC0, "r10": 0xC8, "r11": 0xD0, "r12": 0xD8, "r13": 0xE0,
    "r14": 0xE8, "r15": 0xF0, "rip": 0xF8,
}  # fmt: skip

MEM_COMMIT = 0x1000
MEM_PRIVATE = 0x20000
MEM_MAPPED = 0x40000
MEM_IMAGE = 0x1000000
PAGE_NOACCESS = 0x01
PAGE_READONLY = 0x02
PAGE_READWRITE = 0x04
PAGE_WRITECOPY = 0x08
PAGE_EXECUTE = 0x10
PAGE_EXECUTE_READ = 0x20
PAGE_EXECUTE_READWRITE = 0x40
PAGE_EXECUTE_WRITECOPY = 0x80
