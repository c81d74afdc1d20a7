"""A wait in futex(2): for which threads?

Only threads with the same memory can wake it; if the memory is shared, those of all processes that have
mapped it. What the word is, a mutex or a condition, the kernel does not know: a holder is believed only
where all fields around the word agree (nptl of glibc 2.17 to 2.41: struct __pthread_mutex_s, and of
glibc 2.25 to 2.41: __pthread_rwlock_arch_t).
"""

from __future__ import annotations

import os
import struct
import sys

assert sys.platform == "linux"

from perimortem.model.snapshot import Region
from perimortem.model.wait_graph import Wait, WaitsFor
from perimortem.procfs.futex import (
    CONTENDED,
    LOCKS_PI,
    OWNER,
    WAIT,
    WAIT_BITSET,
    WAITERS,
    FutexCall,
    parse_futex,
)
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.threads import ThreadFacts

_MUTEX = struct.Struct("<iIiIi")
"""__lock, __count, __owner, __nusers, __kind."""
_MUTEX_KINDS = frozenset(kind | elision for kind in range(4) for elision in (0, 0x100, 0x200))
_KIND = 3
_RECURSIVE = 1
_PLAIN = frozenset({0, 3})
"""PTHREAD_MUTEX_TIMED_NP, the default, and PTHREAD_MUTEX_ADAPTIVE_NP."""
_COUNT_MAX = 1 << 16
_RWLOCK = struct.Struct("<IIIIIIiI")
"""__readers, __writers, __wrphase_futex, __writers_futex, __pad3, __pad4, __cur_writer, __shared."""
_RWLOCK_WORDS = (8, 12)
"""Where it is waited on: __wrphase_futex, __writers_futex."""
_WRLOCKED = 2
_FUTEX_STATES = frozenset({0, 1, 2, 3})
"""Is it so, and are there waiters (PTHREAD_RWLOCK_FUTEX_USED)?"""
_LIMIT = "a time limit"
_ANONYMOUS = "/dev/zero (deleted)"
"""What has been mapped without a file (MAP_ANONYMOUS | MAP_SHARED)."""


def find_futex_wait(thread: ThreadFacts, look: Look) -> Wait:
    call = parse_futex(thread.arguments)
    if call is None:
        return Wait(WaitsFor.OTHER, "futex", (thread.call,), outside="not known")
    address = call.address
    key = (thread.call, address, call.operation, call.value)
    if not call.is_wait:
        return Wait(WaitsFor.OTHER, f"futex({call.operation:#x})", key, outside="not known")
    limit = _LIMIT if call.limit else ""
    region = look.find_region(thread.pid, address)
    if region is None:
        return Wait(WaitsFor.OTHER, f"futex {address:#x}", key, outside=limit or "not known")
    if region.shared:
        return _find_shared(thread, look, region, limit, key)
    # The kernel wakes those who wait for a thread's end as if the memory were shared.
    ending = None if call.is_private else _find_ending(thread, look, call)
    if ending is not None:
        text = f"the end of thread {_name(thread, look, ending)}"
        wakers = frozenset({ending})
        return Wait(WaitsFor.THREAD, text, (*key, ending), wakers, outside=limit)
    holder = _find_holder(thread, look, call)
    if holder is not None:
        text = f"lock {address:#x}, held by {_name(thread, look, holder)}"
        wakers = frozenset({holder})
        return Wait(WaitsFor.LOCK, text, (*key, holder), wakers, outside=limit)
    space, foreign = look.space(thread.pid)
    return Wait(
        WaitsFor.CONDITION,
        f"a lock or a condition at {address:#x} (futex)",
        key,
        space,
        outside=limit or foreign,
    )


def _find_shared(
    thread: ThreadFacts, look: Look, region: Region, limit: str, key: tuple[int | str, ...]
) -> Wait:
    """What has a name can be opened by anyone; what has none is held by a descriptor or a mapping."""
    text = f"a lock or a condition in shared memory ({region.path or 'anonymous'})"
    why = limit or _find_stranger(thread, look, region)
    if why:
        return Wait(WaitsFor.CONDITION, text, key, outside=why)
    wakers, foreign = look.threads_of(tuple(look.ends.list_mapping(region)))
    outside = foreign or look.ends.find_unknown(by_name=region.path != _ANONYMOUS)
    return Wait(WaitsFor.CONDITION, text, key, wakers, outside=outside)


def _find_stranger(thread: ThreadFacts, look: Look, region: Region) -> str:
    """Why a process that has not mapped it now may do so; empty if none can."""
    if region.inode == 0 or region.path.startswith("/SYSV"):
        return "a process that attaches it"
    try:
        facts = os.stat(f"/proc/{thread.pid}/map_files/{region.start:x}-{region.end:x}")
    except OSError:  # only root may
        has_name = region.path != _ANONYMOUS
    else:
        has_name = facts.st_nlink > 0
    return f"a process that opens {region.path}" if has_name else ""


def _find_ending(thread: ThreadFacts, look: Look, call: FutexCall) -> int | None:
    """pthread_join waits on the thread's id, which the kernel clears at its end."""
    value = call.value
    if call.command not in (WAIT, WAIT_BITSET) or not value or value & WAITERS:
        return None
    tid = look.find_tid(thread.pid, value)
    if tid is None or tid == thread.tid:
        return None
    word = look.read_memory(thread.pid, call.address, 4)
    return tid if int.from_bytes(word, "little") == value else None


def _find_holder(thread: ThreadFacts, look: Look, call: FutexCall) -> int | None:
    """The thread that holds it, if that is certain: also the waiting thread itself."""
    if call.command in LOCKS_PI:
        word = int.from_bytes(look.read_memory(thread.pid, call.address, 4), "little")
        return look.find_tid(thread.pid, word & OWNER)
    if call.command == WAIT and call.value & WAITERS:  # a robust mutex has its owner in the word
        return look.find_tid(thread.pid, call.value & OWNER)
    if call.command == WAIT_BITSET:
        return _find_writer(thread, look, call.address)
    if call.command != WAIT or call.value != CONTENDED:
        return None
    raw = look.read_memory(thread.pid, call.address, _MUTEX.size)
    if len(raw) < _MUTEX.size:
        return None
    word, count, owner, users, kind = _MUTEX.unpack(raw)
    is_recursive = kind & _KIND == _RECURSIVE
    is_sane = word == CONTENDED and 0 < users <= _COUNT_MAX and count <= _COUNT_MAX * is_recursive
    holder = look.find_tid(thread.pid, owner) if is_sane and kind in _MUTEX_KINDS else None
    # A plain mutex that a thread takes twice may be used as an event, which another one releases.
    return None if holder == thread.tid and kind & _KIND in _PLAIN else holder


def _find_writer(thread: ThreadFacts, look: Look, address: int) -> int | None:
    """Of a read-write lock that a writer holds. Its readers are noted nowhere."""
    for at in _RWLOCK_WORDS:
        raw = look.read_memory(thread.pid, address - at, _RWLOCK.size)
        if len(raw) < _RWLOCK.size:
            continue
        readers, writers, phase, futex, pad3, pad4, writer, shared = _RWLOCK.unpack(raw)
        is_sane = {phase, futex} <= _FUTEX_STATES and writers <= _COUNT_MAX and shared <= 1
        if is_sane and not pad3 and not pad4 and readers & _WRLOCKED:
            return look.find_tid(thread.pid, writer)
    return None


def _name(thread: ThreadFacts, look: Look, tid: int) -> str:
    if tid == thread.tid:
        return "itself"
    named = next((t.name for t in look.threads[thread.pid] if t.tid == tid), "")
    return f"{tid} ({named})"
