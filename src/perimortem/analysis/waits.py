"""What each thread waits for, and who holds it: the wait-for graph, and its cycles. Pure.

A thread that waits for a lock sits in futex(2): the call's arguments are in its registers, and glibc
keeps the owner of a mutex beside it. The snapshot must be of one instant, or no cycle can be trusted.
Sources: nptl of glibc 2.17 to 2.41 (struct __pthread_mutex_s, __pthread_rwlock_arch_t, struct pthread),
linux/futex.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from perimortem.analysis.python_locks import PythonLock
from perimortem.model.evidence import Confidence
from perimortem.model.snapshot import Architecture, ReadMemory, Registers, Snapshot
from perimortem.model.stack import Frame, Language, ThreadStack
from perimortem.model.wait import LockCycle, ThreadWait, WaitKind

NameData = Callable[[int], str | None]
"""The variable at an address."""


@dataclass(frozen=True)
class _CallLayout:
    """How a machine passes the arguments of a system call, and what enters the kernel."""

    arguments: tuple[str, str, str, str]
    number: str
    futex: int
    pc: str
    enter: bytes
    load_number: bytes
    """The instruction that loads the call number: for dumps that do not keep the number."""


_LAYOUTS = {
    Architecture.X86_64: _CallLayout(
        ("rdi", "rsi", "rdx", "r10"), "orig_rax", 202, "rip", b"\x0f\x05", b"\xb8\xca\0\0\0"
    ),
    Architecture.AARCH64: _CallLayout(
        ("x0", "x1", "x2", "x3"), "x8", 98, "pc", struct.pack("<I", 0xD4000001), b""
    ),
}
_NO_CALL = (1 << 64) - 1
_LOOK_BACK = 64
"""Bytes between loading the number and the call itself. Arbitrary."""
_COMMAND = 0x7F
_WAIT, _LOCK_PI, _WAIT_BITSET, _LOCK_PI2 = 0, 6, 9, 13
_OWNER_BITS = 0x3FFFFFFF
_CONTENDED = 2
_OWNER_AT = 8
"""Fields of __pthread_mutex_s: __lock, __count, __owner."""
_MUTEX_FIELDS_AT = (4, 12, 16)
"""Likewise: __count, __nusers, __kind."""
_MUTEX_KINDS = frozenset(kind | elision for kind in range(4) for elision in (0, 0x100, 0x200))
_MUTEX_COUNT_MAX = 1 << 16
_NAMELESS_FRAMES = 3
_READERS_SHIFT = 3
_WRITER_AT = 24
_PHASE_AT, _WRITERS_AT = 8, 12
"""Fields of __pthread_rwlock_arch_t: __cur_writer; __wrphase_futex and __writers_futex (waited on)."""
_TID_OF_PTHREAD = {Architecture.X86_64: 0x2D0}
_FRAMES_LOOKED_AT = 16

_BY_NAME = (
    (re.compile(r"take_gil"), WaitKind.GIL),
    (
        re.compile(
            r"(?:lock_)?PyThread_acquire_lock|_?PyMutex_Lock|rlock_acquire|acquire_timed|"
            r"_?PyParkingLot_Park"
        ),
        WaitKind.PYTHON_LOCK,
    ),
    (re.compile(r"_*(?:GI_)?_*pthread_(?:mutex_|lll_).*lock"), WaitKind.MUTEX),
    (re.compile(r"_*(?:GI_)?_*pthread_rwlock_"), WaitKind.RWLOCK),
    (re.compile(r"_*(?:GI_)?_*pthread_cond_"), WaitKind.CONDITION),
    (re.compile(r"_*(?:GI_|new_)?_*sem_(?:wait|timedwait|clockwait)"), WaitKind.SEMAPHORE),
    (
        re.compile(r"_*(?:GI_)?_*pthread_(?:join|(?:clock|timed)join|tryjoin)|.*clockjoin_ex"),
        WaitKind.THREAD,
    ),
)
_OUTER_FIRST = 2
"""These may be above one of the others on the stack: they are built on them."""


def derive_waits(
    snapshot: Snapshot,
    stacks: Iterable[ThreadStack],
    read: ReadMemory,
    name_data: NameData = lambda _address: None,
    gil_holder: int | None = None,
    python_locks: Mapping[int, PythonLock] = MappingProxyType({}),
) -> list[ThreadWait]:
    """One for each thread that waits for another, as far as it can be determined.

    ``python_locks``: for threads that wait for a Python lock, which is more than a futex.

    ``read``: the snapshot's memory, and code of modules that is not in it.
    """
    layout = _LAYOUTS.get(snapshot.system.architecture)
    if layout is None:
        return []
    by_tid = {stack.tid: stack for stack in stacks}
    reader = _Reader(snapshot, layout, read, name_data, gil_holder)
    found = []
    for thread in snapshot.threads:
        stack = by_tid.get(thread.tid)
        if thread.registers is None or stack is None:
            continue
        wait = reader.find_wait(thread.tid, thread.registers, stack)
        lock = python_locks.get(thread.tid)
        if wait is not None and lock is not None and wait.kind is not WaitKind.GIL:
            detail = "its holder is not noted: no other thread's `with` has it"
            if lock.owner_tid is not None:
                detail = "by its `with`" if lock.is_by_with else ""
            wait = replace(
                wait,
                kind=WaitKind.PYTHON_LOCK,
                address=lock.address,
                owner_tid=lock.owner_tid,
                name=None,
                detail=detail,
                is_assumed=lock.is_assumed,
            )
        if wait is not None:
            found.append(wait)
    return found


def find_cycles(waits: Iterable[ThreadWait]) -> list[LockCycle]:
    """Every cycle, once; one with a time limit does not count."""
    by_tid = {wait.tid: wait for wait in waits if wait.owner_tid is not None and not wait.has_limit}
    seen: set[int] = set()
    cycles = []
    for start in by_tid:
        path: dict[int, ThreadWait] = {}
        tid: int | None = start
        while tid in by_tid and tid not in seen and tid not in path:
            path[tid] = by_tid[tid]
            tid = by_tid[tid].owner_tid
        if tid in path:
            tids = list(path)
            cycles.append(LockCycle(tuple(path[t] for t in tids[tids.index(tid) :])))
        seen.update(path)
    return cycles


class _Reader:
    def __init__(
        self,
        snapshot: Snapshot,
        layout: _CallLayout,
        read: ReadMemory,
        name_data: NameData,
        gil_holder: int | None,
    ) -> None:
        self._read = read
        self._layout, self._name_data, self._gil_holder = layout, name_data, gil_holder
        self._tids = {thread.tid: thread.tid for thread in snapshot.threads}
        # In a pid namespace a process knows its threads by other ids than we do.
        tid_at = _TID_OF_PTHREAD.get(snapshot.system.architecture)
        for thread in snapshot.threads if tid_at is not None else ():
            pointer = thread.registers.general.get("fs_base", 0) if thread.registers else 0
            own = self._read_number(pointer + (tid_at or 0)) if pointer else None
            if own:
                self._tids.setdefault(own, thread.tid)

    def find_wait(self, tid: int, registers: Registers, stack: ThreadStack) -> ThreadWait | None:
        arguments = self._read_futex_call(registers)
        if arguments is None:
            return None
        address, operation, value, limit = arguments
        command = operation & _COMMAND
        if command not in (_WAIT, _WAIT_BITSET, _LOCK_PI, _LOCK_PI2):
            return None
        wait = ThreadWait(tid, WaitKind.FUTEX, address, None, has_limit=limit != 0)
        if command in (_LOCK_PI, _LOCK_PI2):
            owner = (self._read_number(address) or 0) & _OWNER_BITS
            return self._complete(replace(wait, kind=WaitKind.MUTEX), owner)
        kind = _classify(stack.frames)
        if kind is None and value == _CONTENDED and self._looks_like_mutex(address, stack.frames):
            kind = WaitKind.MUTEX
        if kind is WaitKind.MUTEX and not value:
            return replace(wait, detail="where glibc parks a thread that can never get its mutex")
        return self._describe(replace(wait, kind=kind or WaitKind.FUTEX), value, stack.frames)

    def _looks_like_mutex(self, address: int, frames: tuple[Frame, ...]) -> bool:
        """For a stripped program: whether all fields are consistent with struct __pthread_mutex_s."""
        if any(frame.function is not None for frame in frames[:_NAMELESS_FRAMES]):
            return False
        fields = [self._read_number(address + offset) for offset in _MUTEX_FIELDS_AT]
        count, users, kind = (-1 if field is None else field for field in fields)
        is_sane = count <= _MUTEX_COUNT_MAX and 0 < users <= _MUTEX_COUNT_MAX
        return is_sane and kind in _MUTEX_KINDS and self._owner_at(address + _OWNER_AT) is not None

    def _describe(self, wait: ThreadWait, value: int, frames: tuple[Frame, ...]) -> ThreadWait:
        if wait.kind is WaitKind.MUTEX:
            return self._complete(wait, self._read_number(wait.address + _OWNER_AT))
        if wait.kind is WaitKind.THREAD:
            return self._complete(wait, self._read_number(wait.address))
        if wait.kind is WaitKind.RWLOCK:
            return self._describe_rwlock(wait, value, frames)
        if wait.kind is WaitKind.GIL:
            # It retries every few milliseconds, but is still waiting.
            return replace(wait, owner_tid=self._gil_holder, has_limit=False)
        return self._complete(wait, None)

    def _describe_rwlock(
        self, wait: ThreadWait, value: int, frames: tuple[Frame, ...]
    ) -> ThreadWait:
        # The first writer waits for the readers to leave; the others wait to be first.
        is_writer = any(f.function and "wrlock" in f.function for f in frames[:_FRAMES_LOOKED_AT])
        place = _WRITERS_AT if is_writer and value & 1 else _PHASE_AT
        start = wait.address - place
        owner = self._owner_at(start + _WRITER_AT)
        readers = self._read_number(start) or 0
        detail = ""
        if owner is None and readers >> _READERS_SHIFT:
            count = readers >> _READERS_SHIFT
            who = f"{count} readers, which are" if count > 1 else "a reader, which is"
            detail = f"held by {who} not noted"
        return self._complete(replace(wait, address=start, detail=detail), owner)

    def _complete(self, wait: ThreadWait, owner: int | None) -> ThreadWait:
        tid = self._tids.get(owner) if owner else None
        if owner and tid is None and wait.kind is WaitKind.MUTEX:
            detail = (
                f"held by {owner}, which is not a thread of this process: it has ended, is of another "
                "process, or of this one before a fork"
            )
            wait = replace(wait, detail=detail)
        return replace(wait, owner_tid=tid, name=self._name_data(wait.address))

    def _owner_at(self, address: int) -> int | None:
        return self._tids.get(self._read_number(address) or 0)

    def _read_number(self, address: int) -> int | None:
        data = self._read(address, 4)
        return int.from_bytes(data, "little") if len(data) == 4 else None

    def _read_futex_call(self, registers: Registers) -> tuple[int, int, int, int] | None:
        """(address, operation, value, time limit) if it is in futex(2)."""
        general, layout = registers.general, self._layout
        pc = general.get(layout.pc, 0)
        width = len(layout.enter)
        number = general.get(layout.number, _NO_CALL)
        code = self._read(pc - _LOOK_BACK, _LOOK_BACK)
        if code[-width:] != layout.enter:
            return None
        if number == _NO_CALL and layout.load_number:
            # The call itself follows the last number that was loaded.
            if layout.load_number not in code:
                return None
        elif number != layout.futex:
            return None
        address, operation, value, limit = (general[name] for name in layout.arguments)
        return address, operation & 0xFFFFFFFF, value & 0xFFFFFFFF, limit


def _classify(frames: tuple[Frame, ...]) -> WaitKind | None:
    """From the functions on its stack."""
    names = [
        frame.function
        for frame in frames[:_FRAMES_LOOKED_AT]
        if frame.function is not None and frame.language is Language.NATIVE
    ]
    for index, (pattern, kind) in enumerate(_BY_NAME):
        if index < _OUTER_FIRST and any(pattern.match(name) for name in names):
            return kind
    for name in names:
        for pattern, kind in _BY_NAME[_OUTER_FIRST:]:
            if pattern.match(name):
                return kind
    return None


_WORDS = {
    WaitKind.MUTEX: "mutex",
    WaitKind.RWLOCK: "read-write lock",
    WaitKind.CONDITION: "condition",
    WaitKind.SEMAPHORE: "semaphore",
    WaitKind.THREAD: "the end of a thread",
    WaitKind.GIL: "the GIL",
    WaitKind.PYTHON_LOCK: "Python lock",
    WaitKind.FUTEX: "futex",
}


def describe_wait(wait: ThreadWait, name_thread: Callable[[int], str] = str) -> str:
    """ "thread 7 waits for mutex 0x55d0 (cache_lock), held by 9"."""
    who = f"thread {name_thread(wait.tid)}"
    if wait.kind is WaitKind.THREAD:
        whose = f"thread {name_thread(wait.owner_tid)}" if wait.owner_tid else "a thread"
        text = f"{who} waits for the end of {whose}"
    else:
        text = f"{who} waits for {_WORDS[wait.kind]}"
        if wait.kind is not WaitKind.GIL:
            text += f" {wait.address:#x}"
        text += f" ({wait.name})" if wait.name else ""
        if wait.owner_tid == wait.tid:
            text += ", which it holds itself"
        elif wait.owner_tid is not None:
            text += f", held by {name_thread(wait.owner_tid)}"
    text += f", {wait.detail}" if wait.detail else ""
    return text + (", with a time limit" if wait.has_limit else "")


def describe_cycle(cycle: LockCycle, name_thread: Callable[[int], str] = str) -> str:
    """ "deadlock of 2 threads: thread 7 waits for ..., held by 9; thread 9 ..."."""
    count = len(cycle.waits)
    head = f"deadlock of {count} threads" if count > 1 else "deadlock of a thread with itself"
    if cycle.confidence is Confidence.DERIVED:
        head += " (unless one has released its lock inside its `with`)"
    return f"{head}: " + "; ".join(describe_wait(wait, name_thread) for wait in cycle.waits)
