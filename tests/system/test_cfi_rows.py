"""Rows of call frame information, the same as those of readelf."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perimortem.binary.elf_image import ElfImage
from perimortem.unwind.dwarf.program import iterate_rows
from perimortem.unwind.dwarf.rows import RuleKind
from perimortem.unwind.dwarf.table import UnwindTable

pytestmark = pytest.mark.system
NAMES = "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 ra".split()
FDE = re.compile(r"^[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)")
ROW = re.compile(r"^([0-9a-f]{16}) (.*)")


def find_library(name):
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {line.split()[-1] for line in lines if f"/{name}" in line}
    if not found:
        answer = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True)
        found = {x.split()[-1] for x in answer.stdout.splitlines() if name in x and "x86-64" in x}
    return sorted(found)[0] if found else None


def read_theirs(path):
    """{start of function: {address: {register or CFA: rule}}} where readelf prints rows."""
    text = subprocess.run(
        ["readelf", "--debug-dump=no-follow-links", "--debug-dump=frames-interp", path],
        capture_output=True,
        text=True,
    ).stdout
    functions, columns, rows = {}, [], None
    for line in text.splitlines():
        head = FDE.match(line)
        if head:
            rows = functions.setdefault(int(head[1], 16), {})
        elif " CIE " in line:
            rows = None
        elif line.startswith("   LOC"):
            columns = line.split()[1:]
        elif rows is not None and (row := ROW.match(line)):
            cells = re.sub(r"r\d+ \((\w+)\)", r"\1", row[2]).split()
            rows[int(row[1], 16)] = dict(zip(columns, cells, strict=True))
    return {start: rows for start, rows in functions.items() if rows}


def describe(rule):
    if rule is None:
        return "u"
    kind, value = rule
    if kind is RuleKind.OFFSET:
        return f"c{value:+d}"
    if kind is RuleKind.VALUE_OFFSET:
        return f"v{value:+d}"
    if kind is RuleKind.REGISTER:
        return NAMES[value]
    return {RuleKind.EXPRESSION: "exp", RuleKind.VALUE_EXPRESSION: "vexp"}.get(kind, "u")


def read_ours(path):
    data = Path(path).read_bytes()
    image = ElfImage(lambda offset, size: data[offset : offset + size])
    functions = {}
    for entry in UnwindTable(image).list_entries():
        rows = {}
        for row in iterate_rows(entry):
            cfa = row.cfa
            text = "exp" if cfa.expression is not None else f"{NAMES[cfa.register]}{cfa.offset:+d}"
            rows[row.start] = {"CFA": text} | {
                NAMES[number]: describe(rule) for number, rule in row.rules.items()
            }
        functions[entry.start] = rows
    return functions


@pytest.mark.parametrize("name", ["libc.so.6", "libstdc++.so.6", "libpython", "libcrypto.so"])
def test_every_row_is_the_same_as_readelf_s(name):
    path = find_library(name)
    if name == "libpython" and path is None:
        path = str(Path(sys.executable).resolve())  # it is linked in
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    if shutil.which("readelf") is None:
        pytest.fail("readelf is the oracle of frame information: make test-deps")
    theirs, ours = read_theirs(path), read_ours(path)
    assert len(theirs) > 1000
    for start, rows in theirs.items():
        assert set(rows) <= set(ours[start]), f"{start:#x}"
        for address, row in rows.items():
            mine = ours[start][address]
            filled = {column: mine.get(column, "u") for column in row}
            assert filled == row, f"{address:#x}"
