"""Which Python lock a thread waits for, and which thread holds it. Pure.

`threading.RLock` records its owner; `threading.Lock` does not. But a thread inside `with lock:` has the
lock's bound ``__exit__`` among the values of its frame, on its data stack. A lock acquired by
``acquire()`` alone leaves no such trace, nor does ``with`` in 3.14.

Sources: CPython 3.11 to 3.14: Modules/_threadmodule.c (lockobject, rlockobject), pycore_pystate.h and
cpython/pystate.h (struct _ts, struct _stack_chunk), methodobject.h (PyCFunctionObject).
Folklore: a thread that still waits in ``__enter__`` already has ``__exit__`` of that lock on its stack:
it does not hold it; in 3.12 and later it has it on the C stack only. Above the top of a data stack, and
within a frame above what it uses, lie dead values, whose memory may have been reused: a method that
another thread has as well proves nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from perimortem.binary.regions import find_region
from perimortem.model.snapshot import ReadMemory, Region, Thread

_LOCK, _RLOCK = b"_thread.lock", b"_thread.RLock"
_METHOD = b"builtin_function_or_method"
_NAME_AT = 24
"""Offset in PyTypeObject: tp_name."""
_HEADER = 16
"""Header of every object: count, type."""
_STACK_BYTES = 16 << 10
"""Bytes of a C stack, from its pointer on: the calls that lead into the lock."""
_STATE_BYTES = 512
"""Bytes of struct _ts, which contains the thread's identity and its data stack."""
_STATE_REGISTERS = ("rbx", "rbp", "r12", "r13", "r14", "r15", "rdi", "rsi")
_CHUNK_MAX = 16 << 20
_CHUNKS_MAX = 64
_CHUNK_HEAD = struct.Struct("<QQQ")
"""Previous one, size in bytes, number of values when the next one was begun."""
_METHOD_COUNT = 1
"""References to a bound method that is on a data stack alone."""
_METHOD_HEAD = struct.Struct("<QQQQ")
_MARKS = 3


@dataclass(frozen=True)
class PythonLock:
    """What one thread waits for. ``owner_tid`` None: unknown, no other thread's `with` has it."""

    address: int
    owner_tid: int | None
    is_by_with: bool = False
    """Derived from the `with` that its owner is inside of."""
    is_assumed: bool = False
    """The owner is probable, and no more: by a `with`, or since 3.14."""


Identify = Callable[[int], int | None]
"""The thread (tid) whose identity in the C library, pthread_self(), this is."""


def find_python_locks(
    threads: Iterable[Thread],
    regions: tuple[Region, ...],
    read: ReadMemory,
    identify: Identify | None = None,
) -> dict[int, PythonLock]:
    """By waiting thread. ``read`` must reach the heap: a live process, or a full dump.

    ``identify``: where the registers of the threads lack that identity (fs_base); of the others rsp
    and rdi are enough."""
    return _Search(tuple(threads), regions, read, identify).run()


