"""Which Python lock a thread waits for, and who holds it. Pure.

`threading.RLock` notes its owner; `threading.Lock` does not. But who is inside `with lock:` has the
lock's bound ``__exit__`` among the values of its frame, so the data stack of the thread tells. A lock
that was taken by ``acquire()`` alone leaves no such trace.

Sources: CPython 3.11 to 3.14: Modules/_threadmodule.c (lockobject, rlockobject), pycore_pystate.h and
cpython/pystate.h (struct _stack_chunk), methodobject.h (PyCFunctionObject).
Folklore: a thread that still waits in ``__enter__`` has ``__exit__`` of that lock on its stack already:
it does not hold it. Words on data stacks of 3.14 have marks in their lowest two bits.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perimortem.binary.proc_maps import find_region
from perimortem.model.snapshot import ReadMemory, Region, Thread

_LOCK, _RLOCK = b"_thread.lock", b"_thread.RLock"
_METHOD = b"builtin_function_or_method"
_NAME_AT = 24
"""Of PyTypeObject: tp_name."""
_HEADER = 16
"""Of every object: count, type."""
_STACK_BYTES = 16 << 10
"""Of a C stack, from its pointer on: the calls that lead into the lock."""
_CHUNK_STACK_BYTES = 128 << 10
"""The same, where pointers to frames are looked for."""
_CHUNK_MIN, _CHUNK_MAX, _PAGE = 16 << 10, 16 << 20, 4096
_CHUNK_HEAD = struct.Struct("<QQQ")
_METHOD_HEAD = struct.Struct("<QQQQ")
_MARKS = 3


@dataclass(frozen=True)
class PythonLock:
    """What one thread waits for. ``owner_tid`` None: taken by acquire(), by whom is not noted."""

    address: int
    owner_tid: int | None


def find_python_locks(
    threads: Iterable[Thread], regions: tuple[Region, ...], read: ReadMemory
) -> dict[int, PythonLock]:
    """By the thread that waits. ``read`` must reach the heap: a live process, or a full dump."""
    return _Search(tuple(threads), regions, read).run()


class _Search:
    def __init__(
        self, threads: tuple[Thread, ...], regions: tuple[Region, ...], read: ReadMemory
    ) -> None:
        self._threads = [t for t in threads if t.registers and "rsp" in t.registers.general]
        self._regions, self._read = regions, read
        self._type_names: dict[int, bytes] = {}
        self._chunks: dict[int, int] = {}
        """Sizes by address; 0: there is none."""

    def run(self) -> dict[int, PythonLock]:
        waited = {
            thread.tid: lock
            for thread in self._threads
            if (lock := self._find_waited(thread)) is not None
        }
        plain = {address for address, name in waited.values() if name == _LOCK}
        holders = self._find_holders(plain, waited) if plain else {}
        found = {}
        for tid, (address, name) in waited.items():
            owner = self._find_rlock_owner(address) if name == _RLOCK else None
            if name == _LOCK:
                others = holders.get(address, set()) - {tid}
                owner = next(iter(others)) if len(others) == 1 else None
            found[tid] = PythonLock(address, owner)
        return found

    def _find_waited(self, thread: Thread) -> tuple[int, bytes] | None:
        """(lock object, name of its type): on the C stack, around what the futex call waits on."""
        assert thread.registers is not None
        futex = thread.registers.general["rdi"]
        fallback = None
        for word in self._stack_words(thread, _STACK_BYTES):
            name = self._name_of_type(word)
            if name not in (_LOCK, _RLOCK):
                continue
            inside = self._read_word(word + _HEADER)
            if inside == futex:
                return word, name
            # From 3.14 on the lock is a byte in the object, and the wait is on something else.
            if fallback is None and inside is not None and inside & 0xFF in (1, 3):
                fallback = word, name
        return fallback

    def _find_rlock_owner(self, address: int) -> int | None:
        """Python's thread identity is the address of the C library's thread."""
        identity = self._read_word(address + _HEADER + 8)
        for thread in self._threads:
            assert thread.registers is not None
            if identity and thread.registers.general.get("fs_base") == identity:
                return thread.tid
        return None

    def _find_holders(
        self, locks: set[int], waited: dict[int, tuple[int, bytes]]
    ) -> dict[int, set[int]]:
        holders: dict[int, set[int]] = {}
        for (base, size), tid in self._find_chunks().items():
            entering = waited.get(tid, (0, b""))[0]
            for word in self._words(base + _CHUNK_HEAD.size, size - _CHUNK_HEAD.size):
                lock = self._read_exit_method(word)
                if lock in locks and lock != entering:
                    holders.setdefault(lock, set()).add(tid)
        return holders

    def _find_chunks(self) -> dict[tuple[int, int], int]:
        """(address, size) of each chunk of a data stack, and whose it is: his C stack points to it most.

        Others may have a stray pointer into it, of a frame that they have made and handed over.
        """
        counts: dict[tuple[int, int], Counter[int]] = {}
        for thread in self._threads:
            for word in self._stack_words(thread, _CHUNK_STACK_BYTES):
                chunk = self._find_chunk(word)
                if chunk is not None:
                    counts.setdefault(chunk, Counter())[thread.tid] += 1
        return {chunk: count.most_common(1)[0][0] for chunk, count in counts.items()}

    def _find_chunk(self, address: int) -> tuple[int, int] | None:
        page = address & -_PAGE
        for base in range(page, page - _CHUNK_MIN, -_PAGE):
            if base not in self._chunks:
                raw = self._read(base, _CHUNK_HEAD.size) if base > 0 else b""
                size = top = 0
                if len(raw) == _CHUNK_HEAD.size:
                    _, size, top = _CHUNK_HEAD.unpack(raw)
                is_chunk = size % _PAGE == 0 and _CHUNK_MIN <= size <= _CHUNK_MAX
                self._chunks[base] = size if is_chunk and top * 8 <= size else 0
            if base <= address < base + self._chunks[base]:
                return base, self._chunks[base]
        return None

    def _read_exit_method(self, address: int) -> int:
        """The object whose bound __exit__ it is; 0 for anything else."""
        raw = self._read(address, _METHOD_HEAD.size)
        if len(raw) < _METHOD_HEAD.size:
            return 0
        count, _, definition, own = _METHOD_HEAD.unpack(raw)
        if not count or self._name_of_type(address) != _METHOD:
            return 0
        name_at = self._read_word(definition)
        is_exit = name_at is not None and self._read(name_at, 9) == b"__exit__\0"
        return int(own) if is_exit else 0

    def _stack_words(self, thread: Thread, size: int) -> Iterator[int]:
        """Words of the C stack that point into private memory that can be written."""
        assert thread.registers is not None
        start = thread.registers.general["rsp"] & ~7
        stack = find_region(self._regions, start)
        end = min(stack.end, start + size) if stack is not None else start
        return self._words(start, end - start)

    def _words(self, start: int, size: int) -> Iterator[int]:
        data = self._read(start, size)
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
        """tp_name of the type of the object there; b"" when it is no object."""
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
