"""The notes of an ELF core of x86-64, as the file has them (linux/elfcore.h). Pure."""

from __future__ import annotations

from perimortem.binary.record import I32, U8, U16, U32, U64, Record

NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE, NT_SIGINFO, NT_FILE = 0x202, 0x53494749, 0x46494C45
NOTE_RECORD = 0x504D0001
"""Of the owner PERIMORTEM: what a minidump has and a core has no place for, as JSON. A number that no
reader takes for registers, even one that ignores the owner."""
OWNER = b"PERIMORTEM\0"
SYSTEM_OWNERS = (b"CORE\0", b"LINUX\0", b"CORE", b"LINUX")


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
