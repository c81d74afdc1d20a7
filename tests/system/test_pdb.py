"""Windows programs with real PDBs: names, lines and frames, for x64 and for x86 without frame pointers.

Their code runs on Linux through a small loader, up to its crash; a dump as DbgHelp writes it is made of
the registers and the stack that it has there.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess

import pytest
from conftest import ROOT

from perimortem.binary.pe_image import PeImage
from perimortem.dumping.open import open_snapshot
from perimortem.testing.dumped_process import (
    DumpedException,
    DumpedMemory,
    DumpedModule,
    DumpedProcess,
    DumpedThread,
    Pdb,
)
from perimortem.testing.windows_dump import build_windows_dump

pytestmark = pytest.mark.system
ORACLES = ROOT / "tests" / "oracles"
TARGETS = {"x86_64": "-m64", "i686": "-m32"}
ACCESS_VIOLATION, WRITE, DEBUG_DIRECTORY = 0xC0000005, 1, 6
STACK_BYTES = 2048


def find_tool(name):
    found = shutil.which(name) or shutil.which(f"{name}-14")
    if found is None:
        pytest.skip(f"{name} is not installed (make test-deps)")
    return found


@pytest.fixture(scope="module", params=TARGETS)
def windows_program(request, tmp_path_factory):
    """(folder with program.exe and program.pdb, a dump of its crash)."""
    pytest.importorskip("symbolic")
    target, width = request.param, TARGETS[request.param]
    folder = tmp_path_factory.mktemp(target)
    clang, linker = find_tool("clang"), find_tool("lld-link")
    subprocess.run(
        [clang, f"--target={target}-pc-windows-msvc", "-O1", "-g", "-gcodeview",
         "-fms-extensions", "-fomit-frame-pointer", "-c", ORACLES / "pe_frames.c", "-o", "program.obj"],
        cwd=folder, check=True, timeout=100,
    )  # fmt: skip
    subprocess.run(
        [linker, "/debug", "/nodefaultlib", "/entry:entry", "/subsystem:console", "/safeseh:no",
         "program.obj", "/out:program.exe"],
        cwd=folder, check=True, timeout=100,
    )  # fmt: skip
    made = subprocess.run(
        ["gcc", width, "-O1", ORACLES / "load_pe.c", "-o", folder / "load_pe"],
        capture_output=True, timeout=100,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"gcc {width} cannot link here (make test-deps)")
    core = folder / "loaded.core"
    subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "run", "-ex", f"gcore {core}", "--args", folder / "load_pe",
         folder / "program.exe"],
        capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    path = folder / "program.dmp"
    path.write_bytes(make_dump(folder / "program.exe", core, is_64_bit=width == "-m64"))
    return folder, path


def make_dump(program, core, *, is_64_bit):
    data = program.read_bytes()
    image = PeImage(lambda offset, size: data[offset : offset + size])
    (at,) = struct.unpack_from("<I", data, 60)
    base = struct.unpack_from(
        "<Q" if is_64_bit else "<I", data, at + 24 + (24 if is_64_bit else 28)
    )[0]
    with open_snapshot(core) as snapshot:
        (thread,) = snapshot.threads
        registers = dict(thread.registers.general)
        pointer = registers["rsp" if is_64_bit else "esp"]
        stack = DumpedMemory(pointer, snapshot.content.read(pointer, STACK_BYTES))
        pc = registers["rip" if is_64_bit else "eip"]
    _, directory = image.read_directory(DEBUG_DIRECTORY)
    size, codeview_at = struct.unpack_from("<II", directory, 16)
    codeview = image.read_address(codeview_at, size)
    pdb = Pdb(codeview[4:20], int.from_bytes(codeview[20:24], "little"), r"C:\build\program.pdb")
    return build_windows_dump(
        DumpedProcess(
            pid=7,
            threads=(DumpedThread(8, registers, stack),),
            modules=(
                DumpedModule(base, image.image_size, r"C:\app\program.exe", pdb, image.timestamp),
            ),
            exception=DumpedException(8, ACCESS_VIOLATION, 0, pc, (WRITE, 0)),
            is_64_bit=is_64_bit,
        )
    )


def list_frames(perimortem, dump, symbols):
    result = perimortem.call("analyze", "--json", dump, "--symbols", symbols)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    return document, document["threads"][0]["frames"]


def check_frames(frames):
    names = [frame["function"].split("(")[0] for frame in frames[:6]]
    assert names == ["crash"] * 4 + ["with_arguments", "entry"]
    lines = (ORACLES / "pe_frames.c").read_text().splitlines()
    for frame, text in zip(
        frames, ["*p = 1;", *["crash(p, depth - 1);"] * 3, "crash(0, 3);"], strict=False
    ):
        assert frame["source"]["file"].endswith("pe_frames.c")
        assert lines[frame["source"]["line"] - 1].strip() == text
    assert {frame["trust"] for frame in frames[1:6]} == {"cfi"}


def test_names_lines_and_frames(perimortem, windows_program):
    folder, dump = windows_program
    document, frames = list_frames(perimortem, dump, folder)
    assert "null pointer" in document["reason"]["text"]
    check_frames(frames)


def test_as_a_symbol_server_keeps_them(perimortem, windows_program, tmp_path):
    """NAME/GUID and age/NAME for the PDB, NAME/time and size/NAME for the program."""
    folder, dump = windows_program
    with open_snapshot(dump) as snapshot:
        (module,) = snapshot.modules
    for name, identity in (
        ("program.pdb", module.debug_id),
        ("program.exe", f"{module.timestamp:08X}{module.size:x}"),
    ):
        place = tmp_path / name / identity / name
        place.parent.mkdir(parents=True)
        shutil.copy(folder / name, place)
    _, frames = list_frames(perimortem, dump, tmp_path)
    check_frames(frames)


def test_a_pdb_of_another_build_is_refused(perimortem, windows_program, tmp_path):
    folder, dump = windows_program
    other = tmp_path / "program.pdb"
    data = bytearray((folder / "program.pdb").read_bytes())
    with open_snapshot(dump) as snapshot:
        guid = snapshot.modules[0].debug_id
    raw = struct.pack("<IHH", int(guid[:8], 16), int(guid[8:12], 16), int(guid[12:16], 16))
    data[data.index(raw)] ^= 1
    other.write_bytes(data)
    document, frames = list_frames(perimortem, dump, tmp_path)
    assert frames[0].get("function") is None
    (missing,) = document["missing"]
    assert "is of another version" in missing["text"]
