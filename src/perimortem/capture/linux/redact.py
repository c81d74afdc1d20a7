"""What is removed from a snapshot that will be shared: data on stacks, directories, names of data.

docs/secrets.md says what a triage dump keeps; tests/system/test_secrets.py looks for the rest in its
bytes.
"""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_right
from dataclasses import replace

from perimortem.binary.regions import find_region, list_code
from perimortem.capture.linux.copied_memory import CopiedMemory
from perimortem.model.snapshot import MemoryRange, Region, Registers, Snapshot

_WORD = 8
_FILE, _ANONYMOUS = "[file]", "[anon]"
REMOVED_REGISTER = 0xBAD0BAD0BAD0BAD0
"""Not a canonical address: an access by it is still explained as one by a bad pointer."""
_ALWAYS_KEPT = ("cs", "ss", "ds", "es", "fs", "gs", "fs_base", "gs_base", "eflags")
_SMALL = 0x10000
_POINTERS = range(1 << 40, 1 << 47)
_WORDS_END = 1 << 64
_OF_PROCESS = ("[heap]", "[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]")
_PERSONAL_STATUS = re.compile(rb"^(?:Name|Uid|Gid|Groups):.*\n", re.M)
_MAPS_LINE = re.compile(rb"^((?:\S+ +){5})(\S.*)$", re.M)
_IN_BRACKETS = re.compile(r"\((?:[^()]*/[^()]*|\[anon[^()]*)\)")
_MAPS_PATH = re.compile(rb"^((?:\S+ +){5})/.*?([^/\n]*)$", re.M)


def filter_memory(snapshot: Snapshot, stacks: list[MemoryRange]) -> Snapshot:
    """MiniDumpFilterMemory: words of ``stacks`` that no trace needs, and vector registers, which may
    hold strings.

    ``snapshot`` holds copies of its memory.
    """
    threads = tuple(
        replace(thread, registers=thread.registers and Registers(thread.registers.general))
        for thread in snapshot.threads
    )
    code = list_code(snapshot.regions)
    filtered = []
    for memory in snapshot.memory if stacks else ():
        data = snapshot.content.read(memory.address, memory.size)
        end = memory.address + memory.size
        for stack in stacks:
            if stack.address < end and memory.address < stack.address + stack.size:
                kept = sorted([*code, (stack.address, stack.address + stack.size)])
                data = _filter_stack(memory.address, data, stack, kept)
        filtered.append((memory.address, data))
    content = CopiedMemory(filtered) if filtered else snapshot.content
    return replace(snapshot, threads=threads, content=content)


def filter_paths(snapshot: Snapshot) -> Snapshot:
    """MiniDumpFilterModulePaths: each path becomes its last part; the command line is removed."""
    dso = snapshot.dso_debug
    files = {name: text for name, text in snapshot.files.items() if name != "cmdline"}
    if "maps" in files:
        files["maps"] = _MAPS_PATH.sub(rb"\1\2", files["maps"])
    return replace(
        snapshot,
        modules=tuple(replace(m, path=_last_part(m.path)) for m in snapshot.modules),
        regions=tuple(replace(r, path=_last_part(r.path)) for r in snapshot.regions),
        handles=snapshot.handles
        and tuple(
            replace(
                handle,
                object_name=_last_part(handle.object_name),
                details={k: v for k, v in handle.details.items() if "/" not in str(v)},
            )
            for handle in snapshot.handles
        ),
        dso_debug=dso
        and replace(dso, objects=tuple(replace(o, name=_last_part(o.name)) for o in dso.objects)),
        files=files,
    )


def filter_triage(snapshot: Snapshot) -> Snapshot:
    """MiniDumpFilterTriage: no names but those of modules. Threads, files, shared memory and sockets
    may be called after what they work on; the user who runs the program is left out as well."""
    modules = {_last_part(module.path) for module in snapshot.modules}
    files = dict(snapshot.files)
    if "status" in files:
        files["status"] = _PERSONAL_STATUS.sub(b"", files["status"])
    if "maps" in files:
        files["maps"] = _MAPS_LINE.sub(
            lambda line: line[1] + os.fsencode(_name_region(os.fsdecode(line[2]), modules)),
            files["maps"],
        )
    snapshot.soft_errors[:] = [
        _IN_BRACKETS.sub(f"({_FILE})", error) for error in snapshot.soft_errors
    ]
    return replace(
        snapshot,
        threads=tuple(
            replace(
                thread,
                name="",
                registers=thread.registers and filter_registers(thread.registers, snapshot.regions),
            )
            for thread in snapshot.threads
        ),
        exception=snapshot.exception
        and replace(
            snapshot.exception,
            address=_filter_pointer(snapshot.exception.address, snapshot.regions),
            parameters=tuple(
                _filter_pointer(value, snapshot.regions) for value in snapshot.exception.parameters
            ),
        ),
        regions=tuple(
            replace(region, path=_name_region(region.path, modules)) for region in snapshot.regions
        ),
        handles=snapshot.handles
        and tuple(
            replace(
                handle,
                object_name=handle.object_name if handle.type_name in ("pipe", "socket") else "",
                details={k: v for k, v in handle.details.items() if isinstance(v, int)},
            )
            for handle in snapshot.handles
        ),
        token=None,
        files=files,
    )


def filter_registers(registers: Registers, regions: tuple[Region, ...]) -> Registers:
    """A short string is copied through general registers, and stays in them."""
    return Registers(
        {
            name: value if name in _ALWAYS_KEPT else _filter_pointer(value, regions)
            for name, value in registers.general.items()
        }
    )


def _filter_pointer(value: int, regions: tuple[Region, ...]) -> int:
    """What is an address, once was one, is a small number or a pattern that fills memory."""
    is_small = value < _SMALL or value >= _WORDS_END - _SMALL
    if is_small or value >> 32 == value & 0xFFFFFFFF or find_region(regions, value) is not None:
        return value
    return value if value in _POINTERS and not _is_text(value) else REMOVED_REGISTER


def _is_text(value: int) -> bool:
    raw = value.to_bytes(8, "little").strip(b"\0")
    return all(0x20 <= byte < 0x7F for byte in raw)


def _name_region(path: str, modules: set[str]) -> str:
    name = _last_part(path)
    if not path or name in modules or path in _OF_PROCESS:
        return name
    return _ANONYMOUS if path.startswith("[") else _FILE


def _filter_stack(at: int, data: bytes, stack: MemoryRange, kept: list[tuple[int, int]]) -> bytes:
    start = max(0, stack.address - at)
    end = min(len(data), stack.address + stack.size - at)
    if start >= end:
        return data
    return data[:start] + filter_words(data[start:end], kept) + data[end:]


def filter_words(data: bytes, kept: list[tuple[int, int]]) -> bytes:
    """Zeroes stack words that point into none of the (start, end) in ``kept``, which are in order.

    ``data`` begins at a multiple of eight; a partial last word is zeroed, too.
    """
    words = array("Q", data[: len(data) // _WORD * _WORD])
    starts = [start for start, _ in kept]
    least, most = kept[0][0], max(end for _, end in kept)
    for index, word in enumerate(words):
        if not word:
            continue
        at = bisect_right(starts, word) - 1 if least <= word < most else -1
        if at < 0 or word >= kept[at][1]:
            words[index] = 0
    return words.tobytes() + bytes(len(data) % _WORD)


def _last_part(path: str) -> str:
    return path.rpartition("/")[2] if path.startswith("/") else path
