"""Capture, then the writer of the format; they meet only in the snapshot."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial as bind
from pathlib import Path

assert sys.platform == "linux"

from perimortem.capture.linux.exit_stop import ExitStop
from perimortem.capture.linux.snapshot import Capture, capture
from perimortem.dumping.compressed import CompressedWriter
from perimortem.dumping.linux.output import SparseFile
from perimortem.dumping.naming import partial_path, publish
from perimortem.dumping.obstacles import check_space, write_error
from perimortem.dumping.output import PlainFile
from perimortem.dumping.progress import OnProgress, Progress
from perimortem.dumping.record import read_record
from perimortem.elfcore.writer import write_core
from perimortem.errors import ProcessGone
from perimortem.minidump.writer import write_minidump
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpFormat, DumpOptions, DumpResult, Pause
from perimortem.model.process import ProcessRef
from perimortem.model.snapshot import Snapshot
from perimortem.procfs.status import read_status

_STREAMS_ESTIMATE = 1 << 20
_NICENESS = 10
_AT_EXIT_S = 60
"""How long a process may be held at its exit. Arbitrary, as with other dumps."""


def write_dump(
    process: ProcessRef,
    path: Path,
    options: DumpOptions,
    crash: Crash | None = None,
    *,
    at_exit: bool = False,
    recorder: Path | None = None,
    on_progress: OnProgress | None = None,
    steps_back: bool = False,
) -> DumpResult:
    """Dump ``process`` to ``path``, which must not exist; the result lists what is missing.

    ``crash``: the crash report; the dump then has an exception, and the thread as it was then.

    ``at_exit``: wait until it is about to exit, and dump it then; it exits once the dump is complete.

    ``steps_back``: once the target runs again, yield the processors to it (nice), for good.

    The file appears under its name only when complete. Raises ProcessGone, AccessDenied, or
    CaptureFailed (disk full, size limit, another tracer); then no file is left.
    """
    if not at_exit:
        return _write(process, path, options, crash, None, recorder, on_progress, steps_back)
    stop = ExitStop(process.pid)
    try:
        if not stop.await_exit():
            raise ProcessGone(f"process {process.pid} has ended")
        signal.alarm(_AT_EXIT_S)  # then we end, and the kernel lets it end
        return _write(process, path, options, crash, stop, recorder, on_progress, steps_back)
    finally:
        stop.release()


def _write(
    process: ProcessRef,
    path: Path,
    options: DumpOptions,
    crash: Crash | None,
    at_exit: ExitStop | None,
    recorder: Path | None,
    on_progress: OnProgress | None,
    steps_back: bool,
) -> DumpResult:
    partial = partial_path(path, os.getpid())
    record = read_record(recorder, process, options.types)
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        try:
            with capture(process, options, crash, at_exit) as captured:
                snapshot = replace(captured.snapshot, record=record)
                total = sum(memory.size for memory in snapshot.memory)
                if steps_back and captured.pause is not Pause.STOP:
                    with suppress(OSError):
                        os.nice(_NICENESS)
                _check_space(path, _held_bytes(process.pid, total))
                _write_file(fd, snapshot, captured, options, _report(on_progress, total))
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        final = publish(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return DumpResult(
        path=str(final),
        types=captured.types,
        size_bytes=size,
        target_paused_ms=round(captured.paused_ms, 3),
        thread_count=len(snapshot.threads),
        soft_errors=tuple(snapshot.soft_errors),
        pause=captured.pause,
    )


def _write_file(
    fd: int,
    snapshot: Snapshot,
    captured: Capture,
    options: DumpOptions,
    on_progress: bind[None] | None,
) -> None:
    out: CompressedWriter | SparseFile
    if options.compress:
        out = CompressedWriter(PlainFile(fd).write_at, on_progress)
    else:
        out = SparseFile(fd, on_progress)
    with closing(out):
        if options.format is DumpFormat.CORE:
            write_core(snapshot, out)
        else:
            write_minidump(snapshot, captured.types, out)
        out.finish()


def _report(on_progress: OnProgress | None, total_bytes: int) -> bind[None] | None:
    if on_progress is None:
        return None
    return bind(_notify, on_progress, total_bytes, time.monotonic())


def _notify(on_progress: OnProgress, total_bytes: int, since: float, position: int) -> None:
    done = min(position, total_bytes)
    on_progress(Progress(done, total_bytes, time.monotonic() - since))


def _held_bytes(pid: int, chosen_bytes: int) -> int:
    """Untouched mapped memory occupies no space: holes."""
    status = read_status(pid)
    return chosen_bytes if status is None else min(status.held_bytes, chosen_bytes)


def _check_space(path: Path, memory_bytes: int) -> None:
    facts = os.statvfs(path.parent)
    free, total = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    check_space(path, memory_bytes + _STREAMS_ESTIMATE, free, total)
