"""Breakpad's symbol files: functions, lines and inlined functions of one module, as text. Pure.

Source: docs/symbol_files.md of Breakpad. Unknown records are skipped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from perimortem.errors import MalformedInput
from perimortem.model.stack import SourceLine
from perimortem.symbols.table import Function


@dataclass
class _Function:
    start: int
    size: int
    name: str
    lines: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(address, size, line, file number)."""
    inlines: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    """(address, size, depth, line of the call, file of the call, origin)."""


class BreakpadSymbols:
    """One .sym file. Addresses are relative to the module's base."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises MalformedInput if it is not a symbol file."""
        rows = iter(lines)
        head = next(rows, "").split(maxsplit=4)
        if len(head) < 5 or head[0] != "MODULE":
            raise MalformedInput("not a Breakpad symbol file")
        self.identity, self.module_name = head[3], head[4].strip()
        self.code_id: str | None = None
        self.stack_records: list[str] = []
        """How to unwind: the STACK records, without that word."""
        self._files: dict[int, str] = {}
        self._origins: dict[int, str] = {}
        functions: list[_Function] = []
        publics: list[tuple[int, str]] = []
        for row in rows:
            try:
                self._take(row, functions, publics)
            except (ValueError, IndexError):
                continue
        self._functions = sorted(functions, key=lambda f: f.start)
        self._starts = [function.start for function in self._functions]
        publics.sort()
        self._public_starts = [address for address, _ in publics]
        self._public_names = [name for _, name in publics]
        for function in self._functions:
            function.lines.sort()

    def _take(self, row: str, functions: list[_Function], publics: list[tuple[int, str]]) -> None:
        kind, _, rest = row.partition(" ")
        if kind == "FILE":
            number, _, name = rest.partition(" ")
            self._files[int(number)] = name.strip()
        elif kind == "INLINE_ORIGIN":
            number, _, name = rest.partition(" ")
            self._origins[int(number)] = name.strip()
        elif kind == "FUNC":
            start, size, _, name = _skip_mark(rest).split(" ", 3)
            functions.append(_Function(int(start, 16), int(size, 16), name.strip()))
        elif kind == "PUBLIC":
            address, _, name = _skip_mark(rest).split(" ", 2)
            publics.append((int(address, 16), name.strip()))
        elif kind == "INLINE":
            depth, line, file, origin, *ranges = rest.split()
            for start, size in zip(ranges[0::2], ranges[1::2], strict=False):
                functions[-1].inlines.append(
                    (int(start, 16), int(size, 16), int(depth), int(line), int(file), int(origin))
                )
        elif kind == "INFO":
            words = rest.split()
            if words[:1] == ["CODE_ID"]:
                self.code_id = words[1]
        elif kind == "STACK":
            self.stack_records.append(rest)
        elif kind != "MODULE":
            address, size, line, file = row.split()
            functions[-1].lines.append((int(address, 16), int(size, 16), int(line), int(file)))

    def find(self, address: int) -> Function | None:
        function = self._find(address)
        if function is not None:
            return Function(function.start, function.size, function.name)
        index = bisect_right(self._public_starts, address) - 1
        if index < 0:
            return None
        last = self._functions[bisect_right(self._starts, address) - 1] if self._starts else None
        if last is not None and self._public_starts[index] < last.start <= address:
            return None  # after a function that ended before it
        return Function(self._public_starts[index], 0, self._public_names[index])

    def find_lines(self, address: int) -> tuple[SourceLine, ...]:
        """The innermost inlined function first, the function itself last; empty if unknown."""
        function = self._find(address)
        if function is None:
            return ()
        index = bisect_right(function.lines, (address, 1 << 64, 0, 0)) - 1
        if index < 0 or address >= function.lines[index][0] + function.lines[index][1]:
            return ()
        _, _, line, file = function.lines[index]
        around = sorted(
            (inline for inline in function.inlines if 0 <= address - inline[0] < inline[1]),
            key=lambda inline: -inline[2],
        )
        found = []
        for _, _, _, call_line, call_file, origin in around:
            found.append(self._make_line(file, line, self._origins.get(origin)))
            line, file = call_line, call_file
        return (*found, self._make_line(file, line, function.name))

    def _make_line(self, file: int, line: int, function: str | None) -> SourceLine:
        return SourceLine(self._files.get(file, "?"), line, function)

    def _find(self, address: int) -> _Function | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        function = self._functions[index]
        return function if address < function.start + max(1, function.size) else None


def _skip_mark(rest: str) -> str:
    """Of a function with several names: "m "."""
    return rest[2:] if rest.startswith("m ") else rest
