"""What is removed from a snapshot that will be shared: data on stacks, directories."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import replace

from perimortem.binary.regions import list_code
from perimortem.capture.linux.copied_memory import CopiedMemory
from perimortem.model.snapshot import MemoryRange, Registers, Snapshot

_WORD = 8
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
