"""From a snapshot to its examination: stacks, names, Python frames, waits, the reason, the signature."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from perimortem.analysis.crash_context import CrashContext, base_name
from perimortem.analysis.python_locks import PythonLock, find_python_locks
from perimortem.analysis.reason import derive_reason
from perimortem.analysis.signal_safety import describe_reentry
from perimortem.analysis.signature import derive_signature
from perimortem.analysis.waits import derive_waits, find_cycles
from perimortem.examine.disassemble import decode_instruction
from perimortem.examine.options import ExamineOptions
from perimortem.examine.own_python import add_holder, read_own
from perimortem.examine.python_frames import NoPythonFrames
from perimortem.model.examination import Examination
from perimortem.model.python_stack import PythonThread
from perimortem.model.snapshot import OperatingSystem, Registers, Snapshot
from perimortem.model.stack import ThreadStack
from perimortem.symbols.cache import SymbolCache, find_cache_dir
from perimortem.symbols.demangle import demangle
from perimortem.symbols.provider import Symbols
from perimortem.unwind.merge_python import merge_python
from perimortem.unwind.walk import StackWalker

NO_PYTHON = "no Python frames"
_NAMED_MAX = 5
_FRAMES_MAX = 256
_REGISTERS_OF_FRAMES = 64
_THUMB = 1 << 5
"""In the status register of 32-bit ARM."""


def examine_snapshot(
    snapshot: Snapshot,
    options: ExamineOptions,
    python: Iterable[PythonThread] = (),
    python_locks: Mapping[int, PythonLock] | None = None,
    notes: Iterable[str] = (),
    paused_ms: float | None = None,
) -> Examination:
    """``python``: the interpreter's own frames, as far as another reader has them; ``python_locks``: its
    locks, found while all of its memory could be read. None: search for them here. ``paused_ms``: of a
    live process, of which nothing more can be read."""
    symbols = Symbols(
        snapshot,
        options.make_finder(),
        SymbolCache(find_cache_dir()),
        with_lines=options.with_lines,
    )
    walker = StackWalker(snapshot, symbols.find_image, symbols.find_symbol_file)
    with _pause_collector():
        stacks = tuple(
            replace(stack, frames=tuple(symbols.name(frame) for frame in stack.frames))
            for stack in walker.walk_all()
        )
    threads = list(python)
    notes = list(notes)
    is_live = paused_ms is not None
    if options.with_python and not is_live and find_interpreter(snapshot) is not None:
        try:
            threads = add_holder(read_own(snapshot, walker.modules.read), threads)
            notes = [note for note in notes if not note.startswith(NO_PYTHON)]
        except NoPythonFrames as error:
            if not threads and not any(note.startswith(NO_PYTHON) for note in notes):
                notes.append(f"{NO_PYTHON}: {error}")
    if python_locks is None and threads:
        read = walker.modules.read
        python_locks = find_python_locks(snapshot.threads, snapshot.regions, read)
    python_locks = _without_sleepers(python_locks or {}, threads)
    gil_holder = next((thread.tid for thread in threads if thread.holds_gil), None)
    waits = derive_waits(
        snapshot, stacks, walker.modules.read, symbols.name_data, gil_holder, python_locks
    )
    merged = tuple(_note_reentry(stack) for stack in merge_python(stacks, threads))
    crashed = _find_crashed(snapshot, merged)
    reason = signature = None
    if crashed is not None:
        reason = derive_reason(_build_crash_context(snapshot, crashed, walker, symbols))
        signature = derive_signature(crashed, reason)
    return Examination(
        snapshot=snapshot,
        stacks=merged,
        crashed_tid=crashed.tid if crashed is not None and crashed in merged else None,
        reason=reason,
        signature=signature if reason is not None else None,
        waits=tuple(waits),
        cycles=tuple(find_cycles(waits)),
        missing=tuple(sorted(symbols.missing.items())),
        notes=(*notes, *snapshot.soft_errors, *_list_unchecked(snapshot, merged, symbols.missing)),
        paused_ms=paused_ms,
    )


def find_interpreter(snapshot: Snapshot) -> str | None:
    """The program, if it is Python or embeds it."""
    for module in snapshot.modules:
        name = module.path.replace("\\", "/").rsplit("/", 1)[-1]
        if name.startswith(("libpython", "python")):
            return snapshot.modules[0].path
    return None


def _note_reentry(stack: ThreadStack) -> ThreadStack:
    note = describe_reentry(stack.frames[:_FRAMES_MAX])
    return stack if note is None else replace(stack, notes=(*stack.notes, note))


def _list_unchecked(
    snapshot: Snapshot, stacks: Iterable[ThreadStack], missing: Collection[str]
) -> list[str]:
    """Files that may be others than those of the process: nothing in the dump identifies them."""
    used = {
        frame.module.base: frame.module
        for stack in stacks
        for frame in stack.frames[:_FRAMES_MAX]
        if frame.module is not None
    }
    unchecked = [
        base_name(module.path)
        for module in used.values()
        if module.build_id is None
        and module.debug_id is None
        and module.path.startswith("/")
        and module.path not in missing
        and not snapshot.content.read(module.base, 4)
    ]
    if not unchecked or snapshot.system.os is not OperatingSystem.LINUX:
        return []
    more = len(unchecked) - _NAMED_MAX
    names = ", ".join(unchecked[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
    return [f"nothing in the dump says whether the files found here are those it had: {names}"]


def _without_sleepers(
    locks: Mapping[int, PythonLock], threads: list[PythonThread]
) -> dict[int, PythonLock]:
    """A thread that waits for a Condition has released its lock, but is still inside its `with`."""
    sleepers = {
        thread.tid
        for thread in threads
        if any(
            f.function.rpartition(".")[2] == "wait" and f.file.endswith("threading.py")
            for f in thread.frames
        )
    }
    return {
        tid: replace(lock, owner_tid=None) if lock.owner_tid in sleepers else lock
        for tid, lock in locks.items()
    }


@contextmanager
def _pause_collector() -> Iterator[None]:
    """They form no cycles, and scanning each of a million frames repeatedly would take too long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _find_crashed(snapshot: Snapshot, stacks: tuple[ThreadStack, ...]) -> ThreadStack | None:
    if snapshot.exception is None:
        return None
    tid = snapshot.exception.tid
    found = next((stack for stack in stacks if stack.tid == tid), None)
    return found or ThreadStack(tid, "", (), "the dump does not have this thread", False)


def _build_crash_context(
    snapshot: Snapshot, crashed: ThreadStack, walker: StackWalker, symbols: Symbols
) -> CrashContext:
    thread = next((t for t in snapshot.threads if t.tid == crashed.tid), None)
    registers = (thread.registers if thread is not None else None) or Registers({})
    architecture = snapshot.system.architecture
    return CrashContext(
        snapshot=snapshot,
        stack=crashed,
        registers=registers,
        read=walker.modules.read,
        decode=lambda code, address: decode_instruction(
            architecture, code, address, is_thumb=bool(registers.general.get("cpsr", 0) & _THUMB)
        ),
        find_symbol=symbols.find_symbol,
        demangle=demangle,
        name_data=symbols.name_data,
        frame_registers=walker.list_registers(thread, _REGISTERS_OF_FRAMES) if thread else {},
    )
