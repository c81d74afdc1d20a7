"""A reason is in the terms of the system of the dump, and no more certain than its evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_dumps import INFO, PC, WRITE_RAX, make_code, make_linux, make_windows
from test_minidump import open_dump

from perimortem.dumping.convert import convert
from perimortem.dumping.open import open_snapshot
from perimortem.examine.options import ExamineOptions
from perimortem.examine.snapshot import examine_snapshot
from perimortem.exits import fuchsia, mach, ntstatus
from perimortem.exits.translate import to_signal
from perimortem.minidump.snapshot import read_snapshot
from perimortem.model.dump import DumpFormat
from perimortem.model.snapshot import ExceptionRecord, OperatingSystem
from perimortem.report.examination.document import render_examination
from perimortem.report.examination.text import render_analysis
from perimortem.symbols.files import ImageLibrary
from perimortem.testing.crashpad_dump import build_crashpad_dump
from perimortem.testing.dumped_process import DumpedException, DumpedModule
from perimortem.testing.windows_dump import build_windows_dump

pytest.importorskip("capstone", reason="without it no instruction is read")

LINUX, ANDROID, SOLARIS, FUCHSIA = 0x8201, 0x8203, 0x8202, 0x8206
MAC_OS, IOS, WINDOWS = 0x8101, 0x8102, 2
ARM, MIPS, PPC, RISCV = 5, 1, 3, 0x8005
IDIV_MEMORY = b"\xf7\x7d\xfc"  # idiv dword ptr [rbp - 4]
IDIV_ECX, UD2, INT3, NOP = b"\xf7\xf9", b"\x0f\x0b", b"\xcc", b"\x90"
ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS = 4, 5, 6, 7, 8, 11, 31
NOT_RECORDED = "whether it was raised by this code or sent is not recorded"


def examine(platform, code, flags=0, instruction=NOP, *, processor=None, address=0, **registers):
    exception = DumpedException(4711, code, flags, address)
    process = replace(make_linux(exception, instruction, **registers), processor=processor)
    return examine_data(build_crashpad_dump(process, INFO, platform=platform))


def examine_data(data):
    options = ExamineOptions(ImageLibrary(), with_lines=False)
    return examine_snapshot(read_snapshot(open_dump(data)), options)


@pytest.mark.parametrize(
    ("platform", "code", "flags", "instruction", "text", "words"),
    [
        (LINUX, SEGV, 1, WRITE_RAX, "write of 1 byte to 0x10", "SIGSEGV (SEGV_MAPERR) at 0x10"),
        (ANDROID, SEGV, 1, WRITE_RAX, "write of 1 byte to 0x10", "SIGSEGV (SEGV_MAPERR) at 0x10"),
        (LINUX, FPE, 1, IDIV_ECX, "division by zero: idiv ecx (ecx = 0)", "SIGFPE (FPE_INTDIV)"),
        (LINUX, FPE, 0, IDIV_ECX, "division by zero: idiv ecx (ecx = 0)", "SIGFPE"),
        (LINUX, FPE, 0, IDIV_MEMORY, "division by zero: idiv dword ptr [rbp - 4]", "SIGFPE"),
        (LINUX, FPE, 0, NOP, f"SIGFPE; {NOT_RECORDED}", "SIGFPE"),
        (LINUX, ILL, 0, UD2, "ud2: the program ended itself here", "SIGILL"),
        (LINUX, ILL, 0, NOP, f"SIGILL; {NOT_RECORDED}", "SIGILL"),
        (LINUX, TRAP, 0, NOP, f"SIGTRAP; {NOT_RECORDED}", "SIGTRAP"),
        (LINUX, TRAP, 1, NOP, "SIGTRAP (TRAP_BRKPT): a breakpoint or a single step", "SIGTRAP (TRAP"),
        (LINUX, TRAP, 0x80, INT3, "int3: the program ended itself here", "SIGTRAP (SI_KERNEL)"),
        (MAC_OS, mach.BAD_ACCESS, 1, WRITE_RAX, "write of 1 byte to 0x10",
         "EXC_BAD_ACCESS (KERN_INVALID_ADDRESS) at 0x10"),
        (IOS, mach.BAD_ACCESS, 2, WRITE_RAX, "write of 1 byte to 0x10",
         "EXC_BAD_ACCESS (KERN_PROTECTION_FAILURE) at 0x10"),
        (MAC_OS, mach.BAD_INSTRUCTION, 1, UD2, "ud2: the program ended itself here",
         "EXC_BAD_INSTRUCTION (EXC_I386_INVOP)"),
        (MAC_OS, mach.ARITHMETIC, 1, IDIV_ECX, "division by zero", "EXC_ARITHMETIC (EXC_I386_DIV)"),
        (MAC_OS, mach.ARITHMETIC, 5, NOP, "EXC_ARITHMETIC (EXC_I386_EXTERR)", "EXC_ARITHMETIC"),
        (MAC_OS, mach.BREAKPOINT, 2, NOP, "EXC_BREAKPOINT (EXC_I386_BPT): a breakpoint or",
         "EXC_BREAKPOINT (EXC_I386_BPT)"),
        (MAC_OS, mach.SOFTWARE, mach.UNCAUGHT_NSEXCEPTION, NOP, "an uncaught NSException",
         "EXC_SOFTWARE (an uncaught NSException)"),
        (MAC_OS, mach.RESOURCE, 0, NOP, "EXC_RESOURCE", "EXC_RESOURCE"),
        (MAC_OS, 77, 0, NOP, "Mach exception 0x4d", "Mach exception 0x4d"),
        (FUCHSIA, fuchsia.PAGE_FAULT, 0, WRITE_RAX, "write of 1 byte to 0x10",
         "ZX_EXCP_FATAL_PAGE_FAULT at 0x10"),
        (FUCHSIA, fuchsia.UNDEFINED_INSTRUCTION, 0, UD2, "ud2: the program ended itself here",
         "ZX_EXCP_UNDEFINED_INSTRUCTION"),
        (FUCHSIA, fuchsia.POLICY_ERROR, 0, NOP, "ZX_EXCP_POLICY_ERROR", "ZX_EXCP_POLICY_ERROR"),
        (SOLARIS, SEGV, 1, WRITE_RAX, "exception 0xb of a system whose exceptions are not known",
         "exception 0xb of a system"),
    ],
)  # fmt: skip
def test_in_the_terms_of_its_system(platform, code, flags, instruction, text, words):
    registers = {"rax": 0x10, "rcx": 0}
    if instruction == IDIV_MEMORY:
        registers["rbp"] = 0x7FFC00001000 + 0x184  # a word of the stack that is zero
    found = examine(platform, code, flags, instruction, address=0x10, **registers)
    assert found.reason is not None
    assert found.reason.text.startswith(text), found.reason.text
    assert found.reason.exception.startswith(words), found.reason.exception


def test_a_divisor_that_is_not_in_the_dump_is_not_known():
    found = examine(LINUX, FPE, 0, IDIV_MEMORY, rbp=0x5000)
    assert found.reason.text.startswith("division by zero, or a quotient that does not fit: idiv")


@pytest.mark.parametrize("code", [FPE, ILL, TRAP, BUS, SYS, 15])
def test_without_code_and_si_code_nothing_certain_is_left(code):
    """Who raised the signal is neither recorded nor to be seen."""
    process = make_linux(DumpedException(4711, code, 0, 0x10), UD2)
    data = build_crashpad_dump(replace(process, memory=()), INFO, platform=LINUX)
    assert examine_data(data).reason.text.endswith(NOT_RECORDED)


@pytest.mark.parametrize(
    ("processor", "name"), [(RISCV, "32-bit RISC-V"), (MIPS, "MIPS"), (PPC, "PowerPC")]
)
def test_a_machine_whose_stacks_are_not_walked_has_its_reason(processor, name):
    found = examine(ANDROID, SEGV, 1, processor=processor)
    document = render_examination(found)
    assert (document.reason.text, document.architecture) == ("SIGSEGV (SEGV_MAPERR) at 0x0", name)
    text = render_analysis(document, name="x")
    assert f"stacks of {name} programs are not supported" in " ".join(text.split())
    assert "no crash" not in text


def test_a_crashed_thread_that_the_dump_does_not_have():
    process = make_linux(DumpedException(99, SEGV, 1, 0x10, registers={}), NOP)
    found = examine_data(build_crashpad_dump(process, INFO))
    assert (found.reason.text, found.reason.tid) == ("SIGSEGV (SEGV_MAPERR) at 0x10", 99)
    assert found.crashed_tid is None


@pytest.mark.parametrize(
    ("platform", "code"),
    [(LINUX, 0xFFFFFFFF), (LINUX, 0), (MAC_OS, 0), (MAC_OS, 0x43507378), (WINDOWS, 0x0517A7ED)],
)
def test_a_dump_that_was_asked_for_is_no_crash(platform, code):
    found = examine(platform, code)
    assert found.reason is None
    assert "no crash" in render_analysis(render_examination(found), name="x")


def test_an_exception_that_is_cut_off_is_not_no_crash():
    data = build_crashpad_dump(make_linux(DumpedException(4711, SEGV, 1, 0x10), NOP), INFO)
    snapshot = read_snapshot(open_dump(data))
    assert not snapshot.exception_lost
    stream = open_dump(data).find(6)
    cut = data[: stream.rva + 20]
    found = examine_data(cut)
    text = render_analysis(render_examination(found), name="x")
    assert "not known: the dump has an exception, which is cut off or damaged" in text
    assert "no crash" not in text


@pytest.mark.parametrize(
    ("system", "code", "flags", "number"),
    [
        (OperatingSystem.WINDOWS, 0xC0000005, 0, SEGV),
        (OperatingSystem.WINDOWS, 0xC00000FD, 0, SEGV),
        (OperatingSystem.WINDOWS, 0xC0000094, 0, FPE),
        (OperatingSystem.WINDOWS, 0xC000001D, 0, ILL),
        (OperatingSystem.WINDOWS, 0x80000003, 0, TRAP),
        (OperatingSystem.WINDOWS, 0xC0000409, 0, ABRT),
        (OperatingSystem.WINDOWS, 0xE06D7363, 0, ABRT),
        (OperatingSystem.MACOS, mach.BAD_ACCESS, mach.INVALID_ADDRESS, SEGV),
        (OperatingSystem.MACOS, mach.BAD_ACCESS, 2, BUS),
        (OperatingSystem.MACOS, mach.CRASH, 6 << 24, ABRT),
        (OperatingSystem.MACOS, mach.CRASH, 10 << 24, BUS),  # SIGBUS is 10 there
        (OperatingSystem.FUCHSIA, fuchsia.PAGE_FAULT, 0, SEGV),
    ],
)
def test_the_signal_that_stands_for_an_exception(system, code, flags, number):
    found = to_signal(system, ExceptionRecord(7, code, flags, 0x10, (1, 0x20)))
    assert found.code == number


def test_an_exception_for_which_no_signal_stands():
    exception = ExceptionRecord(7, 77)
    assert to_signal(OperatingSystem.OTHER, exception) is None
    assert to_signal(OperatingSystem.FUCHSIA, exception) is None
    assert to_signal(OperatingSystem.LINUX, exception) is exception


def test_every_exception_of_windows_has_a_signal():
    assert all(0 < ntstatus.to_signal(status) < 32 for status in ntstatus.STATUSES)


@pytest.mark.parametrize(
    ("platform", "code", "flags"),
    [(WINDOWS, 0xC0000005, 0), (MAC_OS, mach.BAD_ACCESS, 1), (FUCHSIA, fuchsia.PAGE_FAULT, 0)],
)
def test_a_core_made_of_it_has_the_signal_and_keeps_the_exception(tmp_path, platform, code, flags):
    source, core, back = (Path(tmp_path / name) for name in ("a.dmp", "a.core", "b.dmp"))
    exception = DumpedException(4711, code, flags, 0x10, (1, 0x10))
    process = make_linux(exception, WRITE_RAX, rax=0x10)
    source.write_bytes(build_crashpad_dump(process, INFO, platform=platform))
    convert(source, core, DumpFormat.CORE, compress=False)
    options = ExamineOptions(ImageLibrary(), with_lines=False)
    texts = []
    for path in (source, core):
        with open_snapshot(path, lambda: None) as snapshot:
            texts.append(examine_snapshot(snapshot, options).reason)
    assert texts[0].text == texts[1].text
    assert texts[0].exception == texts[1].exception
    assert SEGV.to_bytes(4, "little") == find_siginfo(core.read_bytes())
    convert(core, back, DumpFormat.MINIDUMP, compress=False)


def find_siginfo(core):
    """si_signo of NT_SIGINFO."""
    at = core.index(b"CORE\0\0\0\0", core.index(b"IGIS") - 8)
    return core[at + 8 : at + 12]


@pytest.mark.parametrize(
    ("limit", "status", "is_near"),
    [
        ("1024000000", b"VmSize:\t  760000 kB\n", True),
        ("1024000000", b"VmSize:\t  740000 kB\n", False),
        ("unlimited", b"VmSize:\t  760000 kB\n", False),
        ("1024000000", b"", False),
        ("1024000000", b"VmSize:\t  7\xff0000 kB\n", False),
    ],
)
def test_a_null_pointer_near_the_limit_of_memory(limit, status, is_near):
    exception = DumpedException(4711, SEGV, 1, 0)
    data = build_crashpad_dump(make_linux(exception, WRITE_RAX, rax=0), INFO, platform=LINUX)
    limits = f"Max address space         {limit}            unlimited            bytes     \n"
    files = {"limits": limits.encode(), "status": status}
    snapshot = replace(read_snapshot(open_dump(data)), files=files)
    text = examine_snapshot(snapshot, ExamineOptions(ImageLibrary(), with_lines=False)).reason.text
    assert text.startswith("write of 1 byte to 0x0 through rax (rax = 0x0): null pointer")
    said = "; 742 of 977 MiB of address space were in use: an allocation may have failed"
    assert text.endswith(said) is is_near
    assert ("allocation" in text) is is_near


GONE = (DumpedModule(0x10000000, 0x5000, r"C:\app\gone.dll", timestamp=5),)


def examine_windows(parameters, instruction=NOP, unloaded=GONE, **registers):
    exception = DumpedException(0x1A2C, 0xC0000005, 0, registers.get("rip", PC), parameters)
    process = make_windows(exception, instruction, 8, **registers)
    return examine_data(build_windows_dump(replace(process, unloaded=unloaded))).reason


def test_a_module_that_had_been_unloaded():
    called = examine_windows((8, 0x10001234), rip=0x10001234)
    assert called.kind == "jump-to-nowhere"
    assert "to 0x10001234, in gone.dll, which had been unloaded" in called.text
    written = examine_windows((1, 0x10004FF0), WRITE_RAX, rax=0x10004FF0)
    assert written.kind == "unmapped"
    assert written.text.endswith("(rax = 0x10004ff0), in gone.dll, which had been unloaded")


def test_two_modules_that_were_at_one_address():
    both = (*GONE, DumpedModule(0x10004000, 0x1000, "other.dll", timestamp=6))
    written = examine_windows((1, 0x10004FF0), WRITE_RAX, both, rax=0x10004FF0)
    assert written.text.endswith("in gone.dll or other.dll, which had been unloaded")


@pytest.mark.parametrize(("address", "unloaded"), [(0x10005000, GONE), (0x10004FF0, ())])
def test_nothing_is_unloaded_without_the_list(address, unloaded):
    written = examine_windows((1, address), WRITE_RAX, unloaded, rax=address)
    assert "unloaded" not in written.text
    assert written.kind == "other"


def test_what_is_loaded_now_counts():
    there = examine_windows((1, PC), WRITE_RAX, (replace(GONE[0], base=0x400000),), rax=PC)
    assert "unloaded" not in there.text


def test_code_that_a_test_needs_is_where_it_stands():
    assert make_code(UD2).data[0x100:0x102] == UD2
