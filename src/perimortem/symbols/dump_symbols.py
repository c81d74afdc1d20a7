"""Write Breakpad's symbol file of an ELF program: functions, lines, inlined functions, frame data.

Source: docs/symbol_files.md of Breakpad. Lines are those of each instruction, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from perimortem.binary.elf import EM_386, EM_AARCH64, EM_ARM, EM_X86_64
from perimortem.binary.elf_image import ElfImage
from perimortem.errors import MalformedInput
from perimortem.model.stack import SourceLine
from perimortem.symbols.demangle import demangle
from perimortem.symbols.lines import LineFinder
from perimortem.symbols.table import Function
from perimortem.symbols.wanted import derive_debug_id

MACHINES = {EM_386: "x86", EM_X86_64: "x86_64", EM_AARCH64: "arm64", EM_ARM: "arm"}
ListInstructions = Callable[[bytes, int], Iterator[int]]
"""(code, address): the address of each instruction, and the end of the last one."""


def write_symbols(
    image: ElfImage,
    name: str,
    functions: list[Function],
    lines: LineFinder | None,
    list_instructions: ListInstructions,
    list_frame_data: Callable[[], Iterator[str]],
) -> Iterator[str]:
    """The lines of the file. Raises MalformedInput for a machine that Breakpad does not know."""
    machine = MACHINES.get(image.machine)
    if machine is None or image.build_id is None:
        why = "its machine is not known" if machine is None else "it has no build-id"
        raise MalformedInput("no symbol file can be made of it", why=why)
    yield f"MODULE Linux {machine} {derive_debug_id(image.build_id)} {name}"
    yield f"INFO CODE_ID {image.build_id.hex().upper()} {name}"
    body = _Body(image, lines, list_instructions)
    written = [line for function in _clip(functions) for line in body.describe(function)]
    yield from (f"FILE {number} {file}" for file, number in body.files.items())
    yield from (f"INLINE_ORIGIN {number} {origin}" for origin, number in body.origins.items())
    yield from written
    yield from list_frame_data()


def _clip(functions: list[Function]) -> Iterator[Function]:
    """Each up to the next one at most: a symbol without a size has one up to the end of its section."""
    for function, following in zip(functions, [*functions[1:], None], strict=True):
        room = function.size if following is None else following.start - function.start
        yield function._replace(size=min(function.size, room))


class _Body:
    """Functions, and the files and inlined functions that they name."""

    def __init__(
        self, image: ElfImage, lines: LineFinder | None, list_instructions: ListInstructions
    ) -> None:
        self._image, self._lines, self._list_instructions = image, lines, list_instructions
        self._base = image.preferred_base
        self.files: dict[str, int] = {}
        self.origins: dict[str, int] = {}

    def describe(self, function: Function) -> Iterator[str]:
        start = function.start - self._base
        name = demangle(function.name)
        if not function.size:
            yield f"PUBLIC {start:x} 0 {name}"
            return
        yield f"FUNC {start:x} {function.size:x} 0 {name}"
        places = list(self._list_places(function))
        yield from self._list_inlined(places)
        for (file, line), group in groupby(places, key=lambda place: _innermost(place[2])):
            pieces = list(group)
            first, last = pieces[0][0], pieces[-1][1]
            yield f"{first - self._base:x} {last - first:x} {line} {self._number(file)}"

    def _list_places(self, function: Function) -> Iterator[tuple[int, int, tuple[SourceLine, ...]]]:
        """(start, end, lines) of each instruction that has some."""
        if self._lines is None:
            return
        code = self._image.read_address(function.start, function.size)
        at = function.start
        for following in self._list_instructions(code, function.start):
            found = self._lines.find(at)
            if found:
                yield at, following, found
            at = following

    def _list_inlined(self, places: list[tuple[int, int, tuple[SourceLine, ...]]]) -> Iterator[str]:
        """INLINE records: consecutive instructions of one call, by depth."""
        deepest = max((len(lines) for _, _, lines in places), default=1) - 1
        for depth in range(deepest):

            def call_at(
                place: tuple[int, int, tuple[SourceLine, ...]], depth: int = depth
            ) -> tuple[str, str, int] | None:
                lines = place[2][::-1]  # the outermost first
                if len(lines) <= depth + 1 or lines[depth + 1].function is None:
                    return None
                return lines[depth + 1].function or "", lines[depth].file, lines[depth].line

            for call, group in groupby(places, key=call_at):
                pieces = list(group)
                if call is None:
                    continue
                origin = self.origins.setdefault(demangle(call[0]), len(self.origins))
                start, size = pieces[0][0], pieces[-1][1] - pieces[0][0]
                yield (
                    f"INLINE {depth} {call[2]} {self._number(call[1])} {origin} "
                    f"{start - self._base:x} {size:x}"
                )

    def _number(self, file: str) -> int:
        return self.files.setdefault(file, len(self.files))


def _innermost(lines: tuple[SourceLine, ...]) -> tuple[str, int]:
    return lines[0].file, lines[0].line
