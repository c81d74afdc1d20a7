"""The goroutines of a Go program that wait: read without stopping anything.

The program must have its symbols and its debugging information, as `go build` leaves them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.model.wait_graph import GraphTask

if TYPE_CHECKING:
    from perimortem.binary.elf_image import ElfImage
    from perimortem.symbols.table import SymbolTable

_UNIT = "runtime"
_DELETED = " (deleted)"


@dataclass(frozen=True)
class _Program:
    """What its file says; addresses are offsets from where it is mapped."""

    all_goroutines: int
    reasons: range
    goroutine: dict[str, int]
    registers: dict[str, int]
    functions: SymbolTable
    base: int
    """The address of the offset 0 in ``functions``."""


def find_goroutines(memory: LiveMemory) -> list[GraphTask]:
    """Empty if it is no Go program, or if its goroutines cannot be read."""
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.analysis.goroutines import GoRuntime, list_goroutines

    path = os.readlink(f"/proc/{memory.pid}/exe").removesuffix(_DELETED)
    first = next((r for r in memory.regions if r.path == path and not r.file_offset), None)
    program = memory.derive(first, _read_program) if first is not None else None
    if first is None or program is None:
        return []
    begin, functions = first.start, program.functions
    offset = program.base - begin

    def name_function(address: int) -> str | None:
        function = functions.find(address + offset)
        return function.name if function is not None else None

    reasons = program.reasons
    runtime = GoRuntime(
        begin + program.all_goroutines,
        range(begin + reasons.start, begin + reasons.stop),
        program.goroutine,
        program.registers,
    )
    try:
        found = list_goroutines(memory.read, runtime, name_function)
    except KeyError:
        return []
    return [
        GraphTask(
            memory.pid, f"goroutine {g.number}", g.reason, g.function, g.waits_for_lock, g.key
        )
        for g in found
    ]


def _read_program(image: ElfImage) -> _Program | None:
    from perimortem.binary.elf import is_go_program
    from perimortem.symbols.dwarf_structs import find_struct
    from perimortem.symbols.elf_symbols import find_elf_object, read_elf_symbols

    if not is_go_program(image.elf, image.read):
        return None
    listed = find_elf_object(image, ".symtab", "runtime.allgs")
    reasons = find_elf_object(image, ".symtab", "runtime.waitReasonStrings")
    goroutine = find_struct(image, _UNIT, "runtime.g")
    registers = find_struct(image, _UNIT, "runtime.gobuf")
    if listed is None or reasons is None or not goroutine or not registers:
        return None
    base = image.preferred_base
    first = reasons[0] - base
    return _Program(
        listed[0] - base,
        range(first, first + reasons[1]),
        goroutine,
        registers,
        read_elf_symbols(image),
        base,
    )
