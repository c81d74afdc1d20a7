"""Stacks of aarch64 programs, from cores that qemu writes, the same as those of gdb-multiarch."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess

import pytest
from conftest import ROOT
from test_stacks import GDB_SCRIPT

pytestmark = pytest.mark.system
TOOLS = ("qemu-aarch64", "aarch64-linux-gnu-gcc", "gdb-multiarch")
BUILDS = {
    "O0": ("-O0",),
    "O2": ("-O2",),
    "signed": ("-O1", "-mbranch-protection=standard"),
}


@pytest.fixture(scope="module")
def arm_programs(tmp_path_factory):
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (make test-deps)")
    folder = tmp_path_factory.mktemp("aarch64")
    for name, flags in BUILDS.items():
        subprocess.run(
            ["aarch64-linux-gnu-gcc", "-w", "-static", "-fno-optimize-sibling-calls", *flags,
             ROOT / "tests/programs/stacks.c", "-o", folder / name, "-lpthread"],
            check=True, timeout=100,
        )  # fmt: skip
    return folder


def ask_gdb(executable, core):
    answer = subprocess.run(
        ["gdb-multiarch", "-nx", "-batch", executable, "-core", core, "-x", GDB_SCRIPT],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    line = next(x for x in answer.stdout.splitlines() if x.startswith("FRAMES "))
    (frames,) = json.loads(line.removeprefix("FRAMES ")).values()
    return frames


@pytest.mark.parametrize("kind", ["crash", "abort", "call-null", "overflow"])
@pytest.mark.parametrize("build", BUILDS)
def test_the_same_frames_as_gdb(perimortem, arm_programs, tmp_path, build, kind):
    subprocess.run(
        ["qemu-aarch64", arm_programs / build, kind],
        cwd=tmp_path, capture_output=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30)),
    )  # fmt: skip
    (core,) = tmp_path.glob("*.core")
    result = perimortem.call("analyze", "--json", core, "--symbols", arm_programs)
    document = json.loads(result.stdout)
    assert document["architecture"] == "aarch64"
    (thread,) = document["threads"]
    assert thread["whole"]
    assert thread["frames"][-1]["function"] == "_start"
    if (
        build != "signed"
    ):  # gdb wants a note with the mask of signed addresses, which qemu does not write
        theirs = ask_gdb(arm_programs / build, core)
        assert thread["frame_count"] == len(theirs)
        for frame in thread["frames"]:
            assert int(frame["address"], 16) == theirs[frame["number"]]
    expected = {"crash": "struck", "abort": "main", "call-null": "call", "overflow": "endless"}
    assert document["signature"]["blamed_function"] == expected[kind]
