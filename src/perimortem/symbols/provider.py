"""Images and names of a snapshot's modules, for stacks and analysis; and what was missing."""

from __future__ import annotations

import lzma
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from perimortem.binary.elf_image import ElfImage
from perimortem.binary.pe_image import PeImage
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Module, Snapshot
from perimortem.model.stack import Frame, FrameTrust, SourceLine
from perimortem.symbols.breakpad import BreakpadSymbols
from perimortem.symbols.cache import SymbolCache
from perimortem.symbols.debug_file import DebugFile
from perimortem.symbols.demangle import demangle
from perimortem.symbols.elf_symbols import (
    find_elf_symbol,
    read_elf_exports,
    read_elf_symbols,
    read_elf_variables,
)
from perimortem.symbols.files import FileFinder, Image, ImageFile
from perimortem.symbols.lines import LineFinder, NoLines
from perimortem.symbols.table import Function, SymbolTable, make_table
from perimortem.symbols.tried import FOUND, NOT_THERE
from perimortem.symbols.vdso import find_vdso
from perimortem.symbols.wanted import base_name, derive_debug_id

_PACKED_MAX = 64 << 20
VDSO = "linux-gate.so"
_OURS = ("libperimortem.so.0", "libperimortem_preload.so")
"""Their exported names are all that there is to know."""


@dataclass
class _Names:
    """What is known of one module; each part is opened on first use."""

    file: ImageFile | None
    debug: ImageFile | None = None
    table: SymbolTable | None = None
    symbol_file: BreakpadSymbols | DebugFile | None = None
    lines: LineFinder | None = None
    found: dict[int, tuple[str | None, int, tuple[SourceLine, ...]]] = field(default_factory=dict)

    @property
    def base(self) -> int:
        """The address of the module in its symbol tables."""
        file = self.file or self.debug
        return file.image.preferred_base if file is not None else 0


@dataclass(frozen=True)
class ModuleSymbols:
    """What was found for one module."""

    program: Path | None
    debug: Path | None
    names: str
    """Where they come from."""
    has_lines: bool


