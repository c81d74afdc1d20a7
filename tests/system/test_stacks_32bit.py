"""Stacks of 32-bit programs, i386 and ARM, from cores of gdb and qemu: the same as those of gdb."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess

import pytest
from conftest import ROOT
from test_stacks import GDB_SCRIPT, walk

pytestmark = pytest.mark.system
I386 = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "omit": ("-O2", "-fomit-frame-pointer"),
    "static": ("-static",),
}
ARM = {"O0": ("-O0",), "O2": ("-O2",), "arm": ("-O2", "-marm")}
CRASHES = ("crash", "call-null", "overflow")


def compile_programs(folder, compiler, builds, *common):
    """Each build, or a skip if the compiler cannot make programs that run here."""
    for name, flags in builds.items():
        made = subprocess.run(
            [compiler, "-w", "-fno-optimize-sibling-calls", *common, *flags,
             ROOT / "tests/programs/stacks.c", "-o", folder / name, "-lpthread"],
            capture_output=True, timeout=100,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"{compiler} {' '.join(common)} cannot link here (make test-deps)")
    return folder


@pytest.fixture(scope="module")
def i386_programs(tmp_path_factory):
    return compile_programs(tmp_path_factory.mktemp("i386"), "gcc", I386, "-m32")


@pytest.fixture(scope="module")
def arm_programs(tmp_path_factory):
    compiler = next(
        (c for c in ("arm-linux-gnueabihf-gcc", "arm-linux-gnueabihf-gcc-12") if shutil.which(c)),
        None,
    )
    missing = [tool for tool in ("qemu-arm", "gdb-multiarch") if shutil.which(tool) is None]
    if compiler is None or missing:
        pytest.skip(f"{missing or 'arm-linux-gnueabihf-gcc'} not installed (make test-deps)")
    folder = tmp_path_factory.mktemp("arm")
    return compile_programs(folder, compiler, ARM, "-static", "-funwind-tables")


def ask_gdb(gdb, executable, core):
    """{tid: [pc, ...]} of every thread."""
    answer = subprocess.run(
        [gdb, "-nx", "-batch", executable, "-core", core, "-x", GDB_SCRIPT],
        capture_output=True, text=True, env={**os.environ, "DEBUGINFOD_URLS": ""}, timeout=100,
    )  # fmt: skip
    line = next((x for x in answer.stdout.splitlines() if x.startswith("FRAMES ")), None)
    assert line, answer.stderr
    return {int(tid): pcs for tid, pcs in json.loads(line.removeprefix("FRAMES ")).items()}


def save_core(program, path):
    """By gdb, while it waits; under the name that gdb gives it, which is PATH.PID."""
    made = subprocess.run(
        ["gdb", "-nx", "-batch", "-p", str(program.pid), "-ex", f"gcore {path}"],
        capture_output=True, text=True, env={**os.environ, "DEBUGINFOD_URLS": ""}, timeout=100,
    )  # fmt: skip
    assert path.exists(), made.stderr
    return path


@pytest.mark.parametrize(
    "kind",
    ["rest", "deep 5000", "mutual 40", "signal", "signal-altstack", "fault", "callback", "alloca",
     "aligned", "noreturn", "threads 20"],
)  # fmt: skip
@pytest.mark.parametrize("build", I386)
def test_i386(i386_programs, tmp_path, build, kind):
    program = subprocess.Popen(
        [i386_programs / build, *kind.split()], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout.readline() == "ready\n"
        path = save_core(program, tmp_path / "live.core")
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    theirs = ask_gdb("gdb", i386_programs / build, path)
    ours = {tid: [frame.pc for frame in stack.frames] for tid, stack in walk(path).items()}
    assert ours == theirs


@pytest.mark.parametrize("kind", CRASHES)
@pytest.mark.parametrize("build", ARM)
def test_arm(perimortem, arm_programs, tmp_path, build, kind):
    """By .ARM.exidx, which has no names: gdb agrees, and nothing was found by search."""
    subprocess.run(
        ["qemu-arm", arm_programs / build, kind],
        cwd=tmp_path, capture_output=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)),
    )  # fmt: skip
    (core,) = tmp_path.glob("*.core")
    result = perimortem.call("analyze", "--json", core, "--symbols", arm_programs)
    document = json.loads(result.stdout)
    assert document["architecture"] == "32-bit ARM"
    (thread,) = document["threads"]
    assert thread["whole"]
    assert thread["frames"][-1]["function"] == "_start"
    assert {frame["trust"] for frame in thread["frames"]} <= {"context", "cfi", "bad-call"}
    if kind != "overflow":  # gdb 13 ends with an internal error after 100,000 frames of ARM
        (theirs,) = ask_gdb("gdb-multiarch", arm_programs / build, core).values()
        ours = [int(frame["address"], 16) for frame in thread["frames"]]
        assert ours[: len(theirs)] == theirs  # which may stop at main
    expected = {"crash": "struck", "call-null": "call", "overflow": "endless"}
    assert document["signature"]["blamed_function"] == expected[kind]
