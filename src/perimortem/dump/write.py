"""Write a dump of a live process: the one call that differs by operating system."""

from __future__ import annotations

import sys
from pathlib import Path

from perimortem.errors import UnsupportedPlatform
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.process import ProcessRef


def write_dump(process: ProcessRef, path: Path, types: MinidumpType) -> DumpResult:
    """Dump ``process`` to ``path``, which must not exist; the result names what is missing.

    The file appears under its name only when it is whole. Raises ProcessGone, AccessDenied, or
    CaptureFailed (disk full, size limit, another tracer); then no file is left.
    """
    if sys.platform == "linux":
        from perimortem.dump.linux import write_linux_dump

        return write_linux_dump(process, path, types)
    raise UnsupportedPlatform("dump a process")
