"""The cause behind an end: the block of a heap check, the destructor that terminated, the fault that a
handler handled.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from removals import derive_without, without_stack

from perimortem.dumping.open import open_snapshot
from perimortem.examine.options import ExamineOptions
from perimortem.examine.snapshot import examine_snapshot
from perimortem.model.snapshot import ExceptionRecord
from perimortem.symbols.files import ImageLibrary

pytestmark = pytest.mark.system
NO_BLOCK = (
    r"^a check of the heap failed: free\(\): invalid (pointer|size); what was freed is no block of "
    r"malloc's, or the heap was damaged before$"
)
"""glibc finds the same wrong in a pointer into a block as in a block that was overwritten."""
CAUSES = {
    "free-variable": (
        "heap-corruption",
        r"^free\(\): invalid pointer: 0x\w+ was freed, which malloc never gave: it is in the variable "
        r"field\+0x8 \(data of causes\)$",
        "free_variable",
    ),
    "free-inside": ("heap-corruption", NO_BLOCK, "free_again"),
    "free-aligned": ("heap-corruption", NO_BLOCK, "free_again"),
    "free-overwritten": ("heap-corruption", NO_BLOCK, "free_again"),
    "free-sized": ("heap-corruption", NO_BLOCK, "free_again"),
    "top-overwritten": (
        "heap-corruption",
        r"^a check of the heap failed: malloc\(\): corrupted top size; the damage is older than this",
        "main",
    ),
    "overrun-earlier": (
        "heap-corruption",
        r"the size of the block at 0x\w+ is the text 'AAAAAAAA'.*: one before it was overrun; "
        r"the damage is older than this call$",
        "clean_up",
    ),
    "free-twice": (
        "heap-corruption",
        r"^free\(\): double free detected in tcache 2: the block of 104 bytes at 0x\w+ was freed; "
        r"it had been freed before$",
        "free_again",
    ),
    "free-twice-large": (
        "heap-corruption",
        r"^double free or corruption \(!prev\): the block of 3000 bytes at 0x\w+ was freed; it had been "
        r"freed before, or was overwritten$",
        "free_again",
    ),
    "thread-destroyed": (
        "uncaught-exception",
        r"^a std::thread was destroyed without join",
        "main",
    ),
    "thread-assigned": (
        "uncaught-exception",
        r"^a std::thread was assigned to without join",
        "main",
    ),
    "terminate": ("uncaught-exception", r"^std::terminate was called by main, without", "main"),
    "library-assertion": ("assertion", r"^an assertion of the C\+\+ library failed", "read_past"),
    "limited-malloc": (
        "null-pointer",
        r"^write of 4 bytes to 0x0 .*: null pointer; 1\d\d of 192 MiB of address space were in use: "
        r"an allocation may have failed$",
        "write_null",
    ),
    "limited-new": (
        "uncaught-exception",
        r"^uncaught C\+\+ exception std::bad_alloc; 1\d\d of 192 MiB of address space "
        r"were in use: an allocation may have failed$",
        "main",
    ),
    "missing-instruction": (
        "illegal-instruction",
        r"^illegal instruction vfmaddpd .* \(c4 e3 f1 69 c2 30\), in code of causes: it needs FMA4",
        "main",
    ),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_the_cause_is_named(perimortem, programs, kind):
    expected, words, blamed = CAUSES[kind]
    examination = perimortem.report(programs / "causes", kind)["examination"]
    reason = examination["reason"]
    assert re.search(words, reason["text"]), reason
    assert reason["kind"] == expected
    assert examination["signature"]["blamed_function"].split("(")[0] == blamed


HANDLERS = {
    "handler-aborts": (
        (6, 0xFFFFFFFA),
        "its handler of SIGSEGV, give_up(int), then called abort()",
    ),
    "handler-raises": (
        (11, 0xFFFFFFFA),
        "its handler of SIGSEGV, raise_again(int), then raised it again",
    ),
}


@pytest.mark.parametrize("kind", HANDLERS)
def test_the_fault_that_a_handler_handled(programs, tmp_path, kind):
    """Without our own handler, which is called first: by a core that gdb takes in raise()."""
    (number, code), words = HANDLERS[kind]
    core = tmp_path / "handled.core"
    subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "set breakpoint pending on", "-ex", "break raise",
         "-ex", "handle SIGSEGV nostop pass", "-ex", "run", "-ex", f"gcore {core}",
         "--args", programs / "causes", kind],
        capture_output=True, check=True, timeout=100,
    )  # fmt: skip

    def as_signal(snapshot):
        record = ExceptionRecord(snapshot.threads[0].tid, number, code)
        return replace(snapshot, exception=record)

    with open_snapshot(core) as snapshot, ImageLibrary() as library:
        found = examine_snapshot(as_signal(snapshot), ExamineOptions(library))
    assert found.reason.text.startswith(
        "write of 4 bytes to 0x0 through rdi (rdi = 0x0): null pointer"
    )
    assert found.reason.text.endswith(words)
    assert found.signature.blamed_function.startswith("write_null(")
    assert found.reason.kind == "null-pointer"
    left = derive_without(core, lambda snapshot: without_stack(as_signal(snapshot))).text
    assert "null pointer" not in left
