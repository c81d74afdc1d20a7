"""The members of a structure, from what compilers write; and from damaged files."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.binary.elf_image import ElfImage
from perimortem.symbols.dwarf_structs import find_struct

SOURCE = """
#include <stddef.h>
#include <stdio.h>
struct other { int first; };
struct task { char state; struct other inner; void *stack[3]; unsigned long number; };
struct task task;
int main(void) {
    printf("%zu %zu %zu %zu\\n", offsetof(struct task, state), offsetof(struct task, inner),
           offsetof(struct task, stack), offsetof(struct task, number));
}
"""


def open_image(data):
    return ElfImage(lambda offset, size: data[offset : offset + size])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """By options: (the file, the offsets that the program itself prints)."""
    if shutil.which("cc") is None:
        pytest.skip("there is no compiler to ask")
    folder = tmp_path_factory.mktemp("structs")
    (folder / "task.c").write_text(SOURCE)
    made = {}

    def compile_with(*options):
        if options not in made:
            path = folder / f"task{len(made)}"
            subprocess.run(["cc", *options, "-o", path, "task.c"], cwd=folder, check=True)
            printed = subprocess.run([path], capture_output=True, check=True).stdout
            made[options] = path.read_bytes(), [int(word) for word in printed.split()]
        return made[options]

    return compile_with


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("form", [(), ("-gz=zlib",)])
def test_the_offsets_are_those_that_the_compiler_uses(compiled, version, form):
    data, offsets = compiled(f"-gdwarf-{version}", *form)
    found = find_struct(open_image(data), "task.c", "task")
    assert found == dict(zip(("state", "inner", "stack", "number"), offsets, strict=True))


def test_what_is_not_described_is_empty(compiled):
    data, _ = compiled("-gdwarf-5")
    assert find_struct(open_image(data), "task.c", "task_t") == {}
    assert find_struct(open_image(data), "runtime", "task") == {}
    stripped, _ = compiled("-s")
    assert find_struct(open_image(stripped), "task.c", "task") == {}


@given(st.data())
def test_a_damaged_description_is_read_without_harm(compiled, data):
    raw, _ = compiled("-gdwarf-5")
    image = open_image(raw)
    damaged = bytearray(raw)
    for name in (".debug_info", ".debug_abbrev"):
        section = image.find_section(name)
        for _ in range(data.draw(st.integers(0, 6))):
            at = data.draw(st.integers(0, section.size - 1))
            damaged[section.offset + at] = data.draw(st.integers(0, 255))
    find_struct(open_image(bytes(damaged)), "task.c", "task")
