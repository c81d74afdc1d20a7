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

    The process says where its stack is. A page of a file may be behind a file system that never answers,
    and reading it would wait for ever: only anonymous memory is read.
    """
    regions = parse_maps(read_file(f"/proc/{pid}/maps"))
    home = find_region(regions, stack_pointer)
    if home is None or home.path.startswith("/") or home.shared:
        return None
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(stack_pointer & ~7)
            data = memory.read(min(_STACK_BYTES, home.end - (stack_pointer & ~7)))
    except (OSError, ValueError):
        return None
    for (word,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8]):
        region = find_region(regions, word)
        if region is None or not region.executable or not region.path.startswith("/"):
            continue
        if not _RUNTIME.fullmatch(region.path):
            return printable(region.path), word - region.start + region.file_offset
    return None
