"""The caller of the C library, cheaply: enough to distinguish one abort() from another, not a stack."""

from __future__ import annotations

import re
import struct
import sys

assert sys.platform == "linux"

from perimortem.binary.proc_maps import parse_maps
from perimortem.binary.regions import find_region
from perimortem.procfs.file import read_file
from perimortem.text import printable

_STACK_BYTES = 8 << 10
_RUNTIME = re.compile(r".*/(ld-linux|ld-musl|libc|libpthread|libstdc\+\+|libgcc_s|libc\+\+)[-.].*")


def guess_caller(pid: int, stack_pointer: int) -> tuple[str, int] | None:
    """(path, offset into the file) of the first word on the stack that may be a return address into
    code that is not the runtime's own. None if nothing can be read.
    """
    regions = parse_maps(read_file(f"/proc/{pid}/maps"))
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(stack_pointer & ~7)
            data = memory.read(_STACK_BYTES)
    except (OSError, ValueError):
        return None
    for (word,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8]):
        region = find_region(regions, word)
        if region is None or not region.executable or not region.path.startswith("/"):
            continue
        if not _RUNTIME.fullmatch(region.path):
            return printable(region.path), word - region.start + region.file_offset
    return None
