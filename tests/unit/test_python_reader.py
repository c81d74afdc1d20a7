"""Python's own structures: the lines of instructions as the interpreter has them, and damage."""

from __future__ import annotations

import random
import sys

import pytest

from perimortem.cpython.frames import PythonReader
from perimortem.cpython.layout import COOKIE, UnknownLayout
from perimortem.cpython.line_table import find_line
from perimortem.cpython.runtime import find_runtime
from perimortem.model.snapshot import Module


def list_codes(code):
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from list_codes(constant)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the table is another one before 3.11")
@pytest.mark.parametrize("name", ["argparse", "ast", "dataclasses", "tarfile", "typing"])
def test_every_instruction_has_the_line_that_the_interpreter_gives_it(name):
    module = __import__(name)
    with open(module.__file__, encoding="utf-8") as file:
        top = compile(file.read(), module.__file__, "exec")
    compared = 0
    for code in list_codes(top):
        for number, (line, *_) in enumerate(code.co_positions()):
            assert find_line(code.co_linetable, code.co_firstlineno, 2 * number) == line
            compared += 1
    assert compared > 1000


def test_damaged_tables_have_an_end():
    chance = random.Random(11)
    for _ in range(5000):
        find_line(chance.randbytes(40), chance.randrange(1000), chance.randrange(200))


RUNTIME = 0x10000


def test_random_memory_is_no_interpreter():
    chance = random.Random(12)
    for _ in range(300):
        memory = chance.randbytes(4096)

        def read(address, size, memory=memory):
            return memory[address % 4096 : address % 4096 + size]

        with pytest.raises(UnknownLayout):
            PythonReader(read, RUNTIME, RUNTIME + 64)


@pytest.mark.parametrize("number", [0x030D00F0, 0x030E00F0, 0x03FF00F0])
def test_a_runtime_that_describes_itself_wrongly_ends(number):
    """Its offsets are small numbers that lead anywhere, in circles as well."""
    chance = random.Random(13)
    for _ in range(300):
        small = b"".join(chance.randrange(0, 400, 8).to_bytes(8, "little") for _ in range(120))
        head = COOKIE + number.to_bytes(8, "little") + bytes(8) + small
        words = [chance.choice([RUNTIME, RUNTIME + 512, RUNTIME + 1024, 0]) for _ in range(512)]
        memory = head + b"".join(word.to_bytes(8, "little") for word in words)

        def read(address, size, memory=memory):
            at = address - RUNTIME
            return memory[at : at + size] if at >= 0 else b""

        try:
            reader = PythonReader(read, RUNTIME, None)
            threads = reader.read_threads()
        except UnknownLayout:
            continue
        assert all(len(thread.frames) <= 2000 for thread in threads)


def test_a_program_without_exports_has_no_runtime():
    modules = (Module(0x1000, 0x1000, "/usr/bin/python3.12", None),)
    assert find_runtime(modules, lambda _address, _size: b"") is None
    chance = random.Random(14)
    for _ in range(300):
        data = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + chance.randbytes(4080)
        assert find_runtime(modules, lambda a, s, data=data: data[a - 0x1000 :][:s]) is None