class _Search:
    def __init__(
        self,
        threads: tuple[Thread, ...],
        regions: tuple[Region, ...],
        read: ReadMemory,
        identify: Identify | None,
    ) -> None:
        self._threads = [t for t in threads if t.registers and "rsp" in t.registers.general]
        self._regions, self._read = regions, read
        self._identify = identify or self._identify_by_register
        self._type_names: dict[int, bytes] = {}

    def run(self) -> dict[int, PythonLock]:
        waited = {
            thread.tid: lock
            for thread in self._threads
            if (lock := self._find_waited(thread)) is not None
        }
        plain = {address for address, name, _ in waited.values() if name == _LOCK}
        holders = self._find_holders(plain, waited) if plain else {}
        found = {}
        for tid, (address, name, is_certain) in waited.items():
            owner = self._find_rlock_owner(address) if name == _RLOCK else None
            if name == _LOCK:
                others = holders.get(address, set()) - {tid}
                owner = next(iter(others)) if len(others) == 1 else None
            is_assumed = owner is not None and (name == _LOCK or not is_certain)
            found[tid] = PythonLock(address, owner, name == _LOCK, is_assumed)
        return found

    def _find_waited(self, thread: Thread) -> tuple[int, bytes, bool] | None:
        """(lock object, name of its type, is it certain): on the C stack, around the address of the
        futex call."""
        assert thread.registers is not None
        futex = thread.registers.general["rdi"]
        fallback = None
        for word in self._stack_words(thread, _STACK_BYTES):
            name = self._name_of_type(word)
            if name not in (_LOCK, _RLOCK):
                continue
            inside = self._read_word(word + _HEADER)
            if inside == futex:
                return word, name, True
            # Since 3.14 the lock is a byte in the object, and the wait is on something else.
            if fallback is None and inside is not None and inside & 0xFF in (1, 3):
                fallback = word, name, False
        return fallback

    def _find_rlock_owner(self, address: int) -> int | None:
        """Python's thread identity is the address of the C library's thread."""
        identity = self._read_word(address + _HEADER + 8)
        return self._identify(identity) if identity else None

    def _identify_by_register(self, identity: int) -> int | None:
        for thread in self._threads:
            assert thread.registers is not None
            if thread.registers.general.get("fs_base") == identity:
                return thread.tid
        return None

    def _find_holders(
        self, locks: set[int], waited: dict[int, tuple[int, bytes, bool]]
    ) -> dict[int, set[int]]:
        methods: dict[int, set[int]] = {}
        for thread in self._threads:
            for start, size in self._find_live_values(thread):
                for word in self._words(start, size):
                    methods.setdefault(word, set()).add(thread.tid)
        holders: dict[int, set[int]] = {}
        for method, tids in methods.items():
            lock = self._read_exit_method(method) if len(tids) == 1 else 0
            (tid, *_) = tids
            is_entering = lock == waited.get(tid, (0, b"", False))[0]
            if lock in locks and not is_entering and not self._has_another(method, tid):
                holders.setdefault(lock, set()).add(tid)
        return holders

    def _has_another(self, method: int, tid: int) -> bool:
        """Whether a thread other than ``tid`` has it in its registers or on its C stack."""
        word = method.to_bytes(8, "little")
        for thread in self._threads:
            assert thread.registers is not None
            general = thread.registers.general
            start = general["rsp"] & ~7
            if thread.tid != tid and (
                method in general.values() or word in self._read_stack(start, _STACK_BYTES)
            ):
                return True
        return False

    def _find_live_values(self, thread: Thread) -> Iterator[tuple[int, int]]:
        """(address, bytes) of each part of the thread's data stack that is in use."""
        found = self._find_data_stack(thread)
        if found is None:
            return
        base, top = found
        for _ in range(_CHUNKS_MAX):
            start = base + _CHUNK_HEAD.size
            yield start, top - start
            raw = self._read(base, 8)
            base = int.from_bytes(raw, "little") if len(raw) == 8 else 0
            raw = self._read(base, _CHUNK_HEAD.size) if base else b""
            if len(raw) < _CHUNK_HEAD.size:
                return
            _, size, count = _CHUNK_HEAD.unpack(raw)
            if size > _CHUNK_MAX or count * 8 > size:
                return
            top = base + _CHUNK_HEAD.size + count * 8

    def _find_data_stack(self, thread: Thread) -> tuple[int, int] | None:
        """(chunk in use, its top): from the thread's state, to which registers or its C stack point."""
        assert thread.registers is not None
        general = thread.registers.general
        # It contains both: pthread_self(), and the thread's number in the kernel.
        identity = general.get("fs_base", thread.tid).to_bytes(8, "little")
        registers = [general[name] for name in _STATE_REGISTERS if name in general]
        for address in (*registers, *self._stack_words(thread, _STACK_BYTES)):
            raw = self._read(address, _STATE_BYTES) if address % 8 == 0 else b""
            if len(raw) < _STATE_BYTES or identity not in raw:
                continue
            words = struct.unpack(f"<{_STATE_BYTES // 8}Q", raw)
            for base, top, limit in zip(words, words[1:], words[2:], strict=False):
                is_ordered = base + _CHUNK_HEAD.size <= top <= limit <= base + _CHUNK_MAX
                if base and is_ordered and self._read_word(base + 8) == limit - base:
                    return base, top
        return None

    def _read_exit_method(self, address: int) -> int:
        """The object whose bound __exit__ it is; 0 for anything else."""
        raw = self._read(address, _METHOD_HEAD.size)
        if len(raw) < _METHOD_HEAD.size:
            return 0
        count, _, definition, own = _METHOD_HEAD.unpack(raw)
        if count != _METHOD_COUNT or self._name_of_type(address) != _METHOD:
            return 0
        name_at = self._read_word(definition)
        is_exit = name_at is not None and self._read(name_at, 9) == b"__exit__\0"
        return int(own) if is_exit else 0

    def _stack_words(self, thread: Thread, size: int) -> Iterator[int]:
        assert thread.registers is not None
        start = thread.registers.general["rsp"] & ~7
        return self._list_words(self._read_stack(start, size))

    def _read_stack(self, start: int, size: int) -> bytes:
        stack = find_region(self._regions, start)
        return self._read(start, min(stack.end - start, size)) if stack is not None else b""

    def _words(self, start: int, size: int) -> Iterator[int]:
        return self._list_words(self._read(start, size))

    def _list_words(self, data: bytes) -> Iterator[int]:
        """Those that point into private writable memory, each once."""
        seen: set[int] = set()
        for (word,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8]):
            address = word & ~_MARKS
            if address in seen or address & 7:
                continue
            seen.add(address)
            region = find_region(self._regions, address)
            if region is not None and region.writable and not region.shared:
                yield address

    def _name_of_type(self, address: int) -> bytes:
        """tp_name of the type of the object there; b"" if it is not an object."""
        kind = self._read_word(address + 8)
        if kind is None or kind % 8:
            return b""
        name = self._type_names.get(kind)
        if name is None:
            at = self._read_word(kind + _NAME_AT) if find_region(self._regions, kind) else None
            name = self._read(at, 32).split(b"\0", 1)[0] if at else b""
            self._type_names[kind] = name
        return name

    def _read_word(self, address: int) -> int | None:
        raw = self._read(address, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else None