class Symbols:
    """Finds images and names; records what it did not find."""

    def __init__(
        self,
        snapshot: Snapshot,
        finder: FileFinder,
        cache: SymbolCache,
        *,
        with_lines: bool = True,
    ) -> None:
        self._snapshot, self._finder, self._cache = snapshot, finder, cache
        self._with_lines = with_lines
        self._files: dict[int, ImageFile | None] = {}
        self._names: dict[int, _Names] = {}
        self._named: dict[tuple[int, bool], tuple[str | None, int, tuple[SourceLine, ...]]] = {}
        self._data: dict[int, SymbolTable] = {}
        self.missing: dict[str, str] = {}
        """By module path: why its file could not be used, or has no names, and the remedy."""

    def find_image(self, module: Module) -> Image | None:
        """The module's own file, or its image in memory."""
        found = self._find_file(module)
        return found.image if found is not None else None

    def find_symbol_file(self, module: Module) -> BreakpadSymbols | DebugFile | None:
        """Its symbol file, if there is one; such a file also says how to unwind its functions."""
        return self._open_names(module).symbol_file

    def describe(self, module: Module) -> ModuleSymbols:
        """Where its names and lines come from; everything is opened for that."""
        names = self._open_names(module)
        image = names.file.image if names.file is not None else None
        elf = image if isinstance(image, ElfImage) else None
        program = names.file.path if names.file is not None else None
        if elf is not None and elf.is_in_memory:
            program = None
        if names.symbol_file is not None:
            source = "a symbol file"
        elif names.debug is not None and names.table:
            source = f"{names.debug.path}"
        elif names.table:
            is_whole = elf is not None and elf.find_section(".symtab") is not None
            source = f"{program or 'its memory'}{'' if is_whole else ', exported names only'}"
        else:
            source = "none"
        return ModuleSymbols(
            program,
            names.debug.path if names.debug is not None else None,
            source,
            has_lines=names.lines is not None or names.symbol_file is not None,
        )

    def name(self, frame: Frame) -> Frame:
        """``frame`` with its function, lines and inlined functions, as far as known."""
        if frame.module is None or frame.trust is FrameTrust.PYTHON:
            return frame
        named = self._named.get((frame.pc, frame.is_exact))
        if named is None:
            named = self._named[frame.pc, frame.is_exact] = self._name(frame, frame.module)
        function, offset, lines = named
        if function is None and not lines:
            return frame
        return Frame(
            frame.pc,
            frame.stack_pointer,
            frame.trust,
            frame.module,
            frame.is_exact,
            frame.is_signal,
            function,
            offset,
            lines[:-1],
            lines[-1] if lines else None,
            frame.language,
        )

    def _name(self, frame: Frame, module: Module) -> tuple[str | None, int, tuple[SourceLine, ...]]:
        """(function, how far into it, its lines: the outermost last)."""
        names = self._open_names(module)
        base = names.base
        address = frame.lookup_address - module.base + base
        known = names.found.get(address)
        if known is None:
            known = names.found[address] = self._find(module, names, address)
        function, start, lines = known
        return function, frame.pc - module.base + base - start if function else 0, lines

    def name_address(self, address: int) -> str | None:
        """ "start_routine+0x10" for any address in code or data of a module that has a name for it."""
        module = next(
            (m for m in self._snapshot.modules if m.base <= address < m.base + m.size), None
        )
        if module is None:
            return None
        frame = self.name(Frame(address, 0, FrameTrust.CONTEXT, module, is_exact=True))
        if frame.function is None:
            return None
        offset = f"+{frame.function_offset:#x}" if frame.function_offset else ""
        return frame.function + offset

    def name_data(self, address: int) -> str | None:
        """The variable at ``address``, with the offset in it."""
        for module in self._snapshot.modules:
            if module.base <= address < module.base + module.size:
                found = self._open_data(module).find(address - module.base + self._base(module))
                if found is None:
                    return None
                offset = address - module.base + self._base(module) - found.start
                return demangle(found.name) + (f"+{offset:#x}" if offset else "")
        return None

    def find_symbol(self, module: Module, name: str) -> int | None:
        """The address of a function or variable of ``module``."""
        names = self._open_names(module)
        for file in (names.file, names.debug):
            image = file.image if file is not None else None
            if not isinstance(image, ElfImage):
                continue
            for section in (".dynsym", ".symtab"):
                found = find_elf_symbol(image, section, name)
                if found is not None:
                    return module.base - image.preferred_base + found
        return None

    def _base(self, module: Module) -> int:
        return self._open_names(module).base

    def _open_data(self, module: Module) -> SymbolTable:
        known = self._data.get(module.base)
        if known is None:
            names = self._open_names(module)
            images = [f.image for f in (names.file, names.debug) if f is not None]
            known = make_table(())
            for image in images:
                if not known and isinstance(image, ElfImage):
                    known = image.derive(read_elf_variables)
            self._data[module.base] = known
        return known

    def _find(
        self, module: Module, names: _Names, address: int
    ) -> tuple[str | None, int, tuple[SourceLine, ...]]:
        lines: tuple[SourceLine, ...] = ()
        found: Function | None = None
        if names.symbol_file is not None:
            base = names.base
            lines = names.symbol_file.find_lines(address - base)
            function = names.symbol_file.find(address - base)
            if function is not None:
                found = function._replace(start=function.start + base)
        if found is None and names.table is not None:
            found = names.table.find(address)
        if not lines and names.lines is not None:
            lines = names.lines.find(address)
        lines = tuple(
            replace(line, function=demangle(line.function)) if line.function else line
            for line in lines
        )
        if found is None:
            return (lines[-1].function if lines else None), address, lines
        return demangle(found.name), found.start, lines

    def _find_file(self, module: Module) -> ImageFile | None:
        if module.base not in self._files:
            self._files[module.base] = self._look_for(module)
        return self._files[module.base]

    def _look_for(self, module: Module) -> ImageFile | None:
        head = self._snapshot.content.read(module.base, 4096)
        if module.path == VDSO:
            image = find_vdso(module, self._snapshot.content.read)
            return ImageFile(Path(VDSO), image) if image is not None else None
        found = self._finder.find_module(module, head)
        if isinstance(found, ImageFile):
            return found
        self.missing[module.path] = f"{found}; use --symbols DIR to say where it is"
        return _open_in_memory(module, self._snapshot)

    def _open_names(self, module: Module) -> _Names:
        names = self._names.get(module.base)
        if names is None:
            names = self._names[module.base] = self._load_names(module)
        return names

    def _load_names(self, module: Module) -> _Names:
        names = _Names(self._find_file(module))
        names.symbol_file = self._load_symbol_file(module)
        image = names.file.image if names.file is not None else None
        if isinstance(image, PeImage):
            names.table = make_table(
                (rva, 0, name.encode())
                for rva, name in _unique(image.coff_functions or image.exports)
            )
            return names
        build_id = image.build_id if image is not None else module.build_id
        with_lines = names.file
        if image is not None and image.find_section(".symtab") is not None:
            names.table = self._load_table(names.file, "symtab", image)
        if build_id is not None and (image is None or not names.table or not _has_lines(image)):
            names.debug = self._finder.find_debug(module, build_id)
        if image is None and names.debug is None:
            return names
        if names.debug is not None and isinstance(names.debug.image, ElfImage):
            with_lines = names.debug
            if not names.table:
                names.table = self._load_table(names.debug, "debug", names.debug.image)
        if not names.table:
            if image is not None:
                names.table = _read_packed(image) or image.derive(read_elf_exports)
            is_ours = base_name(module.path) in _OURS
            if names.symbol_file is None and module.path != VDSO and not is_ours:
                self.missing.setdefault(
                    module.path,
                    "stripped, so that only exported names are known; install its debug symbol package "
                    "(-dbg, -dbgsym, -debuginfo), or use --symbols DIR or --debuginfod",
                )
        if self._with_lines and with_lines is not None and module.path != VDSO:
            try:
                names.lines = self._finder.library.open_lines(with_lines)
            except NoLines as error:
                self.missing.setdefault(module.path, str(error))
        return names

    def _load_table(self, file: ImageFile | None, kind: str, image: ElfImage) -> SymbolTable:
        path = file.path if file is not None else Path(VDSO)
        return self._cache.load(image.build_id, path, kind, lambda: image.derive(read_elf_symbols))

    def _load_symbol_file(self, module: Module) -> BreakpadSymbols | DebugFile | None:
        wanted = module.debug_id or (derive_debug_id(module.build_id) if module.build_id else None)
        for path in self._finder.find_symbol_files(module):
            try:
                found = _open_symbol_file(path, wanted)
            except OSError:
                self._finder.note_symbol_file(module, path, NOT_THERE)
                continue
            except MalformedInput as error:
                self._finder.note_symbol_file(module, path, str(error))
                continue
            except ImportError:
                reason = f"{path} cannot be read: symbolic is not installed"
                self.missing[module.path] = reason
                self._finder.note_symbol_file(module, path, "symbolic is not installed")
                continue
            is_same = wanted is None or found.identity.upper() == wanted.upper()
            outcome = FOUND if is_same else f"another version, of {found.identity}"
            self._finder.note_symbol_file(module, path, outcome)
            if is_same:
                if found.stack_records:  # nothing is missing without the file itself
                    self.missing.pop(module.path, None)
                return found
            self.missing[module.path] = (
                f"{path} is of another version: it is for {found.identity}, the module is {wanted}"
            )
        return None


