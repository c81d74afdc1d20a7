"""Snapshots from which one kind of evidence has been taken, and the reasons that are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from perimortem.dumping.open import open_snapshot
from perimortem.examine.options import ExamineOptions
from perimortem.examine.snapshot import examine_snapshot
from perimortem.model.reason import Reason
from perimortem.model.snapshot import Region, Registers, Snapshot
from perimortem.symbols.files import ImageLibrary
from perimortem.testing.plain_memory import PlainMemory

Removal = Callable[[Snapshot], Snapshot]


def derive_without(path: Path, remove: Removal | None = None) -> Reason:
    """The reason that is left when something is taken out of the dump at ``path``."""
    with open_snapshot(path) as snapshot, ImageLibrary() as library:
        left = remove(snapshot) if remove is not None else snapshot
        reason = examine_snapshot(left, ExamineOptions(library)).reason
    assert reason is not None
    return reason


def without_maps(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, regions=(), has_all_regions=False)


def without_memory(snapshot: Snapshot) -> Snapshot:
    """Only what the files of the modules have."""
    return replace(snapshot, content=PlainMemory(lambda address, size: b""))


def without_heap(snapshot: Snapshot) -> Snapshot:
    """No data at all but stacks."""
    return _without(
        snapshot, [r for r in snapshot.regions if r.writable and r.path[:6] != "[stack"]
    )


def without_stack(snapshot: Snapshot) -> Snapshot:
    """Only what the registers say is left."""
    pointers = [t.registers.general["rsp"] for t in snapshot.threads if t.registers is not None]
    stacks = [r for r in snapshot.regions if any(r.start <= p < r.end for p in pointers)]
    return _without(snapshot, stacks)


def without_registers(snapshot: Snapshot) -> Snapshot:
    threads = tuple(replace(thread, registers=Registers({})) for thread in snapshot.threads)
    return replace(snapshot, threads=threads)


def without_code(snapshot: Snapshot) -> Snapshot:
    """As from writers that record the number of a signal only."""
    assert snapshot.exception is not None
    return replace(snapshot, exception=replace(snapshot.exception, flags=0, has_flags=False))


def without_modules(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, modules=())


def without_files(snapshot: Snapshot) -> Snapshot:
    """Of /proc: the limits, the amounts of memory."""
    return replace(snapshot, files={})


def _without(snapshot: Snapshot, regions: list[Region]) -> Snapshot:
    read = snapshot.content.read

    def read_less(address: int, size: int) -> bytes:
        return b"" if any(r.start <= address < r.end for r in regions) else read(address, size)

    return replace(snapshot, content=PlainMemory(read_less))
