"""Prepare a debugger for a dump: examine it, find its program, make a core of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from perimortem.debugger.session import Session
from perimortem.documents.examination import Examination
from perimortem.errors import MalformedInput, PerimortemError
from perimortem.examine.options import ExamineOptions
from perimortem.model.dump import DumpFormat
from perimortem.model.snapshot import OperatingSystem, Snapshot
from perimortem.symbols.files import ImageFile

_FACTS = "facts.json"
_CORE = "core"


@dataclass(frozen=True)
class Prepared:
    """What an examination found for a debugger, in the folder of the session."""

    has_core: bool
    program: str | None
    tid: int | None
    thread_number: int
    pc: int | None
    depth: int


def prepare(
    dump: Path, snapshot: Snapshot, document: Examination, options: ExamineOptions, folder: Path
) -> None:
    """Write core and facts into ``folder``, for :func:`open_session` in another process."""
    from perimortem.dumping.convert import write_converted

    has_core = False
    if not _is_core(dump) and snapshot.system.os is OperatingSystem.LINUX:
        try:
            write_converted(folder / _CORE, snapshot, DumpFormat.CORE)
            has_core = True
        except MalformedInput:  # of a machine whose cores are not written here
            (folder / _CORE).unlink(missing_ok=True)
    tid, pc, depth = _find_place(document)
    tids = [thread.tid for thread in snapshot.threads]
    number = tids.index(tid) if tid in tids else 0
    if has_core and snapshot.exception is not None and tid == snapshot.exception.tid:
        number = 0  # a core has the one that crashed first
    prepared = Prepared(has_core, _find_program(snapshot, options), tid, number, pc, depth)
    (folder / _FACTS).write_text(json.dumps(vars(prepared)))


def open_session(
    dump: Path,
    folder: Path,
    symbols: tuple[Path, ...],
    sources: tuple[Path, ...],
    root: Path | None,
) -> Session:
    """What ``prepare`` has left in ``folder``."""
    try:
        prepared = Prepared(**json.loads((folder / _FACTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise PerimortemError(f"{dump} was not examined", why=str(error)) from error
    core = folder / _CORE if prepared.has_core else dump if _is_core(dump) else None
    program = Path(prepared.program) if prepared.program is not None else None
    return Session(
        dump, core, program, prepared.tid, prepared.thread_number, prepared.pc, prepared.depth,
        symbols, sources, root,
    )  # fmt: skip


def _is_core(dump: Path) -> bool:
    from perimortem.elfcore.reader import is_core

    with open(dump, "rb") as file:
        return is_core(file.read(18))


def _find_place(document: Examination) -> tuple[int | None, int | None, int]:
    """(thread, instruction of the frame, calls within it) to look at first."""
    crashed = next((thread for thread in document.threads if thread.crashed), None)
    if crashed is None:
        stuck = next((tid for deadlock in document.deadlocks for tid in deadlock.tids), None)
        return stuck, None, 0
    number = document.signature.blamed_frame if document.signature is not None else None
    frame = next((f for f in crashed.frames if f.number == (number or 0)), None)
    if frame is None or frame.address is None:
        return crashed.tid, None, 0
    within = (f for f in crashed.frames if f.number < frame.number and f.address is not None)
    return crashed.tid, int(frame.address, 16), sum(1 + len(f.inlined) for f in within)


def _find_program(snapshot: Snapshot, options: ExamineOptions) -> str | None:
    if not snapshot.modules:
        return None
    module = snapshot.modules[0]
    found = options.make_finder().find_module(module, snapshot.content.read(module.base, 4096))
    return str(found.path) if isinstance(found, ImageFile) else None
