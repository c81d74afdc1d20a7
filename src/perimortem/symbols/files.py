"""The files of modules and of their debug information, found, and verified by build-id.

A module is searched for in DIR of --symbols (by build-id, by name, as a root directory), then at its
path in the process (for a live process: in its own root). Debug information: in the file
itself, DIR/.build-id, /usr/lib/debug/.build-id; and what symbol servers have, if they are asked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from perimortem.binary.elf_image import ElfImage
from perimortem.binary.pe_image import PeImage
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Module
from perimortem.symbols.lines import LineFinder, open_lines
from perimortem.symbols.tried import FOUND, NOT_THERE, Fetch, SearchLog
from perimortem.symbols.wanted import Wanted, base_name, derive_debug_id

_DEBUG_ROOT = Path("/usr/lib/debug")
Image = ElfImage | PeImage


@dataclass(frozen=True)
class ImageFile:
    """An image and the file that it is in."""

    path: Path
    image: Image


class ImageLibrary:
    """Opened files, each once: many dumps of one program have the same images."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, int, int, int], ImageFile] = {}
        self._open: list[_File] = []
        self._lines: dict[Path, LineFinder | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, path: Path) -> ImageFile:
        """Raises OSError, or MalformedInput if it is not a readable image.

        Only regular files are opened: a name in a dump may be anything, and opening a device does
        something.
        """
        known = os.stat(path)
        if not stat.S_ISREG(known.st_mode):
            raise MalformedInput(f"{path} is not a regular file")
        key = (str(path), known.st_ino, known.st_mtime_ns, known.st_size)
        found = self._files.get(key)
        if found is None:
            found = self._files[key] = self._open_new(path)
        return found

    def open_lines(self, file: ImageFile) -> LineFinder | None:
        """Files and lines of an ELF image; the reader takes long to open, too. Raises NoLines."""
        if file.path not in self._lines and isinstance(file.image, ElfImage):
            self._lines[file.path] = open_lines(file.path, file.image)
        return self._lines.get(file.path)

    def close(self) -> None:
        """Closes all; the images then know only what they have read."""
        for file in self._open:
            file.close()
        self._open.clear()
        self._files.clear()
        self._lines.clear()

    def _open_new(self, path: Path) -> ImageFile:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # replaced meanwhile
            os.close(fd)
            raise MalformedInput(f"{path} is not a regular file")
        file = _File(fd)
        try:
            kind = PeImage if file.read(0, 2) == b"MZ" else ElfImage
            found = ImageFile(path, kind(file.read))
        except MalformedInput as error:
            file.close()
            raise MalformedInput(f"{path}: {error}") from error
        self._open.append(file)
        return found


