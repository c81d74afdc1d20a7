"""Made-up dumps of other writers, each with the process that it is of: what a reader must find there."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from perimortem.testing.breakpad_dump import LinkedObject, ProcFiles, build_breakpad_dump
from perimortem.testing.crashpad_dump import (
    MAC_OS,
    CrashpadInfo,
    ModuleAnnotations,
    build_crashpad_dump,
)
from perimortem.testing.dumped_process import (
    DumpedException,
    DumpedHandle,
    DumpedMemory,
    DumpedModule,
    DumpedProcess,
    DumpedRegion,
    DumpedThread,
    Pdb,
)
from perimortem.testing.windows_dump import build_windows_dump

FULL_MEMORY, HANDLE_DATA, UNLOADED, MEMORY_INFO = 2, 4, 0x20, 0x800
SEGV, ABRT = 11, 6
MAPPING_ERROR, BY_KERNEL, BY_TKILL = 1, 0x80, 0xFFFFFFFA
ACCESS_VIOLATION, STACK_OVERFLOW = 0xC0000005, 0xC00000FD
READ, WRITE, EXECUTE = 0, 1, 8
NO_ADDRESS = (1 << 64) - 1
LETTERS = int.from_bytes(b"AAAAAAAA", "little")

BUILD_ID = bytes.fromhex("db4c55d22d9b4eff0102030405060708aabbccdd")
PDB = Pdb(bytes.fromhex("33221100554477668899aabbccddeeff"), 2, r"C:\build\app.pdb")
DEBUG_ID = "00112233445566778899AABBCCDDEEFF2"
"""PDB as symbol servers write it."""

CODE = 0x401000
PROGRAM = DumpedModule(0x400000, 0x8000, "/opt/app/server", BUILD_ID)
LIBRARY = DumpedModule(0x7F0000000000, 0x1C0000, "libc.so.6")
"""Of a Linux program: a name without a folder, and no build-id."""
EXECUTABLE = DumpedModule(0x400000, 0x8000, r"C:\app\app.exe", PDB, 0x5F000001, (1, 2, 3, 4))
NTDLL = DumpedModule(0x77770000, 0x1A0000, r"C:\Windows\System32\ntdll.dll", None, 0x60000002)
PC = 0x401100
CALLERS = (0x401205, 0x401305)
"""Return addresses, the innermost first."""
STACK_SIZE = 0x400
OTHERS = {
    8: "rax rbx rcx rdx rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(),
    4: "eax ebx ecx edx esi edi".split(),
}
"""Registers that are no pointers, by the width of an address: each has its own value."""


def make_code(instruction: bytes) -> DumpedMemory:
    """The page of the program: ``instruction`` at PC, and a call before each return address."""
    page = bytearray(b"\x90" * 0x400)
    page[PC - CODE : PC - CODE + len(instruction)] = instruction
    for caller in CALLERS:
        page[caller - 5 - CODE : caller - CODE] = b"\xe8" + struct.pack("<i", PC - caller)
    return DumpedMemory(CODE, bytes(page))


def make_thread(tid: int, base: int, width: int, **registers: int) -> DumpedThread:
    """A thread that stands at PC, with a chain of frame pointers through CALLERS."""
    names = ("rip", "rsp", "rbp") if width == 8 else ("eip", "esp", "ebp")
    stack = bytearray(bytes([tid & 0xFF]) * STACK_SIZE)
    at = frame = base + 0x80
    for caller in (*CALLERS, 0):
        following = at + 0x80 if caller else 0
        data = following.to_bytes(width, "little") + caller.to_bytes(width, "little")
        stack[at - base : at - base + len(data)] = data
        at = following
    pointers = dict(zip(names, (PC, base + 0x20, frame), strict=True))
    others = {name: 0x5550_0000 + tid + index for index, name in enumerate(OTHERS[width])}
    return DumpedThread(tid, others | pointers | registers, DumpedMemory(base, bytes(stack)))


def make_linux(exception: DumpedException | None, instruction: bytes, **registers: int):
    crashed = make_thread(4711, 0x7FFC00001000, 8, **registers)
    return DumpedProcess(
        pid=4711,
        threads=(crashed, make_thread(4712, 0x7F1200000000, 8, rip=LIBRARY.base + 0x1234)),
        modules=(PROGRAM, LIBRARY),
        memory=(make_code(instruction),),
        exception=exception,
        os_version=(6, 1, 0),
        os_text="Linux 6.1.0 #1 SMP x86_64",
    )


def make_windows(
    exception: DumpedException | None, instruction: bytes, width: int, **registers: int
):
    crashed = make_thread(0x1A2C, 0x12F000, width, **registers)
    other = replace(make_thread(0x1A30, 0x22F000, width), teb=0x7FFDE000, name="wörker")
    return DumpedProcess(
        pid=6000,
        threads=(crashed, other),
        modules=(EXECUTABLE, NTDLL),
        memory=(make_code(instruction),),
        exception=exception,
        is_64_bit=width == 8,
        os_version=(10, 0, 19041),
        os_text="Service Pack 2",
    )


MAPS = b"""\
00400000-00408000 r-xp 00000000 08:01 77                                 /opt/app/server
7f0000000000-7f00001c0000 r-xp 00000000 08:01 78                         /lib/libc.so.6
7f1200000000-7f1200000400 rw-p 00000000 00:00 0
7ffc00001000-7ffc00001400 rw-p 00000000 00:00 0                          [stack]
"""
FILES = ProcFiles(
    cpuinfo=b"processor\t: 0\nmodel name\t: Test CPU\n",
    status=b"Name:\tserver\nPid:\t4711\n",
    lsb_release=None,  # no such file on this system: its entry of the directory is unused
    cmdline=b"/opt/app/server\0--port\x0080\0",
    environ=b"PATH=/bin\0PASSWORD=hunter2\0",
    auxv={6: 4096, 9: PC, 16: 0xBFEBFBFF},
    maps=MAPS,
    linked=(LinkedObject(0, ""), LinkedObject(LIBRARY.base, "/lib/libc.so.6")),
)
INFO = CrashpadInfo(
    report_id=bytes.fromhex("33221100554477668899aabbccddeeff"),
    client_id=bytes.fromhex("ddccbbaa00001111222233334444555f"),
    simple={"version": "1.2.3", "prod": "Größe"},
    modules=(
        ModuleAnnotations(0, {"channel": "beta"}, ("first", "second"), {"thread-pool": "busy"}),
        ModuleAnnotations(1),
    ),
)
READ_RAX, WRITE_RAX, WRITE_EAX = b"\x8b\x00", b"\xc6\x00\x01", b"\xc7\x00\x01\x00\x00\x00"


@dataclass(frozen=True)
class SyntheticDump:
    """``kind`` and ``words``: the reason that an analysis must find; "" where nothing crashed."""

    process: DumpedProcess
    data: bytes
    kind: str = ""
    words: str = ""


def _linux(kind, words, exception, instruction=WRITE_RAX, files=FILES, **registers):
    process = make_linux(exception, instruction, **registers)
    return SyntheticDump(process, build_breakpad_dump(process, files), kind, words)


def _crashpad(kind, words, exception, instruction=WRITE_RAX, **registers):
    process = make_linux(exception, instruction, **registers)
    return SyntheticDump(process, build_crashpad_dump(process, INFO), kind, words)


def _windows(kind, words, width, code, parameters, instruction=WRITE_EAX, **registers):
    """The thread itself stands in the system, which writes the dump; the exception has its registers."""
    crashed = make_windows(None, instruction, width, **registers).threads[0].registers
    waiting = {"rip" if width == 8 else "eip": NTDLL.base + 0x1000}
    exception = DumpedException(
        0x1A2C, code, 0, registers.get("eip", PC), parameters, registers=crashed
    )
    process = make_windows(exception, instruction, width, **waiting)
    return SyntheticDump(process, build_windows_dump(process), kind, words)


def _idle_windows():
    """Everything that DbgHelp can write, of a program that did not crash."""
    process = replace(
        make_windows(None, WRITE_RAX, 8),
        handles=(
            DumpedHandle(0x44, "Mutant", r"\Sessions\1\BaseNamedObjects\only-one", 0x1F0001),
            DumpedHandle(0x48, "Event", "", 3),
        ),
        regions=(
            DumpedRegion(0x12F000, STACK_SIZE, 0x1000, 0x04, 0x20000),
            DumpedRegion(0x22F000, STACK_SIZE, 0x1000, 0x04, 0x20000),
            DumpedRegion(CODE, 0x400, 0x1000, 0x20, 0x1000000),
            DumpedRegion(0x500000, 0x100000, 0x10000, 0x01, 0),
        ),
        unloaded=(DumpedModule(0x10000000, 0x5000, "gone.dll", timestamp=5),),
    )
    flags = FULL_MEMORY | HANDLE_DATA | UNLOADED | MEMORY_INFO
    return SyntheticDump(process, build_windows_dump(process, flags=flags))


def _old_windows():
    """Counts of 8 bytes, and handles without what later versions added."""
    process = replace(
        make_windows(None, WRITE_EAX, 4), handles=(DumpedHandle(4, "Key", r"\REGISTRY\MACHINE"),)
    )
    data = build_windows_dump(process, flags=HANDLE_DATA, handle_revision=1, pads_counts=True)
    return SyntheticDump(process, data)


def _macos():
    process = make_linux(None, WRITE_RAX)
    return SyntheticDump(process, build_crashpad_dump(process, INFO, platform=MAC_OS))


def _asked_for():
    """Breakpad's WriteMinidump(): no exception, and none of the files of /proc could be read."""
    process = make_linux(None, WRITE_RAX)
    return SyntheticDump(process, build_breakpad_dump(process, ProcFiles()))


