"""The kernel's vdso: no file, and incomplete in small dumps; ours is the same if the kernel is."""

from __future__ import annotations

import sys

from perimortem.binary.elf_image import ElfImage
from perimortem.binary.proc_maps import iterate_maps
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Module, ReadMemory

_BYTES_MAX = 64 << 10


def find_vdso(module: Module, read: ReadMemory) -> ElfImage | None:
    """From the snapshot's memory, else our own if its build-id is the same."""
    size = min(module.size, _BYTES_MAX)
    data = read(module.base, size)
    if len(data) < size and module.build_id is not None:
        own = _read_own()
        try:
            image = _open(own)
        except MalformedInput:
            return None
        return image if image.build_id == module.build_id else None
    try:
        return _open(data)
    except MalformedInput:
        return None


def _open(data: bytes) -> ElfImage:
    # It is a complete file in memory: offsets and addresses are equal, sections are present.
    return ElfImage(lambda offset, size: data[offset : offset + size])


def _read_own() -> bytes:
    if sys.platform != "linux":
        return b""
    try:
        with open("/proc/self/maps", "rb") as maps:
            regions = iterate_maps(maps.read())
        vdso = next((region for region in regions if region.path == "[vdso]"), None)
        if vdso is None:
            return b""
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(vdso.start)
            return memory.read(vdso.size)
    except (OSError, ValueError):
        return b""
