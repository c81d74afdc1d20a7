"""Files, lines and inlined functions: every reader that is installed says what addr2line says."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from perimortem.symbols.elf_symbols import read_elf_symbols
from perimortem.symbols.files import ImageLibrary
from perimortem.symbols.lines import open_lines

pytestmark = pytest.mark.system
PLACES = 200


def list_readers(file):
    found = {}
    for module, name in (
        ("drgn_lines", "DrgnLines"),
        ("symbolic_lines", "SymbolicLines"),
        ("elftools_lines", "ElftoolsLines"),
    ):
        reader = getattr(__import__(f"perimortem.symbols.{module}", fromlist=[name]), name)
        arguments = (file.path, file.image) if name == "DrgnLines" else (file.path,)
        try:
            found[name] = reader(*arguments)
        except ImportError:
            continue
    return found


def shorten(lines):
    return [(line.file.rpartition("/")[2], line.line) for line in lines if line.line]


def list_places(image):
    """In functions: what is between them belongs to none, and readers differ."""
    text, table = image.find_section(".text"), read_elf_symbols(image)
    places = range(text.address, text.address + text.size, max(1, text.size // PLACES))
    return [
        place
        for place in places
        if (found := table.find(place)) and place < found.start + found.size
    ]


@pytest.mark.parametrize("name", ["stacks-O0", "stacks-O2", "stacks_cpp-O2"])
def test_all_readers_agree(programs, name):
    with ImageLibrary() as library:
        file = library.open(programs / name)
        readers = list_readers(file)
        assert "ElftoolsLines" in readers
        for address in list_places(file.image):
            answers = {name: shorten(reader.find(address)) for name, reader in readers.items()}
            assert len({tuple(answer) for answer in answers.values()}) == 1, (hex(address), answers)


@pytest.mark.parametrize("version", [4, 5])
def test_clang_and_gcc_with_dwarf_4_and_5(programs, tmp_path, version):
    """clang writes no table of units by address; names and lines are those of addr2line."""
    source = programs.parent / "stacks.c"
    for compiler in filter(shutil.which, ("gcc", "clang", "clang-14")):
        program = tmp_path / f"{compiler}-{version}"
        subprocess.run(
            [compiler, f"-gdwarf-{version}", "-O2", "-w", source, "-o", program, "-lpthread"],
            check=True, timeout=100,
        )  # fmt: skip
        with ImageLibrary() as library:
            file = library.open(program)
            reader = list_readers(file)["ElftoolsLines"]
            places = list_places(file.image)
            answer = subprocess.run(
                ["addr2line", "-f", "-i", "-a", "-e", program, *map(hex, places)],
                capture_output=True, text=True, check=True, timeout=100,
            )  # fmt: skip
            theirs = [block.splitlines()[1:] for block in answer.stdout.split("0x")[1:]]
            for address, rows in zip(places, theirs, strict=True):
                lines = reader.find(address)
                expected = [row.partition(" (")[0] for row in rows[1::2] if row[:1] != "?"]
                if any(row.endswith(":?") for row in expected):
                    continue
                assert [f"{line.file}:{line.line}" for line in lines if line.line] == expected
                assert [line.function for line in lines if line.line] == rows[
                    0 : 2 * len(expected) : 2
                ]


def test_the_fastest_reader_is_chosen_and_a_stripped_file_has_no_lines(programs):
    with ImageLibrary() as library:
        file = library.open(programs / "stacks-stripped")
        assert open_lines(file.path, file.image) is None
        file = library.open(programs / "stacks-O0")
        assert open_lines(file.path, file.image) is not None


def test_damaged_debug_information_gives_whole_answers(programs, tmp_path):
    """Of section headers and of the head of the line table each byte is changed: nothing is None."""
    data = (programs / "stacks-O2").read_bytes()
    with ImageLibrary() as library:
        image = library.open(programs / "stacks-O2").image
        addresses = list_places(image)[::40]
        headers = image.elf.header.section_headers_offset
        starts = [
            headers + index * 64 + field
            for index, section in enumerate(image.sections)
            for field in (*range(24, 27), *range(32, 35))  # sh_offset, sh_size
            if section.name.startswith(".debug_")
        ]
        line_table = image.find_section(".debug_line").offset
    answers = set()
    for at in (*starts, *range(line_table, line_table + 64)):
        path = tmp_path / f"damaged-{at}"
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with ImageLibrary() as library:
            for name, reader in list_readers(library.open(path)).items():
                for line in (line for address in addresses for line in reader.find(address)):
                    assert (type(line.file), type(line.line)) == (str, int), (at, name)
                    answers.add(line.file)
        path.unlink()
    assert any(answer.endswith("stacks.c") for answer in answers)
