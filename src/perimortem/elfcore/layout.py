"""Records of an ELF core of x86-64, as the file has them (elf.h, linux/elfcore.h). Pure."""

from __future__ import annotations

from perimortem.binary.record import I32, U8, U16, U32, U64, Bytes16, Record

ET_CORE = 4
PN_XNUM = 0xFFFF
"""From this many program headers on, the count is in sh_info of section 0."""
PF_X, PF_W, PF_R = 1, 2, 4
NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE, NT_SIGINFO, NT_FILE = 0x202, 0x53494749, 0x46494C45
NOTE_RECORD = 0x504D0001
"""Of the owner PERIMORTEM: what a minidump has and a core has no place for, as JSON. A number that no
reader takes for registers, even one that ignores the owner."""
OWNER = b"PERIMORTEM\0"
SYSTEM_OWNERS = (b"CORE\0", b"LINUX\0", b"CORE", b"LINUX")


class ElfHeader(Record):
    """Elf64_Ehdr."""

    identity: Bytes16
    type: U16
    machine: U16
    version: U32
    entry: U64
    program_headers_offset: U64
    section_headers_offset: U64
    flags: U32
    header_size: U16
    program_header_size: U16
    program_header_count: U16
    section_header_size: U16
    section_header_count: U16
    section_names_index: U16


class Segment(Record):
    """Elf64_Phdr."""

    type: U32
    flags: U32
    offset: U64
    address: U64
    physical_address: U64
    file_size: U64
    memory_size: U64
    align: U64


class Section(Record):
    """Elf64_Shdr."""

    name: U32
    type: U32
    flags: U64
    address: U64
    offset: U64
    section_size: U64
    link: U32
    info: U32
    align: U64
    entry_size: U64


class ThreadStatus(Record):
    """struct elf_prstatus up to the registers; 216 bytes of these, pr_fpvalid and a pad follow."""

    signal: I32
    signal_code: I32
    signal_errno: I32
    current_signal: U16
    padding: U16
    pending: U64
    held: U64
    pid: U32
    parent_pid: U32
    group: U32
    session: U32
    user_s: U64
    user_us: U64
    kernel_s: U64
    kernel_us: U64
    children_user_s: U64
    children_user_us: U64
    children_kernel_s: U64
    children_kernel_us: U64


class ProcessInfo(Record):
    """struct elf_prpsinfo up to the names: 16 bytes of name, 80 of the command line follow."""

    state: U8
    state_name: U8
    is_zombie: U8
    nice: U8
    padding: U32
    flags: U64
    uid: U32
    gid: U32
    pid: U32
    parent_pid: U32
    group: U32
    session: U32
