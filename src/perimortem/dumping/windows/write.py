"""DbgHelp writes the file; it is read back, and what was requested and is missing is reported."""

from __future__ import annotations

import msvcrt
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

assert sys.platform == "win32"

from perimortem.dumping.missing import find_missing
from perimortem.dumping.naming import partial_path, publish
from perimortem.dumping.obstacles import check_space, exists_error, size_error, write_error
from perimortem.dumping.progress import OnProgress
from perimortem.dumping.windows import guard
from perimortem.dumping.windows.dbghelp import write_minidump
from perimortem.dumping.windows.pss import take_snapshot
from perimortem.dumping.windows.refusal import denied_error, refuse_32_bit
from perimortem.dumping.windows.rights import choose_rights
from perimortem.errors import CaptureFailed, MalformedInput, ProcessGone
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpFormat, DumpOptions, DumpResult, MinidumpType, Pause
from perimortem.model.process import ProcessRef
from perimortem.proc import read_stat
from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error
from perimortem.winapi.process import estimate_memory

_STREAMS_ESTIMATE = 16 << 20
_HRESULT_FACILITY = 0x80070000
_ERROR_PARTIAL_COPY = 299


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

    ``at_exit``: not on this system.

    The file appears under its name only when complete. Raises ProcessGone, AccessDenied, or
    CaptureFailed (disk full, size limit, a 32-bit target); then no file is left.
    """
    types = options.types
    _refuse_options(options)
    if at_exit:
        raise CaptureFailed("dumps at the exit of a process are not available on Windows")
    if path.exists():
        raise exists_error(path)
    partial = partial_path(path, os.getpid())
    rights = choose_rights(types) | kernel32.PROCESS_CREATE_PROCESS
    try:
        with kernel32.open_process(_grantable(rights, process.pid), process.pid) as handle:
            if not handle:
                raise denied_error(process.pid, choose_rights(types), last_error())
            _check_identity(process)
            refuse_32_bit(process.pid, handle)
            is_full = bool(types & MinidumpType.WITH_FULL_MEMORY)
            _check_space(path, estimate_memory(handle) if is_full else 0)
            paused_ms, pause, soft_errors = _write(handle, process, partial, types, crash)
        size = partial.stat().st_size
        thread_count, missing = _read_back(partial, types)
        final = publish(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return DumpResult(
        path=str(final),
        types=types,
        size_bytes=size,
        target_paused_ms=round(paused_ms, 3),
        thread_count=thread_count,
        soft_errors=(*soft_errors, *missing),
        pause=pause,
    )


def _write(
    handle: int, process: ProcessRef, partial: Path, types: MinidumpType, crash: Crash | None
) -> tuple[float, Pause, list[str]]:
    """(how long the target was paused at most, in ms; from a snapshot or not; soft errors)"""
    soft_errors = []
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_BINARY | os.O_NOINHERIT)
    with open(fd, "wb") as file:
        began_ns = time.perf_counter_ns()
        with take_snapshot(handle, types) as (snapshot, why_not):
            if snapshot is None:
                soft_errors.append(why_not)
            paused_ms = (time.perf_counter_ns() - began_ns) / 1e6
            error = write_minidump(
                handle if snapshot is None else snapshot,
                process.pid,
                msvcrt.get_osfhandle(file.fileno()),
                _with_unloaded(types),
                is_snapshot=snapshot is not None,
                crash=crash,
            )
            if snapshot is None:
                paused_ms = (time.perf_counter_ns() - began_ns) / 1e6
    if error:
        _raise_failure(process, error)
    return paused_ms, Pause.STOP if snapshot is None else Pause.SNAPSHOT, soft_errors


def _with_unloaded(types: MinidumpType) -> MinidumpType:
    """A few kilobytes, which name the library that a crash jumped into after its end."""
    if types & MinidumpType.FILTER_MODULE_PATHS:
        return types
    return types | MinidumpType.WITH_UNLOADED_MODULES


def _grantable(rights: int, pid: int) -> int:
    """With the right to clone if it is granted; without it DbgHelp works on the process itself."""
    with kernel32.open_process(rights, pid) as handle:
        return rights if handle else rights & ~kernel32.PROCESS_CREATE_PROCESS


def _check_identity(process: ProcessRef) -> None:
    facts = read_stat(process.pid)
    if facts is None or facts.is_dead:
        raise ProcessGone(f"process {process.pid} has ended")
    if facts.start_time_ticks != process.start_time_ticks:
        raise ProcessGone(f"process {process.pid} has ended", why="its pid was reused")


def _raise_failure(process: ProcessRef, error: int) -> None:
    """MiniDumpWriteDump's errors are HRESULTs."""
    code = error & 0xFFFFFFFF
    code = code & 0xFFFF if code & 0xFFFF0000 == _HRESULT_FACILITY else code
    facts = read_stat(process.pid)
    if facts is None or facts.is_dead:
        raise ProcessGone(f"process {process.pid} ended while it was dumped")
    remedy = "try again: its memory changed meanwhile" if code == _ERROR_PARTIAL_COPY else ""
    raise CaptureFailed(
        f"DbgHelp could not dump process {process.pid}", why=describe_error(code), remedy=remedy
    )


def _read_back(partial: Path, types: MinidumpType) -> tuple[int, list[str]]:
    """(threads, what is missing)"""
    with open(partial, "rb") as file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        try:
            dump = MinidumpFile(read, os.fstat(file.fileno()).st_size)
            entry = dump.find(StreamType.ThreadListStream)
            return len(dump.read_threads(entry)) if entry else 0, find_missing(dump, types)
        except MalformedInput as error:
            raise CaptureFailed(
                "DbgHelp wrote a dump that cannot be read", why=str(error)
            ) from error


def _check_space(path: Path, memory_bytes: int) -> None:
    usage = shutil.disk_usage(path.parent)
    needed = memory_bytes + _STREAMS_ESTIMATE
    check_space(path, needed, usage.free, usage.total)
    if needed > guard.size_limit_bytes:
        raise size_error(path)


def _refuse_options(options: DumpOptions) -> None:
    """DbgHelp writes the file itself, and from a snapshot wherever there is one (PSS)."""
    if options.format is DumpFormat.CORE or options.compress:
        raise CaptureFailed(
            "on Windows DbgHelp writes plain minidumps",
            remedy="convert it afterwards: perimortem convert",
        )
    if options.pause is Pause.NONE:
        raise CaptureFailed("on Windows DbgHelp always suspends the target, if only for a snapshot")
