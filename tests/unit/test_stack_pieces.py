"""The pure pieces of stacks and analysis: folds, expressions, signatures, merges, symbol files."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.compare_samples import compare_samples
from perimortem.analysis.poison import find_pattern, read_as_text
from perimortem.analysis.signature import derive_signature, normalise
from perimortem.errors import MalformedInput
from perimortem.examine.python_frames import NoPythonFrames, parse_pyspy
from perimortem.model.python_stack import PythonFrame, PythonThread
from perimortem.model.snapshot import Module
from perimortem.model.stack import Frame, FrameTrust, Language, ThreadStack
from perimortem.model.thread_sample import HangKind, ThreadActivity
from perimortem.symbols.breakpad import BreakpadSymbols
from perimortem.symbols.demangle import demangle
from perimortem.symbols.table import SymbolTable, make_table
from perimortem.symbols.wanted import derive_debug_id
from perimortem.unwind.dwarf.entries import EntrySection
from perimortem.unwind.dwarf.expression import evaluate
from perimortem.unwind.dwarf.program import iterate_rows
from perimortem.unwind.fold import find_folds
from perimortem.unwind.machine import AARCH64, X86_64
from perimortem.unwind.merge_python import merge_python

LIBC = Module(0x7F0000000000, 0x200000, "/lib/libc.so.6", b"\1" * 20)
ENGINE = Module(0x550000000000, 0x100000, "/opt/libengine.so", b"\2" * 20)


def frame(function, module=ENGINE, pc=None, trust=FrameTrust.CFI, **more):
    pc = pc if pc is not None else module.base + 0x1000 + len(function or "")
    return Frame(pc, 0x7FFE0000, trust, module, function=function, **more)


def stack(*frames, tid=1):
    return ThreadStack(tid, "", frames, "the outermost function", is_whole=True)


@pytest.mark.parametrize(
    ("names", "folds"),
    [
        ("a b c", []),
        ("a a a", []),
        ("a a a a b", [(0, 1, 4)]),
        ("x " + "f g " * 50 + "y", [(1, 2, 50)]),
        ("x " + "f g h " * 9 + "f y", [(1, 3, 9)]),
        ("f " * 5 + "g " * 7, [(0, 1, 5), (5, 1, 7)]),
    ],
)
def test_what_repeats_is_folded(names, folds):
    found = find_folds([frame(name) for name in names.split()])
    assert [(fold.start, fold.period, fold.count) for fold in found] == folds


def test_a_million_frames_are_folded():
    """No timing here; but a search of each frame for each length of a repeat would not finish."""
    frames = [Frame(0x1000 + index % 3, index, FrameTrust.CFI) for index in range(1_000_000)]
    (fold,) = find_folds(frames)
    assert (fold.start, fold.period, fold.count) == (0, 3, 333_333)


@given(names=st.lists(st.sampled_from("abc"), max_size=80))
def test_folds_repeat_and_do_not_overlap(names):
    end = 0
    for fold in find_folds([frame(name) for name in names]):
        assert fold.start >= end
        end = fold.end
        assert end <= len(names)
        for index in range(fold.start + fold.period, end):
            assert names[index] == names[index - fold.period]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("engine::CrashContext<int, std::vector<char> >::visit(int, char const*) const",
         "engine::CrashContext::visit"),
        ("void engine::draw<Node>(Node&)", "engine::draw"),
        ("main.cold", "main"),
        ("render.constprop.0", "render"),
        ("engine::run()::{lambda(int)#3}::operator()(int) const", "engine::run::{lambda}::operator()"),
        ("scene::load::h0123456789abcdef", "scene::load"),
        ("<scene::Node<T> as core::fmt::Draw>::draw", "scene::Node::draw"),
        ("(anonymous namespace)::help(int)", "(anonymous)::help"),
        ("plain_c", "plain_c"),
    ],
)  # fmt: skip
def test_names_lose_what_changes_between_builds(name, short):
    assert normalise(frame(name)) == short


def test_a_signature_skips_functions_that_only_end_the_process():
    crashed = stack(
        frame("__pthread_kill_implementation", LIBC),
        frame("raise", LIBC),
        frame("abort", LIBC),
        frame(None, LIBC, pc=LIBC.base + 0x33),
        frame("std::terminate()", LIBC),
        frame("__cxa_throw", LIBC),
        frame("engine::lose(int)"),
        frame("main"),
    )
    signature = derive_signature(crashed, None)
    assert signature.text == "engine::lose"
    assert (signature.blamed_frame, signature.blamed_module) == (6, ENGINE.path)


def test_a_signature_goes_on_after_an_insignificant_name():
    crashed = stack(
        frame("__memcpy_avx_unaligned", LIBC), frame("engine::copy(char*)"), frame("main")
    )
    assert derive_signature(crashed, None).text == "__memcpy_avx_unaligned | engine::copy"


def test_a_place_without_a_name_is_shown_by_module_and_offset():
    crashed = stack(frame(None, ENGINE, pc=ENGINE.base + 0x1234))
    assert derive_signature(crashed, None).text == "libengine.so+0x1234"


def test_python_frames_take_the_place_of_the_loop():
    native = stack(
        frame("time_sleep"), frame("_PyEval_EvalFrameDefault"), frame("call"),
        frame("_PyEval_EvalFrameDefault.cold"), frame("Py_RunMain"),
    )  # fmt: skip
    python = PythonThread(
        1,
        "",
        (
            PythonFrame("rest", "a.py", 3, is_entry=False),
            PythonFrame("<lambda>", "a.py", 9, is_entry=True),
            PythonFrame("<module>", "a.py", 12, is_entry=True),
        ),
        holds_gil=True,
    )
    (merged,) = merge_python([native], [python])
    assert [f.function for f in merged.frames] == [
        "time_sleep", "rest", "<lambda>", "call", "<module>", "Py_RunMain",
    ]  # fmt: skip
    assert [f.language for f in merged.frames].count(Language.PYTHON) == 3
    assert merged.notes == ("holds the GIL",)


def test_python_frames_that_do_not_fit_stand_apart_and_say_so():
    python = PythonThread(1, "", (PythonFrame("f", "a.py", 1, is_entry=True),) * 2, None)
    (merged,) = merge_python([stack(frame("_PyEval_EvalFrameDefault"))], [python])
    assert [f.function for f in merged.frames] == ["f", "f", "_PyEval_EvalFrameDefault"]
    assert "do not match" in merged.notes[0]


def test_a_stack_that_has_not_moved_is_reported():
    still, moved = stack(frame("wait"), frame("main")), stack(frame("a"), frame("main"))
    other = stack(frame("b"), frame("main"))
    assert compare_samples([still], [still], 100)[0].notes == ("the same stack 100 ms before",)
    assert compare_samples([moved], [stack(frame("bb"), frame("main"))], 100)[0].notes == (
        "it moves: 1 of 2 frames are as 100 ms before",
    )
    assert compare_samples([], [other], 100)[0].notes[0].startswith("new")


def test_a_stack_that_is_the_same_because_it_loops_is_busy():
    loop = stack(frame("read"), frame("main"))
    ran = ThreadActivity(loop.tid, "", HangKind.BUSY, "ran 99% of the time", 99.0, 0.0)
    waited = ThreadActivity(loop.tid, "", HangKind.LOCK, "a mutex (futex)", 0.0, 0.0)
    assert compare_samples([loop], [loop], 100, [ran])[0].notes == (
        "busy: the same stack 100 ms before, but it ran 99% of the time",
    )
    assert compare_samples([loop], [loop], 100, [waited])[0].notes == (
        "the same stack 100 ms before",
    )
    moved = compare_samples([loop], [stack(frame("write"), frame("main"))], 100, [ran])[0].notes
    assert moved == ("it moves: 1 of 2 frames are as 100 ms before; busy: it ran 99% of the time",)


PYSPY = [
    {
        "pid": 1, "thread_id": 140, "thread_name": "MainThread", "os_thread_id": 11, "active": True,
        "owns_gil": True, "thread_info": None,
        "frames": [
            {"name": "work", "filename": "/a.py", "module": None, "short_filename": "a.py",
             "line": 4, "locals": None, "is_entry": False},
            {"name": "<module>", "filename": "/a.py", "module": None, "short_filename": "a.py",
             "line": 9, "locals": None, "is_entry": True},
        ],
    }
]  # fmt: skip


def test_what_py_spy_prints():
    (thread,) = parse_pyspy(json.dumps(PYSPY))
    assert (thread.tid, thread.name, thread.holds_gil) == (11, "MainThread", True)
    assert [f.function for f in thread.frames] == ["work", "<module>"]
    for text in ("", "{}", "[1]", '[{"os_thread_id": 1}]'):
        with pytest.raises(NoPythonFrames):
            parse_pyspy(text)


SYM = """MODULE Linux x86_64 D2554CDB9B2DFF4E0000000000000000A program
INFO CODE_ID DB4C55D22D9B4EFF
FILE 0 /src/main.c
FILE 1 /src/inline.h
INLINE_ORIGIN 0 helper()
FUNC 1000 40 0 main
INLINE 0 12 0 0 1010 10
1000 10 10 0
1010 10 3 1
1020 20 14 0
FUNC m 2000 10 0 twice
PUBLIC 3000 0 exported
STACK CFI INIT 1000 40 .cfa: $rsp 8 +
nonsense
"""


def test_breakpad_symbols_with_lines_and_inlined_functions():
    symbols = BreakpadSymbols(SYM.splitlines())
    assert symbols.find(0x1015).name == "main"
    inner, outer = symbols.find_lines(0x1015)
    assert (inner.file, inner.line, inner.function) == ("/src/inline.h", 3, "helper()")
    assert (outer.file, outer.line, outer.function) == ("/src/main.c", 12, "main")
    assert symbols.find_lines(0x1025)[0].line == 14
    assert symbols.find(0x2001).name == "twice"
    assert symbols.find(0x3005).name == "exported"
    assert symbols.find(0x100) is None
    assert symbols.find_lines(0x3005) == ()
    with pytest.raises(MalformedInput):
        BreakpadSymbols(["not a symbol file"])


@given(text=st.text(alphabet="FUNCINLEPUBLIC m0123456789abcdef \n", max_size=300))
def test_symbol_files_may_lie(text):
    symbols = BreakpadSymbols(["MODULE Linux x86_64 0 x", *text.splitlines()])
    for address in (0, 1, 0x10, 0xFFFF):
        symbols.find(address)
        symbols.find_lines(address)


def test_the_identity_that_breakpad_makes_of_a_build_id():
    build_id = bytes.fromhex("db4c55d22d9b4eff0102030405060708aabbccdd")
    assert derive_debug_id(build_id) == "D2554CDB9B2DFF4E01020304050607080"


def test_tables_of_symbols_survive_the_disk_and_refuse_noise():
    table = make_table([(0x10, 4, b"one"), (0x20, 0, b"two")])
    again = SymbolTable.from_bytes(table.to_bytes())
    assert again.find(0x13).name == "one"
    assert again.find(0x14) is None
    assert again.find(0x1000).name == "two"
    raw = table.to_bytes()
    for noise in (b"", raw[:-1], raw + b"x", b"\0" * len(raw)):
        with pytest.raises(MalformedInput):
            SymbolTable.from_bytes(noise)


@given(data=st.binary(max_size=200))
def test_frame_information_may_be_noise(data):
    section = EntrySection(data, 0x1000, is_debug_frame=False)
    at = 0
    for _ in range(50):
        try:
            entry, following = section.read_entry(at)
            if entry is not None:
                list(zip(iterate_rows(entry), range(100), strict=False))
        except MalformedInput:
            break
        if following <= at:
            break
        at = following


@given(expression=st.binary(max_size=60))
def test_expressions_may_be_noise(expression):
    def read_word(address):
        if address % 3:
            raise LookupError(address)
        return address

    with contextlib.suppress(MalformedInput, LookupError):
        assert 0 <= evaluate(expression, dict.fromkeys(range(17), 8), read_word, 16) < 1 << 64


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3234 22", 6), ("0801 0802 1c", (1 << 64) - 1), ("77 08", 0x1008), ("3a 06", 0x77),
        ("35 33 16 1c", (1 << 64) - 2), ("31 2800 00", None), ("10 8001 2305", 0x85),
    ],
)  # fmt: skip
def test_expressions_of_the_standard(expression, value):
    def evaluate_it():
        return evaluate(bytes.fromhex(expression), {7: 0x1000}, lambda _: 0x77)

    if value is None:
        with pytest.raises((MalformedInput, LookupError)):
            evaluate_it()
    else:
        assert evaluate_it() == value


@pytest.mark.parametrize(
    ("code", "is_call"),
    [
        ("e8 11 22 33 44", True), ("ff d0", True), ("41 ff d3", True), ("ff 15 00 00 00 00", True),
        ("ff 50 18", True), ("ff 14 24", True), ("ff 94 24 80 00 00 00", True),
        ("90 90 90", False), ("48 89 c3", False), ("eb 05", False),
    ],
)  # fmt: skip
def test_calls_of_x86_64_are_known_by_their_bytes(code, is_call):
    assert (X86_64.call.search(b"\x90\x90" + bytes.fromhex(code)) is not None) == is_call


@pytest.mark.parametrize(
    ("word", "is_call"),
    [
        (0x94000010, True),
        (0x97FFFFF0, True),
        (0xD63F0100, True),
        (0xD65F03C0, False),
        (0x14000001, False),
    ],
)
def test_calls_of_aarch64_are_known_by_their_word(word, is_call):
    assert (AARCH64.call.search(struct.pack("<I", word)) is not None) == is_call


def test_patterns_and_text_in_pointers():
    assert "freed" in find_pattern(0xDDDDDDDDDDDDDDDD)
    assert "freed" in find_pattern(0xFEEEFEEEFEEEFEEE + 0x18)
    assert find_pattern(0x7F1234567890) is None
    assert read_as_text(int.from_bytes(b"overflow", "little")) == "overflow"
    assert read_as_text(0x7F1234567890) is None


@pytest.mark.parametrize(
    ("mangled", "plain"),
    [
        ("_ZN6engine4loseERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
         "engine::lose(std::string const&)"),
        ("_RNvCs1234_7mycrate4load", "mycrate::load"),
        ("_ZN5scene4load17h0123456789abcdefE", "scene::load"),
        ("plain", "plain"), ("_Znonsense", "_Znonsense"),
    ],
)  # fmt: skip
def test_names_as_the_source_has_them(mangled, plain):
    found = demangle(mangled)
    if found == mangled != plain and mangled.startswith("_ZN6"):
        pytest.skip("there is no C++ library on this machine")
    assert found.replace("[1234]", "").split("::h0123")[0] == plain
