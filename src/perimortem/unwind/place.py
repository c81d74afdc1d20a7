"""What is known of an instruction: its module, its function, how to unwind there."""

from __future__ import annotations

from typing import NamedTuple

from perimortem.model.snapshot import Architecture
from perimortem.unwind.dwarf.entries import FunctionEntry
from perimortem.unwind.dwarf.rows import Row
from perimortem.unwind.module_map import MappedModule, ModuleMap
from perimortem.unwind.signal_frame import TRAMPOLINE_BYTES, SignalFrame, find_signal_frame


class Place(NamedTuple):
    """One instruction."""

    mapped: MappedModule | None
    entry: FunctionEntry | None
    row: Row | None
    is_signal: bool
    """It returns from a signal handler."""
    signal_frame: SignalFrame | None
    """And no frame information says how, but its code does."""


class Places:
    """Kept, since recursion returns to the same ones."""

    def __init__(self, architecture: Architecture, modules: ModuleMap) -> None:
        self._architecture, self._modules = architecture, modules
        self._found: dict[tuple[int, bool], Place] = {}

    def find(self, pc: int, *, is_exact: bool) -> Place:
        """``is_exact``: it was interrupted there; else it is a return address."""
        place = self._found.get((pc, is_exact))
        if place is None:
            place = self._found[pc, is_exact] = self._find(pc, is_exact=is_exact)
        return place

    def _find(self, pc: int, *, is_exact: bool) -> Place:
        lookup = pc if is_exact else pc - 1
        mapped = self._modules.find(lookup)
        entry, row = _find_row(mapped, lookup)
        if row is None and lookup != pc:
            entry, row = self._find_start(pc)
        is_signal = entry is not None and entry.common.is_signal_frame
        signal_frame = None
        if row is None:
            code = self._modules.read(pc, TRAMPOLINE_BYTES)
            signal_frame = find_signal_frame(self._architecture, code)
            is_signal = is_signal or signal_frame is not None
        return Place(mapped, entry, row, is_signal, signal_frame)

    def _find_start(self, pc: int) -> tuple[FunctionEntry | None, Row | None]:
        """For a function without a caller: its start was made a return address (makecontext)."""
        entry, row = _find_row(mapped := self._modules.find(pc), pc)
        is_start = entry is not None and mapped is not None and entry.start == pc - mapped.bias
        return (entry, row) if is_start else (None, None)


def _find_row(mapped: MappedModule | None, lookup: int) -> tuple[FunctionEntry | None, Row | None]:
    table = mapped.table if mapped is not None else None
    if mapped is None or table is None:
        return None, None
    return table.find(lookup - mapped.bias)
