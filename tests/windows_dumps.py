"""Dumps that were written on Windows or under Wine, opened by udmp-parser and by our own reader.

    python tests/windows_dumps.py FOLDER      (make test-windows)

Threads with their instruction pointers, and modules with base and size, must be the same. Their stacks
are walked by the tables of the programs and of Wine's own libraries, down to where every thread begins.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import udmp_parser

from perimortem.dumping.open import open_snapshot
from perimortem.minidump.context import read_context_amd64
from perimortem.minidump.format import Directory, StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.stack import FrameTrust
from perimortem.symbols.cache import SymbolCache
from perimortem.symbols.files import FileFinder, ImageLibrary
from perimortem.symbols.provider import Symbols
from perimortem.unwind.walk import StackWalker


def read_ours(path: Path) -> tuple[dict[int, int], dict[int, tuple[str, int]]]:
    data = path.read_bytes()
    dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    threads = {}
    for thread in dump.read_threads(dump.find(StreamType.ThreadListStream)):
        registers = read_context_amd64(dump.read_bytes(thread.context_rva, thread.context_size))
        threads[thread.thread_id] = registers["rip"]
    modules = {
        module.raw.base: (module.name, module.raw.image_size)
        for module in dump.read_modules(dump.find(StreamType.ModuleListStream))
    }
    return threads, modules


def read_theirs(path: Path) -> tuple[dict[int, int], dict[int, tuple[str, int]]]:
    dump = udmp_parser.UserDumpParser()
    with tempfile.NamedTemporaryFile(suffix=".dmp") as copy:
        copy.write(hide_lone_memory(path.read_bytes()))
        copy.flush()
        assert dump.Parse(Path(copy.name)), f"udmp-parser does not open {path}"
    threads = {tid: thread.Context.Rip for tid, thread in dump.Threads().items()}
    modules = {base: (m.ModuleName, m.SizeOfImage) for base, m in dump.Modules().items()}
    return threads, modules


def hide_lone_memory(data: bytes) -> bytes:
    """udmp-parser gives up on a Memory64List without a MemoryInfoList, and Wine 8 writes none: such a
    list is marked unused in the directory. Windows writes both."""
    dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    memory = dump.find(StreamType.Memory64ListStream)
    if memory is None or dump.find(StreamType.MemoryInfoListStream) is not None:
        return data
    at = dump.header.stream_directory_rva + memory.index * Directory.size()
    return data[:at] + bytes(4) + data[at + 4 :]


def check_stacks(path: Path, programs: Path) -> list[str]:
    """Every thread down to RtlUserThreadStart by tables alone; the functions of the first."""
    libraries = next(Path("/").glob("usr/lib/*/wine/x86_64-windows"))
    with open_snapshot(path) as snapshot, ImageLibrary() as library:
        finder = FileFinder(library, Path("/"), (programs, libraries))
        with tempfile.TemporaryDirectory() as folder:
            symbols = Symbols(snapshot, finder, SymbolCache(Path(folder)), with_lines=False)
            walker = StackWalker(snapshot, symbols.find_image)
            stacks = list(walker.walk_all())
            names = [[symbols.name(frame).function for frame in s.frames] for s in stacks]
    for stack, functions in zip(stacks, names, strict=True):
        assert stack.is_whole, f"{path}, thread {stack.tid}: {stack.end}"
        assert functions[-1] == "RtlUserThreadStart", functions
        trusts = {frame.trust for frame in stack.frames[1:]}
        assert trusts == {FrameTrust.CFI}, trusts
    assert {"main", "wmain"} & set(names[0]), names[0]
    return [name for name in names[0] if name]


def main() -> int:
    paths = sorted(Path(sys.argv[1]).glob("*.dmp"))
    assert len(paths) >= 3, f"the tests left no dumps in {sys.argv[1]}"
    for path in paths:
        ours, theirs = read_ours(path), read_theirs(path)
        assert ours[0] == theirs[0], f"{path}: threads differ"
        assert ours[1] == theirs[1], f"{path}: modules differ"
        print(f"{path.name}: {len(ours[0])} threads and {len(ours[1])} modules, the same in both")
        print(f"  {' < '.join(check_stacks(path, Path(sys.argv[1]).parent / 'programs'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
