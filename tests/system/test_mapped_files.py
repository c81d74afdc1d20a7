"""Symbols of files that a process has mapped: also of those that are made up."""

from __future__ import annotations

import mmap
import os
import re
import struct

import pytest

from perimortem.binary.proc_maps import parse_maps
from perimortem.examine.runtimes.linux.mapped_file import find_export, list_functions

pytestmark = pytest.mark.system

ELF64_HEADER = "<16sHHIQQQIHHHHHH"


def map_file(path, data):
    """The region of this process in which the file is mapped."""
    path.write_bytes(data)
    with path.open("r+b") as file:
        kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    with open("/proc/self/maps", "rb") as maps:
        return kept, next(r for r in parse_maps(maps.read()) if r.path == str(path))


def header(programs_at, sections_at):
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    return struct.pack(
        ELF64_HEADER, identity, 3, 62, 1, 0, programs_at, sections_at, 0, 64, 56, 1, 64, 3, 2
    )


@pytest.mark.parametrize(
    "data",
    [
        header(1 << 63, 1 << 63),
        header((1 << 64) - 8, 64),
        header(64, (1 << 64) - 64) + bytes(256),
        b"\x7fELF" + b"\xff" * 200,
        b"no program",
    ],
)
def test_a_file_that_is_made_up_has_no_symbols(tmp_path, data):
    kept, region = map_file(tmp_path / "libpython3.so", data)
    with kept:
        assert find_export(os.getpid(), region, "_PyRuntime") is None
        assert list_functions(os.getpid(), region, re.compile(rb"lock")) == ()


def test_functions_of_a_real_program(programs):
    path = programs / "rests"
    kept, region = map_file(path.with_name("rests.copy"), path.read_bytes())
    os.unlink(region.path)  # an unlinked file is not looked for by its name
    with kept:
        assert list_functions(os.getpid(), region, re.compile(rb"mutex")) == ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        with open("/proc/self/maps", "rb") as maps:
            region = next(r for r in parse_maps(maps.read()) if r.path == str(path))
        found = list_functions(os.getpid(), region, re.compile(rb"mutex"))
    names = {name for _, _, name in found}
    assert {b"hold_mutex", b"want_mutex", b"mutex_as_event"} <= names
    assert all(size > 0 for _, size, name in found if name == b"hold_mutex")
