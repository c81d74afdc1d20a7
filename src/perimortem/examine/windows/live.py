"""Capture a live process by a small dump of it, which is deleted afterwards."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

assert sys.platform == "win32"

from perimortem.dumping.write import write_dump
from perimortem.errors import CaptureFailed
from perimortem.examine.dump_file import examine_dump
from perimortem.examine.options import ExamineOptions
from perimortem.model.dump import DumpOptions, MinidumpType
from perimortem.model.examination import Examination
from perimortem.model.process import ProcessRef

NEEDS_DUMP = True
"""The process is read directly; on systems where that takes a dump, an existing one is used."""
_TYPES = MinidumpType.NORMAL | MinidumpType.WITH_THREAD_INFO | MinidumpType.WITH_FULL_MEMORY_INFO


@contextmanager
def capture_process(
    process: ProcessRef, options: ExamineOptions
) -> Iterator[Callable[[ExamineOptions], Examination]]:
    """What examines it afterwards. Raises ProcessGone, AccessDenied or CaptureFailed."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="perimortem-"))
        path = Path(folder) / "live.dmp"
        result = write_dump(process, path, DumpOptions(_TYPES))
        if result.path is None:
            raise CaptureFailed(result.error or "its stacks could not be read")

        def examine(options: ExamineOptions) -> Examination:
            examination = stack.enter_context(examine_dump(path, options))
            return replace(examination, paused_ms=result.target_paused_ms)

        yield examine
