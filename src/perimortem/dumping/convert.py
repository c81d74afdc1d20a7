"""From a minidump to a core and back; compressed or not."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from perimortem.dumping.compressed import CompressedWriter
from perimortem.dumping.naming import partial_path, publish
from perimortem.dumping.open import open_snapshot
from perimortem.dumping.output import PlainFile
from perimortem.elfcore.regions import render_maps
from perimortem.elfcore.writer import write_core
from perimortem.errors import CaptureFailed, MalformedInput, PerimortemError
from perimortem.exits.translate import to_signal
from perimortem.minidump.writer import write_minidump
from perimortem.model.dump import FULL, MINI, DumpFormat, MinidumpType
from perimortem.model.snapshot import (
    ORIGINAL_EXCEPTION,
    Architecture,
    OperatingSystem,
    Snapshot,
)

_FULL_BYTES = 64 << 20
"""A dump with this much memory counts as a full one."""


def convert(
    source: Path,
    target: Path,
    target_format: DumpFormat,
    *,
    compress: bool,
    before_parsing: Callable[[], None] = lambda: None,
) -> list[str]:
    """Convert ``source`` to ``target``; returns descriptions of what is lost or damaged.

    ``before_parsing`` is called once ``source`` is open. Raises MalformedInput or PerimortemError; then
    no file is left.
    """
    if not target.name or target.is_dir():
        raise CaptureFailed(f"cannot write {target}", why="it is a directory", remedy="name a file")
    if target.exists():
        raise CaptureFailed(
            f"cannot write {target}", why="it already exists", remedy="name another file"
        )
    partial = partial_path(target, os.getpid())
    try:
        with open_snapshot(source, before_parsing) as snapshot:
            check_convertible(snapshot)
            with open(partial, "xb", buffering=0, opener=_open_private) as file:
                _write(file.fileno(), snapshot, target_format, compress=compress)
        publish(partial, target)
    except FileExistsError as error:
        raise CaptureFailed(
            f"cannot write {target}", why="it already exists", remedy="name another file"
        ) from error
    except OSError as error:
        raise PerimortemError(f"cannot write {target}", why=error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return snapshot.soft_errors


def check_convertible(snapshot: Snapshot) -> None:
    """Raises MalformedInput."""
    if snapshot.system.architecture is not Architecture.X86_64:
        raise MalformedInput(
            "it cannot be converted", why="it is not for x86-64, or does not say so"
        )
    if not any(thread.registers for thread in snapshot.threads):
        raise MalformedInput("it cannot be converted", why="it has no thread with registers")


def write_converted(path: Path, snapshot: Snapshot, target_format: DumpFormat) -> None:
    """A new file, uncompressed. Raises MalformedInput, OSError."""
    check_convertible(snapshot)
    with open(path, "xb", buffering=0, opener=_open_private) as file:
        _write(file.fileno(), snapshot, target_format, compress=False)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(fd: int, snapshot: Snapshot, target_format: DumpFormat, *, compress: bool) -> None:
    if "maps" not in snapshot.files:
        snapshot.files["maps"] = render_maps(snapshot.regions)
    out = CompressedWriter(PlainFile(fd).write_at) if compress else PlainFile(fd)
    with closing(out):
        if target_format is DumpFormat.CORE:
            write_core(_as_linux(snapshot), out)
        else:
            write_minidump(snapshot, _derive_types(snapshot), out)
        out.finish()


def _as_linux(snapshot: Snapshot) -> Snapshot:
    """With the signal that stands for its exception, which is kept in the record."""
    system, exception = snapshot.system.os, snapshot.exception
    if exception is None or system is OperatingSystem.LINUX:
        return snapshot
    original = {"system": str(system), **asdict(exception)}
    return replace(
        snapshot,
        exception=to_signal(system, exception),
        record={**(snapshot.record or {}), ORIGINAL_EXCEPTION: original},
    )


def _derive_types(snapshot: Snapshot) -> MinidumpType:
    """What the new dump contains, as far as known."""
    total = sum(memory.size for memory in snapshot.memory)
    types = FULL if total > _FULL_BYTES else MINI | MinidumpType.WITH_FULL_MEMORY_INFO
    if snapshot.handles is None:
        types &= ~MinidumpType.WITH_HANDLE_DATA
    if any(thread.registers and thread.registers.extended for thread in snapshot.threads):
        types |= MinidumpType.WITH_AVX_XSTATE_CONTEXT
    if snapshot.token is not None:
        types |= MinidumpType.WITH_TOKEN_INFORMATION
    return types
