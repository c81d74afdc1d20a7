"""Examine a dump of any kind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perimortem.dumping.open import open_bytes, open_snapshot
from perimortem.elfcore.reader import is_core
from perimortem.errors import PerimortemError
from perimortem.examine.options import ExamineOptions
from perimortem.examine.python_frames import NoPythonFrames, read_core
from perimortem.examine.snapshot import examine_snapshot, find_interpreter
from perimortem.model.dump import DumpFormat
from perimortem.model.examination import Examination
from perimortem.model.python_stack import PythonThread
from perimortem.model.snapshot import OperatingSystem, Snapshot

_CONVERTED_MAX = 4 << 30
"""For a full minidump, which pystack reads only as a core."""
_FULL_SHARE = 0.5
"""The writable memory that a full dump has; with less, no interpreter can be found in it."""


@contextmanager
def examine_dump(path: Path, options: ExamineOptions) -> Iterator[Examination]:
    """Raises PerimortemError naming the file; the memory of the dump can be read in the body."""
    with open_snapshot(path, options.before_parsing) as snapshot:
        threads: list[PythonThread] = []
        is_full = _is_full(snapshot)
        if is_full and options.with_python and find_interpreter(snapshot) is not None:
            with suppress(NoPythonFrames):
                threads = _read_python(path, snapshot)
        # Holders of locks are found by looking at all values of all threads.
        yield examine_snapshot(snapshot, options, threads, None if is_full else {})


def _read_python(path: Path, snapshot: Snapshot) -> list[PythonThread]:
    if snapshot.system.os is not OperatingSystem.LINUX or os.name == "nt":
        raise NoPythonFrames("they are read from Linux dumps, and only on Linux")
    taken = sum(memory.size for memory in snapshot.memory)
    executable = Path(snapshot.modules[0].path)
    if not executable.is_file():
        raise NoPythonFrames(f"{executable} does not exist here")
    with _as_core(path, snapshot, taken) as core:
        return read_core(core, executable)


def _is_full(snapshot: Snapshot) -> bool:
    writable = sum(r.size for r in snapshot.regions if r.writable and r.readable and not r.shared)
    return sum(memory.size for memory in snapshot.memory) >= _FULL_SHARE * writable


@contextmanager
def _as_core(path: Path, snapshot: Snapshot, size: int) -> Iterator[Path]:
    """A core of the same process, which may be ``path`` itself."""
    if _is_plain_core(path):
        yield path
        return
    if size > _CONVERTED_MAX:
        raise NoPythonFrames(
            "the dump is too large to be converted for pystack: take a core instead"
        )
    from perimortem.dumping.convert import write_converted

    with tempfile.TemporaryDirectory(prefix="perimortem-") as folder:
        core = Path(folder) / "converted.core"
        try:
            write_converted(core, snapshot, DumpFormat.CORE)
        except (PerimortemError, OSError) as error:
            raise NoPythonFrames(str(error)) from error
        yield core


def _is_plain_core(path: Path) -> bool:
    """False also if we have given up the right to open it."""
    if path.suffix == ".zst" or not os.access(path, os.R_OK):
        return False
    with open_bytes(path) as (read, _):
        return is_core(read(0, 18))
