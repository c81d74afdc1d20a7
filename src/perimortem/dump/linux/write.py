"""Capture, then the minidump writer; they meet only in the snapshot."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.capture.linux.exit_stop import ExitStop
from perimortem.capture.linux.snapshot import capture
from perimortem.dump.naming import partial_path, publish
from perimortem.errors import CaptureFailed, ProcessGone
from perimortem.minidump.writer import write_minidump
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.process import ProcessRef

KEEP_FREE_SHARE = 20
"""A dump leaves at least a twentieth of the disk free, or 1 GiB of a large one."""
_KEEP_FREE_MAX = 1 << 30
_STREAMS_ESTIMATE = 1 << 20
_AT_EXIT_S = 60
"""So long a process may stand at its end. Arbitrary, as other dumps have it."""


def write_dump(
    process: ProcessRef,
    path: Path,
    types: MinidumpType,
    crash: Crash | None = None,
    *,
    at_exit: bool = False,
) -> DumpResult:
    """Dump ``process`` to ``path``, which must not exist; the result names what is missing.

    ``crash``: what its handler told; the dump then has an exception, and the thread as it was then.

    ``at_exit``: wait until it is about to end, and dump it then; it ends when the dump is there.

    The file appears under its name only when it is whole. Raises ProcessGone, AccessDenied, or
    CaptureFailed (disk full, size limit, another tracer); then no file is left.
    """
    if not at_exit:
        return _write(process, path, types, crash, None)
    stop = ExitStop(process.pid)
    try:
        if not stop.await_exit():
            raise ProcessGone(f"process {process.pid} has ended")
        signal.alarm(_AT_EXIT_S)  # then we end, and the kernel lets it end
        return _write(process, path, types, crash, stop)
    finally:
        stop.release()


def _write(
    process: ProcessRef,
    path: Path,
    types: MinidumpType,
    crash: Crash | None,
    at_exit: ExitStop | None,
) -> DumpResult:
    partial = partial_path(path, os.getpid())
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        with (
            open(fd, "wb", buffering=0) as file,
            capture(process, types, crash, at_exit) as captured,
        ):
            snapshot = captured.snapshot
            _check_space(path, sum(memory.size for memory in snapshot.memory))
            size = write_minidump(snapshot, types, _WholeWrites(file.fileno()))
        final = publish(partial, path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return DumpResult(
        path=str(final),
        types=types,
        size_bytes=size,
        target_paused_ms=round(captured.paused_ms, 3),
        thread_count=len(snapshot.threads),
        soft_errors=tuple(snapshot.soft_errors),
    )


class _WholeWrites:
    """A descriptor whose writes are complete: write(2) may take less than it was given."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes | memoryview, /) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)


def _check_space(path: Path, memory_bytes: int) -> None:
    facts = os.statvfs(path.parent)
    free = facts.f_bavail * facts.f_frsize
    keep = min(facts.f_blocks * facts.f_frsize // KEEP_FREE_SHARE, _KEEP_FREE_MAX)
    needed = memory_bytes + _STREAMS_ESTIMATE
    if free - needed < keep:
        raise CaptureFailed(
            f"no dump was written to {path.parent}",
            why=f"it needs {needed >> 20} MiB, {free >> 20} MiB are free, {keep >> 20} MiB stay so",
            remedy="free some space, take a smaller type, or set PERIMORTEM_DATA_DIR",
        )


def _write_error(path: Path, error: OSError) -> CaptureFailed:
    if error.errno == errno.EEXIST:
        return CaptureFailed(
            f"cannot write {path}", why="it exists already", remedy="name another file with -o"
        )
    if error.errno == errno.EFBIG:
        return CaptureFailed(
            f"cannot write {path}",
            why="the dump is larger than the limit set for it",
            remedy="take a smaller type",
        )
    return CaptureFailed(f"cannot write {path}", why=error.strerror or str(error))
