"""Capture a live process: it is stopped while its stacks are copied and its Python frames are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from perimortem.model.dump import DumpOptions, MinidumpType

if TYPE_CHECKING:
    from perimortem.analysis.python_locks import PythonLock
    from perimortem.examine.options import ExamineOptions
    from perimortem.model.examination import Examination
    from perimortem.model.process import ProcessRef
    from perimortem.model.python_stack import PythonThread
    from perimortem.model.snapshot import ReadMemory, Snapshot

NEEDS_DUMP = False
"""The process is read directly; on systems where that takes a dump, an existing one is used."""
_TYPES = MinidumpType.NORMAL | MinidumpType.WITH_PROCESS_THREAD_DATA


@contextmanager
def capture_process(
    process: ProcessRef, options: ExamineOptions
) -> Iterator[Callable[[ExamineOptions], Examination]]:
    """What examines it afterwards, without any right to look at it; it runs on before the body does.

    Raises ProcessGone, AccessDenied or CaptureFailed."""
    # The monitor imports this module and leaves the work to an examiner.
    from perimortem.analysis.python_locks import find_python_locks
    from perimortem.capture.linux.snapshot import capture
    from perimortem.examine.own_python import add_holder, read_own
    from perimortem.examine.python_frames import NoPythonFrames, read_live
    from perimortem.examine.snapshot import NO_PYTHON, examine_snapshot, find_interpreter

    threads: list[PythonThread] = []
    notes: list[str] = []
    locks: dict[int, PythonLock] = {}

    def while_stopped(snapshot: Snapshot, read: ReadMemory) -> None:
        if options.with_python and find_interpreter(snapshot) is not None:
            locks.update(find_python_locks(snapshot.threads, snapshot.regions, read))
            own: list[PythonThread] = []
            with suppress(NoPythonFrames):
                own = read_own(snapshot, read)
            try:
                threads.extend(add_holder(own, read_live(process.pid)))
            except NoPythonFrames as error:
                threads.extend(own)
                if not own:
                    notes.append(f"{NO_PYTHON}: {error}")

    with (
        _open_root(process.pid) as root,
        capture(process, DumpOptions(_TYPES), while_stopped=while_stopped) as taken,
    ):
        yield lambda options: examine_snapshot(
            taken.snapshot,
            replace(options, root=options.root if root is None else root),
            threads,
            locks,
            notes,
            taken.paused_ms,
        )


@contextmanager
def _open_root(pid: int) -> Iterator[Path | None]:
    """Its root directory; it stays accessible when we lose the right to look at the process. None: ours,
    or it is gone."""
    try:
        fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield None if os.path.samestat(os.fstat(fd), os.stat("/")) else Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
