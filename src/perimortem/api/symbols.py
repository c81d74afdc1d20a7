"""Debug symbols: what a dump needs and has, and symbol files made of programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perimortem.documents.symbols import FoundFiles, ModuleSymbols, SymbolCheck, TriedPlace
from perimortem.errors import MalformedInput, PerimortemError

if TYPE_CHECKING:
    from perimortem.binary.elf_image import ElfImage
    from perimortem.examine.options import ExamineOptions
    from perimortem.model.snapshot import Module, OperatingSystem
    from perimortem.symbols.files import ImageLibrary
    from perimortem.symbols.provider import Symbols
    from perimortem.symbols.tried import SearchLog

_BUILD_ID = re.compile(r"(?:[0-9a-fA-F]{2}){4,64}")


def check_symbols(path: Path, options: ExamineOptions) -> SymbolCheck:
    """Of every module of a dump. Raises PerimortemError."""
    from perimortem.dumping.open import open_snapshot
    from perimortem.symbols.cache import SymbolCache, find_cache_dir
    from perimortem.symbols.provider import Symbols
    from perimortem.symbols.tried import SearchLog

    log = SearchLog(is_kept=True)
    finder = replace(options, log=log).make_finder()
    with open_snapshot(path, options.before_parsing) as snapshot:
        symbols = Symbols(snapshot, finder, SymbolCache(find_cache_dir()))
        modules = [
            _check(module, symbols, log, snapshot.system.os)
            for module in sorted(snapshot.modules, key=lambda module: module.base)
        ]
    return SymbolCheck(schema_version=1, file=str(path), modules=modules)


def _check(
    module: Module, symbols: Symbols, log: SearchLog, system: OperatingSystem
) -> ModuleSymbols:
    from perimortem.symbols.remedy import describe_remedy

    found = symbols.describe(module)
    missing = symbols.missing.get(module.path)
    if missing is not None:
        why = missing.partition(";")[0]
        missing = f"{why}; {describe_remedy(module, system)}"
    return ModuleSymbols(
        module=module.path,
        base=f"{module.base:#x}",
        build_id=module.build_id.hex() if module.build_id is not None else None,
        debug_id=module.debug_id,
        program=str(found.program) if found.program is not None else None,
        debug=str(found.debug) if found.debug is not None else None,
        names=found.names,
        has_lines=found.has_lines,
        missing=missing,
        tried=_list_tried(log, module),
    )


def _list_tried(log: SearchLog, module: Module) -> list[TriedPlace]:
    return [
        TriedPlace(str(tried.wanted), tried.place, tried.outcome)
        for tried in log.places.get(module.base, ())
    ]


def find_files(what: str, options: ExamineOptions) -> FoundFiles:
    """Of a build-id in hex, or of that of the ELF file with this path. Raises PerimortemError."""
    from perimortem.model.snapshot import Module
    from perimortem.symbols.tried import SearchLog

    options.before_parsing()
    build_id, path = _read_build_id(what, options.library)
    module = Module(0, 1, path, build_id)
    log = SearchLog(is_kept=True)
    finder = replace(options, log=log).make_finder()
    program = finder.find_module(module, b"")
    debug = finder.find_debug(module, build_id)
    return FoundFiles(
        schema_version=1,
        build_id=build_id.hex(),
        program=None if isinstance(program, str) else str(program.path),
        debug=str(debug.path) if debug is not None else None,
        tried=_list_tried(log, module),
    )


def _read_build_id(what: str, library: ImageLibrary) -> tuple[bytes, str]:
    """(build-id, absolute path of the file or "")."""
    from perimortem.binary.elf_image import ElfImage

    if _BUILD_ID.fullmatch(what) and not Path(what).exists():
        return bytes.fromhex(what), ""
    try:
        image = library.open(Path(what)).image
    except OSError as error:
        why = f"it is no build-id in hex, and as a file: {error.strerror}"
        raise PerimortemError(f"{what!r} cannot be searched for", why=why) from error
    if not isinstance(image, ElfImage) or image.build_id is None:
        raise MalformedInput(f"{what} has no build-id", remedy="link it with -Wl,--build-id")
    return image.build_id, str(Path(what).resolve())


def list_symbol_file(path: Path) -> Iterator[str]:
    """The lines of Breakpad's symbol file of the program or library at ``path``.

    Its separate debug information is used as well, if it is where it usually is. Raises
    PerimortemError."""
    from perimortem.binary.elf_image import ElfImage
    from perimortem.model.snapshot import Module
    from perimortem.symbols.dump_symbols import write_symbols
    from perimortem.symbols.elf_symbols import read_elf_exports, read_elf_symbols
    from perimortem.symbols.files import FileFinder, ImageLibrary
    from perimortem.symbols.lines import NoLines

    with ImageLibrary() as library:
        try:
            file = library.open(path.resolve())
        except OSError as error:
            raise PerimortemError(f"{path} cannot be read", why=error.strerror or "") from error
        image = file.image
        if not isinstance(image, ElfImage):
            raise MalformedInput(f"{path} is no ELF file", remedy="dump_syms makes those of others")
        module = Module(0, 1, str(path.resolve()), image.build_id)
        finder = FileFinder(library, Path("/"))
        debug = finder.find_debug(module, image.build_id) if image.build_id is not None else None
        named = debug if debug is not None and isinstance(debug.image, ElfImage) else file
        assert isinstance(named.image, ElfImage)
        table = named.image.derive(read_elf_symbols) or image.derive(read_elf_exports)
        try:
            lines = library.open_lines(named)
        except NoLines:
            lines = None
        yield from write_symbols(
            image,
            path.name,
            list(table),
            lines,
            lambda code, address: _list_instructions(image, code, address),
            lambda: _list_frame_data(image),
        )


def _list_instructions(image: ElfImage, code: bytes, address: int) -> Iterator[int]:
    from perimortem.examine.disassemble import list_instructions

    return list_instructions(image.machine, code, address)


def _list_frame_data(image: ElfImage) -> Iterator[str]:
    from perimortem.binary.elf import EM_386, EM_AARCH64, EM_ARM
    from perimortem.unwind.cfi_text import list_stack_cfi
    from perimortem.unwind.machine import AARCH64, ARM, X86, X86_64

    machine = {EM_386: X86, EM_AARCH64: AARCH64, EM_ARM: ARM}.get(image.machine, X86_64)
    return list_stack_cfi(image, machine)
