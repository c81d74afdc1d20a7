"""Why a program crashed, read from the dump that was taken of it: one real program for each reason."""

from __future__ import annotations

import json
import random
import re
import subprocess

import jsonschema
import pytest
from conftest import ROOT, SHARED_DUMPS, each_shared_dump, needs_dumps
from synthetic_dumps import CALLERS, SYNTHETIC

pytestmark = pytest.mark.system
SCHEMA = json.loads((ROOT / "docs" / "examination.schema.json").read_text())

FAULTS = {
    "null": ("null-pointer", r"write of 1 byte to 0x0 .*null pointer", "write_byte"),
    "null-field": ("null-pointer", r"write of 8 bytes to 0x10 through rdi \+ 0x10 .*field offset 0x10",
                   "write_field"),
    "null-index": ("null-pointer", r"read of 8 bytes from 0x320 .*null pointer plus index", "read_far"),
    "freed-map": ("unmapped", r"where nothing is mapped: freed", "write_byte"),
    "read-only": ("read-only", r"read-only: constants of faults", "write_byte"),
    "no-access": ("protected", r"may not be accessed", "write_byte"),
    "poison": ("poisoned-pointer", r"0xdddddddddddddddd, freed memory", "read_field"),
    "text-pointer": ("non-canonical", r"holds the text 'overflow'", "read_field"),
    "divide": ("division", r"division by zero.*idiv", "divide"),
    "assert": ("assertion", r"Assertion `number == 42' failed", "check"),
    "smash": ("stack-smashing", r"stack smashing", "smash"),
    "overrun": ("buffer-overflow", r"overrun a buffer", "overrun"),
    "double-free": ("heap-corruption", r"double free", "free_twice"),
    "overflow": ("stack-overflow", r"stack overflow.*below the end of the stack", "endless"),
    "trap": ("trap", r"ud2", "trap"),
    "call-null": ("jump-to-nowhere", r"call of a null pointer, called by call_back", "call_back"),
    "call-nowhere": ("jump-to-nowhere", r"call of 0x7ead0000beef, where nothing is mapped", "call_back"),
    "call-heap": ("not-executable", r"not code but the heap", "call_back"),
    "file-cut": ("file-cut", r"the file was truncated", "write_byte"),
    "abort": ("abort", r"abort\(\)", "main"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_the_reason_is_reported(perimortem, programs, kind):
    expected, words, blamed = FAULTS[kind]
    report = perimortem.report(programs / "faults", kind)
    examination = report["examination"]
    jsonschema.validate(examination, SCHEMA)
    assert examination["reason"]["kind"] == expected
    assert re.search(words, examination["reason"]["text"])
    assert examination["signature"]["blamed_function"] == blamed
    # The dump alone gives the same result, later.
    document = json.loads(perimortem.call("analyze", "--json", report["dumps"][0]["path"]).stdout)
    assert document["reason"] == examination["reason"]
    assert document["signature"] == examination["signature"]


RIDDLES = {
    "misaligned": ("misaligned", r"movaps to 0x\w+4, no multiple of 16", "misaligned"),
    "privileged": ("illegal-instruction", r"privileged instruction: hlt", "privileged"),
    "interrupt": ("illegal-instruction", r"int 0x21: an interrupt that programs may not", "interrupt"),
    "breakpoint": ("trap", r"^int3: ", "breakpoint"),
    "call_letters": ("jump-to-nowhere", r"^call to 0x4141414141414141, which reads 'AAAA",
                     "call_letters"),
    "damaged_frame": ("non-canonical", r"rbp holds the text 'AAAAAAAA'", "damaged_frame"),
    "damaged_stack": ("non-canonical", r"rsp holds the text 'AAAAAAAA'", "damaged_stack"),
    "return_to_nowhere": ("jump-to-nowhere", r"^return to 0x123456789000.*was overwritten", "main"),
    "return_to_letters": ("jump-to-nowhere", r"^return to 0x41414141414141.*was overwritten",
                          "return_to_letters"),
    "large_frame": ("stack-overflow", r"in a frame of 16,7\d\d,\d\d\d bytes", "large"),
    "large_frame_and_call": ("stack-overflow", r"in a frame of 16,7", "large_frame_and_call"),
    "large_frame_in_thread": ("stack-overflow", r"in a frame of 16,7", "large"),
    "overrun_to_guard": ("protected", r"may not be accessed", "touch_guard"),
    "float_overflow": ("floating-point", r"^floating-point exception: overflow", "float_overflow"),
    "far_field": ("null-pointer", r"null pointer plus offset", "write_far"),
    "overrun_stack": ("unmapped", r"write of 1 byte to 0x7ff\w+000 ", "overrun_stack"),
    "alignment_check": ("misaligned", r"misaligned access", "alignment_check"),
    "single_step": ("trap", r"^a trap that a debugger has set", "single_step"),
    "leave_letters": ("non-canonical", r"rbp holds the text 'AAAAAAAA'", "leave_letters"),
    "misaligned_pair": ("misaligned", r"cmpxchg16b to 0x\w+8, no multiple of 16", "misaligned_pair"),
    "vector_from_null": ("null-pointer", r"nor is it a multiple of 16", "vector_from_null"),
    "abort_from_thread": ("other", r"^SIGABRT was sent to it", "abort_from_thread"),
    "raise_abort": ("abort", r"^it raised SIGABRT by itself", "raise_abort"),
    "return_to_null": ("jump-to-nowhere", r"^jump or return to 0x0", "return_to_null"),
    "below_null": ("null-pointer", r"read of 8 bytes .*: null pointer minus offset 0x8", "read_below"),
    "kernel_address": ("non-canonical", r"a kernel address", "kernel_address"),
    "own_fatal_error": ("abort", r"^it called abort\(\)$", "own_fatal_error"),
    "fault_in_handler": ("null-pointer", r"write of 1 byte to 0x20", "in_handler"),
    "abort_from_outside": ("other", r"^SIGABRT was sent to it", "wait_for"),
    "sys_from_outside": ("other", r"^SIGSYS was sent to it", "wait_for"),
}  # fmt: skip
"""Each was once reported as something else."""


@pytest.mark.parametrize("kind", RIDDLES)
def test_a_misleading_end_is_explained_correctly(perimortem, programs, kind):
    expected, words, blamed = RIDDLES[kind]
    examination = perimortem.report(programs / "riddles", kind)["examination"]
    jsonschema.validate(examination, SCHEMA)
    reason = examination["reason"]
    assert re.search(words, reason["text"]), reason
    assert reason["kind"] == expected
    assert examination["signature"]["blamed_function"] == blamed


EXCEPTIONS = {
    "plain": ("Plain", r"^uncaught C\+\+ exception Plain$"),
    "nested": ("std::_Nested_exception<std::logic_error>", r": outer \\e\[31m$"),
    "future": ("std::runtime_error", r"^uncaught C\+\+ exception std::runtime_error: via future$"),
    "handled-then-abort": (None, r"^it called abort\(\)$"),
    "handled-then-terminate": (None, r"^std::terminate was called by .*, without an exception$"),
    "handled-then-thread": (None, r"^a std::thread was destroyed without join\(\)"),
    "handled-then-pure": (None, r"^a pure virtual function was called"),
    "handled-then-trap": (None, r"^ud2"),
    "handled-then-raise": (None, r"^it raised SIGABRT by itself$"),
    "abort-while-handling": (None, r"^it called abort\(\)$"),
    "out-of-destructor": (
        "std::runtime_error",
        r": close failed; it left a function that is noexcept",
    ),
    "rethrow-nothing": (None, r"active exception$"),
}


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_an_exception_is_blamed_only_if_it_was_not_caught(perimortem, programs, kind):
    thrown, words = EXCEPTIONS[kind]
    reason = perimortem.report(programs / "exceptions", kind)["examination"]["reason"]
    assert reason["thrown_type"] == thrown
    assert re.search(words, reason["text"])


def test_aborts_for_many_reasons_are_not_one_crash(perimortem, programs):
    """Only dumps-per-hour of them are dumped, and all are in abort()."""
    for kind in ("abort", "assert", "double-free", "smash", "overrun"):
        report = perimortem.report(programs / "faults", kind)
        assert report["dumps"][0]["path"] is not None, (kind, report["dumps"])


def test_the_account_says_why_and_where(perimortem, programs):
    stderr = perimortem.report(programs / "faults", "null-field")["_stderr"]
    assert "why     write of 8 bytes to 0x10" in stderr
    assert re.search(r"where   write_field at .*faults\.c:\d+, thread faults", stderr)
    assert "#1 main at" in stderr
    assert "perimortem analyze" in stderr


def test_an_uncaught_exception_is_reported_with_type_and_message(perimortem, programs):
    for build in ("O0", "O2"):
        report = perimortem.report(programs / f"stacks_cpp-{build}", "uncaught")
        reason = report["examination"]["reason"]
        assert reason["kind"] == "uncaught-exception"
        assert reason["thrown_type"] == "engine::Lost"
        assert reason["text"] == "uncaught C++ exception engine::Lost: the device was lost"
        assert report["examination"]["signature"]["text"] == "uncaught-exception | engine::lose"


def test_signatures_group_by_cause_and_not_by_build(perimortem, programs):
    signatures = {}
    for build in ("O0", "O2", "no-pie"):
        for kind in ("crash", "call-null", "overflow"):
            report = perimortem.report(programs / f"stacks-{build}", kind)
            text = report["examination"]["signature"]["text"]
            signatures.setdefault(kind, set()).add(text)
    assert [len(found) for found in signatures.values()] == [1, 1, 1]
    assert len(set.union(*signatures.values())) == 3


def test_debugging_information_may_be_damaged(perimortem, programs, tmp_path):
    """Of the right build-id and full of noise: less is reported, and nothing fails."""
    path = perimortem.report(programs / "stacks-O0", "crash")["dumps"][0]["path"]
    image = (programs / "stacks-O0").read_bytes()
    sections = subprocess.run(
        ["readelf", "-SW", programs / "stacks-O0"], capture_output=True, text=True, check=True
    ).stdout
    rng = random.Random(7)
    for name in (".debug_info", ".debug_line", ".debug_abbrev", ".eh_frame", ".symtab"):
        found = re.search(rf"{re.escape(name)} +\w+ +\w+ (\w+) (\w+)", sections)
        offset, size = (int(number, 16) for number in found.groups())
        for density in (1, 20, 400):
            damaged = bytearray(image)
            for _ in range(density):
                damaged[offset + rng.randrange(size)] = rng.choice([0, 0x7F, 0xFF])
            (tmp_path / "stacks-O0").write_bytes(damaged)
            result = perimortem.call("analyze", "--json", "--symbols", tmp_path, path)
            assert result.returncode == 0, result.stderr
            assert json.loads(result.stdout)["reason"]["kind"] == "null-pointer"


def test_several_dumps_at_once(perimortem, programs):
    paths = [
        perimortem.report(programs / "faults", kind)["dumps"][0]["path"]
        for kind in ("null", "divide")
    ]
    result = perimortem.call("analyze", *paths, "/nowhere.dmp")
    assert result.returncode == 1
    assert "null pointer" in result.stdout
    assert "division by zero" in result.stdout
    assert "cannot read /nowhere.dmp" in result.stderr


def test_without_optional_libraries_less_is_reported_and_nothing_fails(
    perimortem, programs, tmp_path
):
    """capstone, drgn, symbolic, pyelftools and the demanglers are not there."""
    path = perimortem.report(programs / "faults", "null-field")["dumps"][0]["path"]
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("capstone", "drgn", "symbolic", "elftools", "rust_demangler"):
        (hidden / f"{name}.py").write_text(f"raise ImportError('no {name}')")
    perimortem.environment["PYTHONPATH"] = str(hidden)
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    assert document["reason"]["kind"] == "null-pointer"
    assert document["reason"]["instruction"] is None
    assert document["signature"]["blamed_function"] == "write_field"
    crashed = next(t for t in document["threads"] if t["crashed"])
    assert crashed["frames"][0]["source"] is None
    assert any("perimortem[lines]" in missing["text"] for missing in document["missing"])
    (hidden / "elftools.py").unlink()  # which is enough for lines
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    crashed = next(t for t in document["threads"] if t["crashed"])
    assert crashed["frames"][0]["source"]["file"].endswith("faults.c")


def test_no_crash_is_no_crash(perimortem, start, tmp_path):
    program = start("many_threads", 2)
    path = tmp_path / "live.dmp"
    perimortem.call("dump", program.pid, "-o", path)
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["reason"] is None
    assert "no crash" in perimortem.call("analyze", path).stdout


def test_a_killed_examiner_costs_the_reason_alone(perimortem, programs):
    """The verdict is reported even if the dump crashes its reader."""
    perimortem.environment["PYTHONPATH"] = str(perimortem.base / "broken")
    (perimortem.base / "broken").mkdir()
    (perimortem.base / "broken" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if any(a.endswith('examine/worker.py') for a in sys.orig_argv): os._exit(9)\n"
    )
    report = perimortem.report(programs / "faults", "null")
    assert report["verdict"] == "crash"
    assert report["examination"] is None
    assert any("was not examined" in error for error in report["soft_errors"])


def test_stacks_may_be_left_out(perimortem, programs):
    report = perimortem.report(programs / "faults", "null", options=("--no-stacks",))
    assert report["verdict"] == "crash"
    assert report["examination"] is None


@pytest.mark.parametrize("name", SYNTHETIC)
def test_made_up_dumps_of_other_writers(perimortem, tmp_path, name):
    synthetic, path = SYNTHETIC[name], tmp_path / "x.dmp"
    path.write_bytes(synthetic.data)
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    jsonschema.validate(document, SCHEMA)
    reason = document["reason"]
    if synthetic.process.exception is None:
        assert reason is None
    else:
        assert (reason["kind"], reason["tid"]) == (synthetic.kind, synthetic.process.exception.tid)
        assert synthetic.words in reason["text"]
    callers = [int(frame["address"], 16) for frame in document["threads"][0]["frames"][1:]]
    assert tuple(callers) == CALLERS
    stacks = perimortem.call("stack", "--json", path)
    assert stacks.returncode == 0, stacks.stderr
    assert len(json.loads(stacks.stdout)["threads"]) == len(synthetic.process.threads)


def test_the_access_of_a_made_up_windows_dump(perimortem, tmp_path):
    """By the exception's own registers: the thread stands in the system by then."""
    path = tmp_path / "x.dmp"
    path.write_bytes(SYNTHETIC["windows-write"].data)
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    assert document["reason"]["exception"].startswith("STATUS_ACCESS_VIOLATION")
    access = document["reason"]["access"]
    assert (access["kind"], access["address"]) == ("write", "0x45000045")
    assert access["registers"] == {"eax": "0x45000045"}


@needs_dumps
def test_the_facts_of_a_windows_dump_as_breakpad_reports_them(perimortem):
    expected = (SHARED_DUMPS / "minidump2.stackwalk.out").read_text()
    path = SHARED_DUMPS / "minidump2.dmp"
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    assert "EXCEPTION_ACCESS_VIOLATION_WRITE" in expected
    assert document["reason"]["exception"].startswith("STATUS_ACCESS_VIOLATION")
    assert document["reason"]["access"]["kind"] == "write"
    address = re.search(r"Crash address: (0x[0-9a-f]+)", expected)[1]
    assert document["reason"]["access"]["address"] == address
    threads = re.split(r"^Thread \d+.*$", expected, flags=re.M)[1:]
    crashed = next(t for t in document["threads"] if t["crashed"])
    theirs = [int(pc, 16) for pc in re.findall(r"eip = (0x[0-9a-f]+)", threads[0])]
    assert [int(frame["address"], 16) for frame in crashed["frames"]] == theirs


@needs_dumps
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("ascii_read_av", "non-canonical", "the text 'AAAA'"),
        ("exec_av_on_stack", "not-executable", "stack"),
        ("linux_null_dereference", "null-pointer", "null pointer"),
        ("linux_raise_sigabrt", "abort", "abort"),
        ("null_read_av", "null-pointer", "read"),
        ("stack_exhaustion", "stack-overflow", "stack overflow"),
        ("write_av_non_canonical", "non-canonical", "damaged pointer"),
    ],
)
def test_dumps_of_other_writers(perimortem, name, kind, words):
    path = SHARED_DUMPS / f"{name}.dmp"
    document = json.loads(perimortem.call("analyze", "--json", path).stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["reason"]["kind"] == kind
    assert words in document["reason"]["text"]
    assert any(thread["frames"] for thread in document["threads"])


@needs_dumps
@each_shared_dump
def test_every_dump_of_other_writers_can_be_read(perimortem, path):
    result = perimortem.call("stack", "--json", path)
    assert result.returncode == 0, result.stderr
    jsonschema.validate(json.loads(result.stdout), SCHEMA)
    assert perimortem.call("analyze", path).returncode == 0


def test_rust_panics_and_names(perimortem, tmp_path):
    """Built here where Rust is; symbols of both manglings."""
    import shutil

    if shutil.which("rustc") is None:
        pytest.skip("there is no Rust compiler on this machine")
    source = tmp_path / "panics.rs"
    source.write_text(
        "#[inline(never)] fn load(path: &Option<String>) -> usize "
        '{ path.as_ref().expect("no scene").len() }\n'
        "fn main() { std::process::exit(load(&None) as i32) }\n"
    )
    for number, options in enumerate(([], ["-C", "symbol-mangling-version=v0"])):
        program = tmp_path / f"panics-{number}"
        subprocess.run(
            ["rustc", "-g", "-C", "panic=abort", *options, "-o", program, source],
            check=True, timeout=100, capture_output=True,
        )  # fmt: skip
        reason = perimortem.report(program)["examination"]
        assert reason["reason"]["kind"] == "panic"
        assert reason["signature"]["text"] == "panic | panics::load"