class _File:
    """Reads at any place; once closed it is empty."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "rb", buffering=0)
        self.close = self._file.close

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size <= 0 or offset >= 1 << 63:
            return b""
        try:
            self._file.seek(offset)
            return self._file.read(size) or b""
        except (OSError, OverflowError, ValueError):
            return b""


class FileFinder:
    """Searches for the files of one snapshot's modules."""

    def __init__(
        self,
        library: ImageLibrary,
        root: Path,
        symbol_dirs: tuple[Path, ...] = (),
        *,
        fetch: Fetch | None = None,
        log: SearchLog | None = None,
    ) -> None:
        """``root``: prepended to the paths of modules: "/", or the root directory of a process;
        ``fetch``: asks symbol servers; ``log``: of what is tried."""
        self.library = library
        self._root, self._dirs, self._fetch = root, symbol_dirs, fetch
        self._log = log if log is not None else SearchLog()

    def find_module(self, module: Module, head: bytes) -> ImageFile | str:
        """The file, or a text that says why there is none.

        ``head``: the first bytes of the module in memory, as far as known; they replace the build-id
        if a module has none.
        """
        mismatch = ""
        for path in self._list_with_fetched(module, Wanted.PROGRAM, self._list_candidates(module)):
            try:
                found = self.library.open(path)
            except MalformedInput as error:
                mismatch = mismatch or str(error)
                self._log.note(module, Wanted.PROGRAM, path, str(error))
                continue
            except (OSError, ValueError):
                self._log.note(module, Wanted.PROGRAM, path, NOT_THERE)
                continue
            reason = _describe_mismatch(found, module, head)
            if not reason and isinstance(found.image, ElfImage) and not found.image.has_code:
                self._log.note(module, Wanted.PROGRAM, path, "debug information only")
                continue
            self._log.note(module, Wanted.PROGRAM, path, reason or FOUND)
            if not reason:
                return found
            mismatch = mismatch or reason
        return mismatch or "its file does not exist here"

    def find_debug(self, module: Module, build_id: bytes) -> ImageFile | None:
        """A file with the separate debug information."""
        places = self._list_debug_files(module, build_id)
        for path in self._list_with_fetched(module, Wanted.DEBUG, places):
            found = self._open_if(path, build_id)
            outcome = FOUND if found is not None else NOT_THERE
            if found is None and path.exists():
                outcome = "another version, or no ELF file"
            self._log.note(module, Wanted.DEBUG, path, outcome)
            if found is not None:
                return found
        return None

    def _list_with_fetched(
        self, module: Module, wanted: Wanted, places: Iterator[Path]
    ) -> Iterator[Path]:
        """Last what the servers have: they are asked when nothing else was of use."""
        yield from places
        if self._fetch is None:
            return
        fetched = self._fetch(module, wanted)
        for tried in fetched.tried:
            self._log.note(module, wanted, tried.place, tried.outcome)
        if fetched.path is not None:
            yield fetched.path

    def find_symbol_files(self, module: Module) -> Iterator[Path]:
        """Files of Breakpad (.sym), PDBs and dSYMs that may be of it: NAME/IDENTITY/FILE, as symbol
        servers have them, or by name alone; a PDB also next to its program."""
        places = self._list_symbol_files(module)
        return self._list_with_fetched(module, Wanted.SYMBOLS, places)

    def note_symbol_file(self, module: Module, path: Path, outcome: str) -> None:
        self._log.note(module, Wanted.SYMBOLS, path, outcome)

    def _list_symbol_files(self, module: Module) -> Iterator[Path]:
        name = base_name(module.path)
        stem = name.removesuffix(".pdb").removesuffix(".dll").removesuffix(".exe")
        pdb = base_name(module.debug_file) or stem + ".pdb"
        is_named = all(part not in ("", ".", "..") for part in (name, stem, pdb))
        for directory in self._dirs if is_named else ():
            for file in dict.fromkeys((name, stem, pdb)):
                if (directory / file).is_dir():
                    yield from sorted((directory / file).glob("*/*.sym"))
            for file in dict.fromkeys((name, stem)):
                yield directory / f"{file}.sym"
            if module.debug_id is not None:
                yield directory / pdb / module.debug_id / pdb
                yield directory / pdb
                for app in (f"{name}.dSYM", f"{name}.app.dSYM"):
                    yield directory / app / "Contents/Resources/DWARF" / name
        if module.debug_id is not None and is_named and os.name == "nt":
            yield Path(module.path).with_name(pdb)
            yield Path(module.debug_file)

    def _list_debug_files(self, module: Module, build_id: bytes) -> Iterator[Path]:
        by_id = _build_id_name(build_id) + ".debug"
        name = base_name(module.path)
        is_named = name not in ("", ".", "..")
        for directory in (*self._dirs, _DEBUG_ROOT):
            yield directory / ".build-id" / by_id
            yield directory / "usr/lib/debug/.build-id" / by_id
            yield directory / f"{build_id.hex()}.debug"
            yield directory / "buildid" / build_id.hex() / "debuginfo"
            if is_named:
                yield directory / f"{name}.debug"
                yield directory / ".debug" / f"{name}.debug"
        if module.path.startswith("/") and is_named:
            there = self._root / module.path.lstrip("/")
            yield there.with_name(f"{name}.debug")
            yield there.parent / ".debug" / f"{name}.debug"
            yield _DEBUG_ROOT / f"{module.path.lstrip('/')}.debug"

    def _open_if(self, path: Path, build_id: bytes) -> ImageFile | None:
        try:
            found = self.library.open(path)
        except (OSError, MalformedInput, ValueError):
            return None
        is_same = isinstance(found.image, ElfImage) and found.image.build_id == build_id
        return found if is_same else None

    def _list_candidates(self, module: Module) -> Iterator[Path]:
        name = base_name(module.path)
        for directory in self._dirs:
            if module.build_id is not None:
                by_id = directory / ".build-id" / _build_id_name(module.build_id)
                yield by_id
                yield by_id.with_name(by_id.name + ".debug")
                yield directory / module.build_id.hex()
                yield directory / "buildid" / module.build_id.hex() / "executable"
            if name not in ("", ".", ".."):
                if module.timestamp:
                    yield directory / name / f"{module.timestamp:08X}{module.size:x}" / name
                yield directory / name
            if module.path.startswith("/"):
                yield directory / module.path.lstrip("/")
        if module.path.startswith("/"):
            yield self._root / module.path.lstrip("/")
        elif os.name == "nt":
            yield Path(module.path)


def _describe_mismatch(found: ImageFile, module: Module, head: bytes) -> str:
    """ "" if it is the file of the module."""
    image = found.image
    if isinstance(image, PeImage):
        is_same = image.image_size == module.size and module.timestamp in (0, image.timestamp)
        return "" if is_same else f"{found.path} is another version of it"
    if module.build_id is not None:
        if image.build_id == module.build_id:
            return ""
        there = image.build_id.hex() if image.build_id else "none"
        return f"{found.path} is another version: its build-id is {there}"
    if module.debug_id is not None:
        is_same = image.build_id is not None and derive_debug_id(image.build_id) == module.debug_id
        return "" if is_same else f"{found.path} is another version"
    size = min(len(head), 4096)
    if image.build_id is not None and size:
        return f"{found.path} has a build-id, the module of the process has none"
    return (
        "" if not size or image.read(0, size) == head[:size] else f"{found.path} is another version"
    )


def _build_id_name(build_id: bytes) -> str:
    text = build_id.hex()
    return f"{text[:2]}/{text[2:]}"