STACK_BASE = 0x12F000
SYNTHETIC = {
    "breakpad-null-write": _linux(
        "null-pointer", "null pointer", DumpedException(4711, SEGV, MAPPING_ERROR, 0), rax=0
    ),
    "breakpad-abort": _linux("abort", "SIGABRT", DumpedException(4711, ABRT, BY_TKILL, 4711)),
    "breakpad-asked-for": _asked_for(),
    "crashpad-text-pointer": _crashpad(
        "non-canonical", "the text 'AAAA", DumpedException(4711, SEGV, BY_KERNEL), READ_RAX,
        rax=LETTERS,
    ),
    "crashpad-macos": _macos(),
    "windows-write": _windows(
        "other", "the dump does not say what is mapped there", 4, ACCESS_VIOLATION, (WRITE, 0x45000045),
        eax=0x45000045,
    ),
    "windows-null-read": _windows(
        "null-pointer", "read", 4, ACCESS_VIOLATION, (READ, 0), READ_RAX, eax=0
    ),
    "windows-text-pointer": _windows(
        "non-canonical", "the text 'AAAA'", 4, ACCESS_VIOLATION, (READ, LETTERS & 0xFFFFFFFF),
        READ_RAX, eax=LETTERS & 0xFFFFFFFF,
    ),
    "windows-code-on-stack": _windows(
        "not-executable", "stack", 4, ACCESS_VIOLATION, (EXECUTE, STACK_BASE + 0x40),
        eip=STACK_BASE + 0x40,
    ),
    "windows-stack-overflow": _windows(
        "stack-overflow", "stack overflow", 4, STACK_OVERFLOW, (WRITE, STACK_BASE - 8)
    ),
    "windows-64-non-canonical": _windows(
        "non-canonical", "damaged pointer", 8, ACCESS_VIOLATION, (WRITE, NO_ADDRESS), WRITE_RAX,
        rax=0xFEDC_BA98_7654_3210,
    ),
    "windows-everything": _idle_windows(),
    "windows-old": _old_windows(),
}  # fmt: skip
