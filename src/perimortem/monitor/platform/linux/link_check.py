"""What the dynamic linker lacks for a program: asked of glibc's, as `ldd -r` does, after it has failed.

It loads the libraries and resolves every symbol, and runs no code of theirs.
Source: ld.so(8): LD_TRACE_LOADED_OBJECTS, LD_WARN, LD_BIND_NOW.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.binary.elf import read_elf, read_interpreter
from perimortem.text import printable

BEFORE_START, WHILE_RUNNING = 1, 127
"""With which status it ends a program: for a wrong version; for a library or symbol that is not there,
which a function that is called for the first time may need."""
_PATIENCE_S = 2.0
_SYMBOL = re.compile(r"undefined symbol: ([^,\s]+)(?:, version \S+)?\s+\((.+)\)$", re.MULTILINE)
_VERSION = re.compile(r": (\S+): version [`'](.+)' not found \(required by (.+)\)$", re.MULTILINE)
_LIBRARY = re.compile(r"^\s+(\S+) => not found$", re.MULTILINE)


def find_unresolved(program: Path, status: int | None) -> str | None:
    """One line, or None: nothing is missing, it cannot be asked, or it did not end the program."""
    if status not in (BEFORE_START, WHILE_RUNNING):
        return None
    interpreter = _find_interpreter(program)
    if interpreter is None or not Path(interpreter).name.startswith("ld-linux"):
        return None
    environment = {
        **os.environ,
        "LD_TRACE_LOADED_OBJECTS": "1",
        "LD_WARN": "yes",
        "LD_BIND_NOW": "yes",
    }
    with subprocess.Popen(
        [interpreter, str(program)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as linker:
        try:
            listed, complained = linker.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            linker.kill()
            return None
    texts = (listed.decode("utf-8", "replace"), complained.decode("utf-8", "replace"))
    return describe_unresolved(*texts, status)


def describe_unresolved(listed: str, complained: str, status: int) -> str | None:
    """From what it prints: what of that ends a program with ``status``."""
    version = _VERSION.search(complained)
    if status == BEFORE_START:
        if version is None:
            return None
        library_name, wanted, user = version.groups()
        return printable(f"{user} needs version {wanted} of {library_name}, which does not have it")
    library = _LIBRARY.search(listed)
    if library is not None:
        return printable(f"the library {library[1]} was not found")
    symbol = _SYMBOL.search(complained)
    if symbol is not None:
        return printable(f"undefined symbol {symbol[1]}, which {symbol[2]} needs of its libraries")
    return None


def _find_interpreter(program: Path) -> str | None:
    try:
        with open(program, "rb") as file:
            fd = file.fileno()

            def read(offset: int, size: int) -> bytes:
                return os.pread(fd, size, offset)

            elf = read_elf(read)
            return read_interpreter(elf, read) if elf is not None else None
    except OSError:
        return None
