"""Callers by symbol files, by the tables of ARM, by link registers, frame pointers and search."""

from __future__ import annotations

import random
import struct

import pytest

from perimortem.binary.elf_image import ElfImage
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import (
    Architecture,
    MemoryRange,
    Module,
    Region,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.symbols.breakpad import BreakpadSymbols
from perimortem.testing.plain_memory import PlainMemory
from perimortem.unwind.exidx import ExceptionIndex
from perimortem.unwind.machine import ARM, X86, X86_64
from perimortem.unwind.signal_frame import find_signal_frame, read_interrupted
from perimortem.unwind.stack_records import StackRecords
from perimortem.unwind.walk import StackWalker

BASE, CODE_BYTES = 0x400000, 0x10000
STACK = 0x7F0000
MODULE = Module(BASE, CODE_BYTES, "/opt/program", None, debug_id="0" * 33)


class Process:
    """One thread in a module: ``stack`` are the words from STACK on, ``code`` is by offset."""

    def __init__(self, architecture, registers, stack, *, code=None, sym=None):
        word = architecture.word_bytes
        data = b"".join(value.to_bytes(word, "little") for value in stack)
        pieces = {STACK: data} | {BASE + at: raw for at, raw in (code or {}).items()}
        self.architecture = architecture

        def read(address, size):
            for start, raw in pieces.items():
                if start <= address < start + len(raw):
                    return raw[address - start : address - start + size]
            return b""

        self.snapshot = Snapshot(
            pid=1, taken_at_s=0, process_create_time_s=0, user_time_s=0, kernel_time_s=0,
            system=SystemFacts(architecture, "", (0, 0, 0), 1),
            threads=(Thread(1, "", Registers(registers)),),
            modules=(MODULE,),
            regions=(Region(BASE, BASE + CODE_BYTES, True, False, True, False, 0, 1, MODULE.path),
                     Region(STACK, STACK + 0x10000, True, True, False, False, 0, 0, "[stack]")),
            memory=(MemoryRange(STACK, len(data)),),
            handles=None, files={}, content=PlainMemory(read),
        )  # fmt: skip
        lines = ["MODULE Linux x 0 program", *(sym or "").splitlines()]
        symbols = None if sym is None else BreakpadSymbols(lines)
        self.walker = StackWalker(self.snapshot, lambda _: None, lambda _: symbols)

    def walk(self):
        """([(offset in the module, trust)], why it ends)."""
        stack = self.walker.walk(self.snapshot.threads[0])
        return [(frame.pc - BASE, str(frame.trust)) for frame in stack.frames], stack.end


CFI = """FUNC 1000 100 0 inner
FUNC 2000 100 0 outer
FUNC 3000 100 0 start
STACK CFI INIT 1000 100 .cfa: $rsp 8 + .ra: .cfa 8 - ^
STACK CFI 1004 .cfa: $rsp 16 + $rbp: .cfa 16 - ^
STACK CFI 1008 .cfa: $rbp 16 +
STACK CFI INIT 2000 100 .cfa: $rsp 24 + .ra: .cfa -8 + ^
STACK CFI INIT 3000 100 .cfa: $rsp 8 + .ra: .undef"""


def test_stack_cfi_of_a_symbol_file():
    registers = {"rip": BASE + 0x1010, "rsp": STACK, "rbp": STACK + 16}
    stack = [1, 2, STACK + 0x900, BASE + 0x2050, 7, 7, BASE + 0x3020]
    process = Process(Architecture.X86_64, registers, stack, sym=CFI)
    frames, end = process.walk()
    assert frames == [(0x1010, "context"), (0x2050, "cfi"), (0x3020, "cfi")]
    assert end == "the outermost function"


def test_a_return_address_that_is_no_code_is_said_to_be_none():
    registers = {"rip": BASE + 0x1000, "rsp": STACK, "rbp": 0}
    stack = [BASE + 0x2050, 7, 7, 0x6161616161616161, BASE + 0x3020]
    frames, end = Process(Architecture.X86_64, registers, stack, sym=CFI).walk()
    assert frames == [(0x1000, "context"), (0x2050, "cfi")]
    assert end == "the next return address is 0x6161616161616161, which is not code"


def test_the_outermost_function_of_a_symbol_file_may_lack_a_rule():
    """dump_syms gives _start the rule of any other; where its return address were is argc."""
    registers = {"rip": BASE + 0x2004, "rsp": STACK, "rbp": 0}
    frames, end = Process(Architecture.X86_64, registers, [0, 0, 1, BASE + 0x1004], sym=CFI).walk()
    assert (frames, end) == ([(0x2004, "context")], "the outermost function")


def test_a_word_outside_every_function_of_the_symbol_file_is_no_return_address():
    sym = "FUNC 1000 100 0 inner\nFUNC 2000 100 0 outer\n"
    registers = {"rip": BASE + 0x1010, "rsp": STACK, "rbp": 0}
    stack = [BASE + 0x500, BASE + 0x2050]
    assert Process(Architecture.X86_64, registers, stack, sym=sym).walk()[0][1:] == [
        (0x2050, "scan")
    ]
    assert Process(Architecture.X86_64, registers, stack).walk()[0][1] == (0x500, "scan")


WIN = """FUNC 1000 100 8 inner
FUNC 2000 100 4 outer
FUNC 3000 100 0 start
STACK WIN 4 1000 100 3 0 8 4 8 0 1 $T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + =
STACK WIN 0 2000 100 3 0 4 0 4 0 0 0
STACK WIN 4 3000 100 3 0 0 0 0 0 1 $eip $ebp 4 + ^ = $esp $ebp 8 + = $ebp $ebp ^ ="""


def test_stack_win_of_a_symbol_file():
    """inner has 12 bytes of locals and registers and removes 8 of arguments; outer has 4."""
    frame = STACK + 4 * 9
    registers = {"eip": BASE + 0x1010, "esp": STACK, "ebp": frame, "ebx": 5}
    stack = [1, 2, 3, BASE + 0x2050, 11, 12, 4, BASE + 0x3020, 21, 0, 0, 0, 0]
    frames, end = Process(Architecture.X86, registers, stack, sym=WIN).walk()
    assert frames == [(0x1010, "context"), (0x2050, "cfi"), (0x3020, "cfi")]
    assert end == "the outermost function"


def test_stack_win_of_a_function_that_uses_ebp_for_something_else():
    sym = """FUNC 1000 100 0 inner
FUNC 2000 100 0 outer
STACK WIN 0 1000 100 3 0 0 8 4 0 0 1
STACK WIN 4 2000 100 3 0 0 0 0 0 1 $eip $ebp 4 + ^ = $esp $ebp 8 + = $ebp $ebp ^ ="""
    frame = STACK + 4 * 5
    registers = {"eip": BASE + 0x1010, "esp": STACK, "ebp": 77}
    stack = [frame, 2, 3, BASE + 0x2050, 9, 0, BASE + 0x2060, 0, 0]
    frames, _ = Process(Architecture.X86, registers, stack, sym=sym).walk()
    assert frames[:3] == [(0x1010, "context"), (0x2050, "cfi"), (0x2060, "cfi")]


@pytest.mark.parametrize(
    "record",
    ["CFI INIT", "CFI INIT zz 10 .cfa: $rsp", "CFI 1000 .cfa: $rsp 8 +", "WIN 4 1000", "WIN",
     "CFI INIT 1000 100 .ra: .cfa", "CFI INIT 1000 100 .cfa: 1 0 / .ra: .cfa",
     "CFI INIT 1000 100 .cfa: + .ra: .cfa", "CFI INIT 1000 100 .cfa: $nothing .ra: .cfa",
     "CFI INIT 1000 100 .cfa: " + "^ " * 5000 + ".ra: .cfa", "CFI INIT 1000 -100 .cfa: $rsp .ra: 1",
     "WIN 4 1000 100 0 0 0 0 0 0 1 $eip = = ^ @ 0 %", "WIN 4 1000 100 0 0 0 0 0 0 1 7 7 ="],
)  # fmt: skip
@pytest.mark.parametrize("machine", [X86, X86_64])
def test_records_that_make_no_sense_are_no_answer(record, machine):
    def read_word(address):
        raise LookupError(address)

    records = StackRecords([record], machine)
    with pytest.raises((LookupError, MalformedInput)):
        records.unwind(0x1000, {machine.sp: STACK, machine.pc: 0, machine.fp: STACK}, read_word)


def call(frm, to):
    """The offset that it returns to, and the code of a call with a fixed target that ends there."""
    return frm - 16, b"\x90" * 11 + b"\xe8" + struct.pack("<i", to - frm)


def test_a_frame_that_the_chain_of_frame_pointers_skips_is_found_by_its_call():
    """leaf has no frame: rbp is that of its caller, whose own return address it leads to."""
    registers = {"rip": BASE + 0x1010, "rsp": STACK, "rbp": STACK + 24}
    stack = [9, BASE + 0x2050, 9, STACK + 64, BASE + 0x3050, 0, 0, 0, 0, 0]
    code = dict([call(0x2050, 0x1000), call(0x3050, 0x2000)])
    frames, _ = Process(Architecture.X86_64, registers, stack, code=code).walk()
    assert frames[:3] == [(0x1010, "context"), (0x2050, "scan"), (0x3050, "frame-pointer")]


def test_an_old_return_address_below_a_frame_is_no_caller():
    """The chain leads to a call of this very function: what lies between is of an earlier one."""
    registers = {"rip": BASE + 0x1010, "rsp": STACK, "rbp": STACK + 24}
    stack = [9, BASE + 0x2050, 9, STACK + 64, BASE + 0x3050, 0, 0, 0, 0, 0]
    code = dict([call(0x2050, 0x1000), call(0x3050, 0x1000)])
    frames, _ = Process(Architecture.X86_64, registers, stack, code=code).walk()
    assert frames[:2] == [(0x1010, "context"), (0x3050, "frame-pointer")]


def test_without_code_a_chain_that_breaks_is_checked_by_search():
    """What main's caller had in rbp is no place on the stack."""
    registers = {"rip": BASE + 0x1010, "rsp": STACK, "rbp": STACK + 24}
    stack = [9, BASE + 0x2050, 9, BASE + 0x123, BASE + 0x3050]
    frames, _ = Process(Architecture.X86_64, registers, stack).walk()
    assert frames[:3] == [(0x1010, "context"), (0x2050, "scan"), (0x3050, "frame-pointer")]
    sound = [9, BASE + 0x2050, 9, STACK + 48, BASE + 0x3050, 0, 0, 0]
    frames, end = Process(Architecture.X86_64, registers, sound).walk()
    assert frames == [(0x1010, "context"), (0x3050, "frame-pointer")]
    assert end == "the chain of frame pointers ends"


def test_after_a_search_the_saved_frame_pointer_leads_on():
    registers = {"eip": BASE + 0x1010, "esp": STACK, "ebp": 0}
    stack = [9, STACK + 20, BASE + 0x2050, BASE + 0x2070, 9, 0, BASE + 0x3050]
    frames, _ = Process(Architecture.X86, registers, stack).walk()
    assert frames[:3] == [(0x1010, "context"), (0x2050, "scan"), (0x3050, "frame-pointer")]


def bl(frm, to):
    return frm - 4, struct.pack("<I", 0x94000000 | ((to - frm + 4) // 4) & 0x3FFFFFF)


@pytest.mark.parametrize(
    ("link", "expected"),
    [(0x2050, (0x2050, "link-register")), (0x1008, (0x3050, "frame-pointer"))],
)
def test_a_leaf_of_aarch64_has_its_return_address_in_the_link_register(link, expected):
    """A function that has called something has an address in itself there."""
    registers = {"pc": BASE + 0x1010, "sp": STACK, "x29": STACK + 16, "x30": BASE + link}
    stack = [9, 9, STACK + 40, BASE + 0x3050, 0, 0, 0]
    code = dict([bl(0x2050, 0x1000), bl(0x3050, 0x2000), bl(0x1008, 0x4000)])
    frames, _ = Process(Architecture.AARCH64, registers, stack, code=code).walk()
    assert frames[1] == expected


def test_a_link_register_that_was_saved_is_not_found_again():
    registers = {"pc": BASE + 0x1010, "sp": STACK, "lr": BASE + 0x3051, "r11": 0}
    stack = [9, BASE + 0x3051, 9, BASE + 0x5051]
    frames, _ = Process(Architecture.ARM, registers, stack).walk()
    assert frames == [(0x1010, "context"), (0x3050, "link-register"), (0x5050, "scan")]


def arm_image(*entries, extab=b""):
    """A 32-bit image of functions 0x100 apart: .ARM.exidx at 0x8000, .ARM.extab at 0x9000."""
    index = b""
    for number, word in enumerate(entries):
        place = 0x8000 + 8 * number
        index += struct.pack("<II", 0x1000 + 0x100 * number - place & 0x7FFFFFFF, word)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 3, 40, 1, 0x1000, 52, 0,
        0, 52, 32, 2, 0, 0, 0,
    )  # fmt: skip
    load = struct.pack("<8I", 1, 0, 0, 0, 0xA000, 0xA000, 5, 4096)
    exidx = struct.pack("<8I", 0x70000001, 0x8000, 0x8000, 0x8000, len(index), len(index), 4, 4)
    data = bytearray(0xA000)
    for at, raw in ((0, header + load + exidx), (0x8000, index), (0x9000, extab)):
        data[at : at + len(raw)] = raw
    return ElfImage(lambda offset, size: bytes(data[offset : offset + size]))


def arm_words(*values):
    def read_word(address):
        try:
            return values[(address - STACK) // 4]
        except IndexError:
            raise LookupError(address) from None

    return read_word


def test_the_tables_of_arm():
    image = arm_image(
        0x80B0B0B0,  # nothing was saved
        0x8001A8B0,  # add 8; pop r4 and lr
        0x9000 - (0x8000 + 8 * 2 + 4),  # .ARM.extab: a personality routine, two words
        1,  # cannot be unwound
        extab=struct.pack("<III", 0x0, 0x01B20288, 0x84B0B0B0),
    )
    index = ExceptionIndex(image)
    registers = {13: STACK, 14: 0x777, 15: 0}
    leaf = index.unwind(0x1010, registers, arm_words())
    assert (leaf.registers[13], leaf.pc) == (STACK, 0x777)
    other = index.unwind(0x1110, registers, arm_words(1, 2, 44, 0x888))
    assert (other.registers[13], other.registers[4], other.pc) == (STACK + 16, 44, 0x888)
    large = index.unwind(0x1210, registers, lambda address: address & 0xFFFF)
    assert large.registers[13] == STACK + 0x204 + 8 + 12  # then r6, r11 and pc
    assert (large.registers[6], large.pc) == (0x20C, 0x214)
    with pytest.raises(LookupError):
        index.unwind(0x1310, registers, arm_words())
    with pytest.raises(LookupError):
        index.unwind(0x10, registers, arm_words())


def test_damaged_tables_of_arm_are_no_answer():
    chance = random.Random(16)
    for _ in range(2000):
        words = [chance.getrandbits(32) for _ in range(4)]
        extab = chance.randbytes(64)
        index = ExceptionIndex(arm_image(*words, extab=extab))
        for address in range(0x1000, 0x1400, 0x100):
            try:
                index.unwind(address, dict.fromkeys(range(16), STACK), arm_words(*range(64)))
            except (LookupError, MalformedInput):
                continue


def test_trampolines_without_frame_information():
    known = (
        (Architecture.X86_64, bytes.fromhex("48c7c00f0000000f05")),
        (Architecture.AARCH64, struct.pack("<II", 0xD2801168, 0xD4000001) + b"\0"),
        (Architecture.X86, bytes.fromhex("58b877000000cd80")),
        (Architecture.X86, bytes.fromhex("b8ad000000cd80")),
        (Architecture.ARM, struct.pack("<II", 0xE3A070AD, 0xEF000000)),
    )
    for architecture, code in known:
        assert find_signal_frame(architecture, code)
        assert find_signal_frame(architecture, b"\x90" * 9) is None


def test_the_interrupted_registers_of_arm():
    frame = find_signal_frame(Architecture.ARM, struct.pack("<HH", 0x27AD, 0xDF00))
    start = 128 + 20 + 12
    found = read_interrupted(frame, STACK, lambda address: address - STACK - start)
    assert found == {number: 4 * number for number in range(ARM.pc + 1)}