def _open_symbol_file(path: Path, wanted: str | None) -> BreakpadSymbols | DebugFile:
    """Raises OSError, MalformedInput, ImportError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise MalformedInput(f"{path} is not a regular file")
    if path.suffix != ".sym":
        return DebugFile(path, wanted)
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        return BreakpadSymbols(file)


def _has_lines(image: ElfImage) -> bool:
    return image.find_section(".debug_line") is not None


def _unique(functions: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted(dict(reversed(functions)).items())


def _read_packed(image: ElfImage) -> SymbolTable | None:
    """.gnu_debugdata: the compressed symbol table that Fedora leaves in stripped programs."""
    packed = image.read_section(".gnu_debugdata")
    if not packed:
        return None
    try:
        data = lzma.LZMADecompressor(memlimit=_PACKED_MAX).decompress(packed, _PACKED_MAX)
        inner = ElfImage(lambda offset, size: data[offset : offset + size])
    except (lzma.LZMAError, MalformedInput):
        return None
    return read_elf_symbols(inner) or None


def _open_in_memory(module: Module, snapshot: Snapshot) -> ImageFile | None:
    """A module without its file, from a dump that contains it completely, or from a live process."""
    content = snapshot.content
    if not content.read(module.base + module.size - 1, 1):
        return None

    def read(offset: int, size: int) -> bytes:
        return content.read(module.base + offset, size) if 0 <= offset < module.size else b""

    try:
        image = ElfImage(read, in_memory=True)
    except MalformedInput:
        return None
    return ImageFile(Path(module.path), image) if image.eh_frame_header else None
