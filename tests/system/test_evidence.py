"""Takes one kind of evidence after another out of dumps of all crashes that the tests have.

What needs it must go from the sentence, and nothing that is certain and was not there may come.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from removals import (
    derive_without,
    without_code,
    without_files,
    without_heap,
    without_maps,
    without_memory,
    without_modules,
    without_registers,
    without_stack,
)
from test_analyze import FAULTS, RIDDLES
from test_causes import CAUSES

pytestmark = pytest.mark.system
CRASHES = [
    (program, kind)
    for program, kinds in (("faults", FAULTS), ("riddles", RIDDLES), ("causes", CAUSES))
    for kind in kinds
]
BY_ITSELF = "raised SIGABRT by itself"
_CALLS = ("it called abort()", BY_ITSELF, "called by", "std::")
NEEDS = {
    without_maps: (
        "where nothing is mapped", "freed, or never allocated", "read-only", "may not be accessed",
        "which is not code", "stack overflow", "the heap,", "constants of", "truncated",
    ),
    without_memory: (
        *_CALLS, "assertion failed", "free()", "smashing", "overrun", "frames deep", "in a frame of",
        "return address on the stack",
    ),
    without_stack: (*_CALLS, "return address on the stack"),
    without_code: (
        "was sent to it", "truncated", "may not raise", "privileged", "a debugger has set",
        "overflow (", "alignment", "it needs",
    ),
    without_modules: (*_CALLS, "constants of", "in code of", "data of"),
    without_heap: ("never gave", "was overrun", "bytes at"),
    without_files: ("of address space", "may have failed"),
}  # fmt: skip
"""What a sentence may say only with this evidence."""


@pytest.fixture
def dump(perimortem, programs):
    def take(program, kind):
        return Path(perimortem.report(programs / program, kind)["dumps"][0]["path"])

    return take


@pytest.mark.parametrize(("program", "kind"), CRASHES)
def test_nothing_is_said_without_its_evidence(dump, program, kind):
    path = dump(program, kind)
    for remove, words in NEEDS.items():
        text = derive_without(path, remove).text
        alternatives = text.replace(f"it called abort(), or {BY_ITSELF}", "").replace(
            "it called abort(), or SIGABRT was sent to this thread", ""
        )
        assert not [word for word in words if word in alternatives], (remove.__name__, text)
    left = derive_without(path, without_registers)
    assert (left.kind, left.text) == ("other", left.exception)


@pytest.mark.parametrize(
    ("program", "kind", "remove", "gone"),
    [
        ("faults", "freed-map", without_maps, "where nothing is mapped: freed"),
        ("faults", "read-only", without_maps, "which is read-only: constants of"),
        ("faults", "no-access", without_maps, "may not be accessed"),
        ("faults", "overflow", without_maps, "stack overflow"),
        ("faults", "overflow", without_memory, "frames deep"),
        ("faults", "file-cut", without_code, "truncated"),
        ("faults", "assert", without_memory, "assertion failed"),
        ("faults", "smash", without_memory, "smashing"),
        ("faults", "overrun", without_memory, "overrun"),
        ("faults", "double-free", without_heap, "bytes at"),
        ("faults", "divide", without_registers, "zero"),
        ("faults", "call-nowhere", without_stack, "called by"),
        ("faults", "call-heap", without_maps, "not code"),
        ("faults", "abort", without_stack, "it called abort()"),
        ("riddles", "raise_abort", without_modules, BY_ITSELF),
        ("riddles", "return_to_nowhere", without_stack, "return address on the stack"),
        ("riddles", "return_to_letters", without_stack, "'AAAAAAAA'"),
        ("riddles", "large_frame", without_memory, "in a frame of"),
        ("riddles", "single_step", without_code, "a debugger has set"),
        ("riddles", "float_overflow", without_code, "overflow"),
        ("riddles", "privileged", without_code, "privileged"),
        ("riddles", "interrupt", without_code, "may not raise"),
        ("riddles", "abort_from_outside", without_code, "was sent to it"),
        ("causes", "limited-malloc", without_files, "of address space"),
        ("causes", "limited-new", without_files, "may have failed"),
        ("causes", "free-variable", without_heap, "never gave"),
        ("causes", "overrun-earlier", without_heap, "overrun"),
        ("causes", "free-twice", without_heap, "104 bytes"),
        ("causes", "free-twice-large", without_heap, "3000 bytes"),
        ("causes", "thread-destroyed", without_stack, "std::thread"),
        ("causes", "terminate", without_stack, "main"),
        ("causes", "library-assertion", without_stack, "assertion"),
        ("causes", "missing-instruction", without_registers, "FMA4"),
    ],
)
def test_without_its_evidence_a_sentence_goes(dump, program, kind, remove, gone):
    path = dump(program, kind)
    assert gone in derive_without(path).text
    assert gone not in derive_without(path, remove).text.replace(f"abort(), or {BY_ITSELF}", "")


def test_a_signal_from_a_thread_of_its_own(dump):
    """Without names nothing tells it from abort()."""
    path = dump("riddles", "abort_from_thread")
    assert derive_without(path).text == "SIGABRT was sent to it"
    assert derive_without(path, without_modules).text.startswith(
        "it called abort(), or SIGABRT was"
    )
