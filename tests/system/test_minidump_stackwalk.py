"""The stacks of minidump-stackwalk, frame by frame, for the dumps of other writers.

Where they differ, the dump itself has to say which is right. Install it with `cargo install
minidump-stackwalk`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from synthetic_dumps import SYNTHETIC

from perimortem.dumping.open import open_snapshot
from perimortem.unwind.walk import StackWalker

pytestmark = pytest.mark.system
_TOOL = shutil.which("minidump-stackwalk", path=f"{os.environ['PATH']}:{Path.home()}/.cargo/bin")
_SHARED = sorted((ROOT.parent / "shared" / "dumps").glob("*/*.dmp"))


def ask_stackwalk(path):
    """{tid: [(address, trust), ...]} of every thread that it has walked; None: it refuses the dump."""
    answer = subprocess.run(
        [_TOOL, "--json", path], capture_output=True, text=True, timeout=100, check=False
    )
    if answer.returncode:
        return None
    threads = json.loads(answer.stdout)["threads"]
    return {
        thread["thread_id"]: [(int(f["offset"], 16), f["trust"]) for f in thread["frames"]]
        for thread in threads
        if thread["frames"]  # none for the one that wrote the dump
    }


def find_unexplained(path):
    """A line for each stack that differs, and nothing in the dump says why."""
    theirs = ask_stackwalk(path)
    if theirs is None:
        return []  # it wants a list of threads; we read what is there
    with open_snapshot(path) as snapshot:
        walker = StackWalker(snapshot, lambda _: None)
        return [
            f"thread {stack.tid}, frame {number}: {ours} instead of {other}"
            for stack in walker.walk_all()
            if stack.tid in theirs and stack.frames
            for number, ours, other in [find_difference(stack, theirs[stack.tid])]
            if number is not None and not explain(walker, stack, number, ours, other)
        ]


def find_difference(stack, theirs):
    """(number, our frame, theirs) of the first frames that differ; None for one that there is not."""
    for number in range(max(len(stack.frames), len(theirs))):
        ours = stack.frames[number] if number < len(stack.frames) else None
        other = theirs[number] if number < len(theirs) else None
        # It shows the address before a return address.
        if ours is None or other is None or ours.pc - (number > 0) != other[0]:
            return number, ours, other
    return None, None, None


def explain(walker, stack, number, ours, other):
    """Why ours is right, or as good; None: it may be wrong."""
    before = stack.frames[number - 1] if number else None
    if other is not None and not walker.modules.is_code(other[0]):
        return "no code is where they found a frame"
    if other is not None and not is_call(walker, other[0] + 1):
        return "no call is before the address that they found"
    if ours is None and stack.end == "the chain of frame pointers ends":
        return "a frame pointer and a return address of 0"
    if ours is None and "by search alone" in stack.end:
        return "we stop to guess"
    if ours is not None and str(ours.trust) in ("link-register", "bad-call"):
        return "the return address is where the call left it"
    if before is not None and str(before.trust) in ("link-register", "bad-call"):
        return "the frame below is one that they do not find"
    if ours is not None and str(ours.trust) == "frame-pointer":
        # The word below the return address is what the function saved of its caller's register.
        saved = read_word(walker, ours.stack_pointer - 2 * walker.machine.word_bytes)
        if other is None:
            return "a chain of frame pointers that they do not follow"
        if saved == 0:
            return "the chain of frame pointers starts here"
        if saved == other[0] + 1:
            return "they took the saved register for a return address"
    if ours is not None and str(ours.trust) == "scan" and (other is None or other[1] == "scan"):
        return "two guesses, and ours is marked"
    return None


def read_word(walker, address):
    return int.from_bytes(walker.modules.read(address, walker.machine.word_bytes), "little")


def is_call(walker, address):
    """A call ends at ``address``, or the code there is not known."""
    code = walker.modules.read(address - 7, 7)
    machine = walker.machine
    return machine is None or len(code) < 7 or machine.call.search(code) is not None


needs_tool = pytest.mark.skipif(_TOOL is None, reason="minidump-stackwalk is not installed")


@needs_tool
@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_dumps(name, tmp_path):
    path = tmp_path / "x.dmp"
    path.write_bytes(SYNTHETIC[name].data)
    assert not find_unexplained(path)


@needs_tool
@pytest.mark.skipif(not _SHARED, reason="the collection of foreign dumps is not here")
@pytest.mark.parametrize("path", _SHARED, ids=[path.stem for path in _SHARED])
def test_dumps_of_other_writers(path):
    assert not find_unexplained(path)
